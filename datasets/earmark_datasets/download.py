"""Downloads that resume, show progress, and are trusted only when their digest is right."""

from __future__ import annotations

import hashlib
import shutil
import urllib.error
import urllib.request
import zipfile
from typing import TYPE_CHECKING

from earmark_dsp.errors import EarmarkError

from earmark_datasets.esc import load_esc10
from earmark_datasets.locate import cache_dir

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_BLOCK_BYTES = 1 << 20
_TIMEOUT_S = 15  # of silence; a slow connection is fine, a dead one is not
ESC50_URL = "https://github.com/karolpiczak/ESC-50/archive/refs/heads/master.zip"
YAMNET_URL = (
    "https://raw.githubusercontent.com/google-coral/coralmicro/main/models/yamnet_spectra_in.tflite"
)
YAMNET_SHA256 = "0a266465c46718f3fcc4137366be82882a8c93bfcc4f0278581a11d11dddcdf9"


def file_sha256(path: Path) -> str:
    """Return the hex digest of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def download(
    url: str,
    target: Path,
    *,
    sha256: str | None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Fetch a file, going on where an earlier attempt stopped.

    Parameters
    ----------
    url : str
    target : Path
        Appears only when complete; parts are kept beside it as ``.part``.
    sha256 : str or None
        Expected hex digest. None: the caller checks the content.
    progress : callable or None
        Called with (bytes so far, total bytes or 0).

    Raises
    ------
    EarmarkError
        No network, server error, full disk, or a wrong digest (the part is then removed).
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    begin = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={begin}-"})  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310
            resumed = answer.status == 206
            begin = begin if resumed else 0
            total = begin + int(answer.headers.get("Content-Length") or 0)
            with part.open("ab" if resumed else "wb") as stream:
                while block := answer.read(_BLOCK_BYTES):
                    stream.write(block)
                    begin += len(block)
                    if progress:
                        progress(begin, max(total, begin))
    except urllib.error.HTTPError as exc:
        if exc.code != 416:  # nothing left to fetch: the part is complete
            raise EarmarkError(f"{url}: {exc}", "try again later") from exc
    except (OSError, urllib.error.URLError) as exc:
        raise EarmarkError(
            f"cannot download {url}: {exc}",
            "without a network, name a local copy with EARMARK_DATA",
        ) from exc
    if sha256 is not None and file_sha256(part) != sha256:
        part.unlink()
        raise EarmarkError(f"{url} does not have the expected sha256 {sha256}", "try again")
    part.replace(target)
    return target


def fetch_esc10(progress: Callable[[int, int], None] | None = None) -> Path:
    """Download the public ESC-50 archive and unpack its ESC-10 part into the cache.

    GitHub makes the archive on demand, so its own digest may change; what is checked is each
    file's CRC in the archive and the sha256 of the official table (`esc.ROWS_SHA256`).

    Returns
    -------
    Path
        A folder for `load_esc10`.
    """
    folder = cache_dir() / "datasets" / "ESC-10"
    archive_path = download(
        ESC50_URL, cache_dir() / "downloads" / "esc-50.zip", sha256=None, progress=progress
    )
    scratch = folder.with_name("ESC-10.part")
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        _unpack_esc10(archive_path, scratch)
        load_esc10(scratch)
    except (zipfile.BadZipFile, StopIteration, KeyError, EarmarkError) as exc:
        archive_path.unlink()
        shutil.rmtree(scratch, ignore_errors=True)
        raise EarmarkError(f"the archive from {ESC50_URL} is not ESC-50: {exc}") from exc
    shutil.rmtree(folder, ignore_errors=True)
    scratch.replace(folder)
    return folder


def _unpack_esc10(archive_path: Path, folder: Path) -> None:
    (folder / "audio").mkdir(parents=True)
    (folder / "meta").mkdir()
    with zipfile.ZipFile(archive_path) as archive:
        names = archive.namelist()
        table = archive.read(next(n for n in names if n.endswith("/meta/esc50.csv")))
        (folder / "meta" / "esc50.csv").write_bytes(table)
        header, *lines = table.decode("utf-8").splitlines()
        column = header.split(",").index("esc10")
        wanted = {row[0] for row in (line.split(",") for line in lines) if row[column] == "True"}
        for name in names:
            base = name.rsplit("/", 1)[-1]
            if base in wanted and "/audio/" in name:
                (folder / "audio" / base).write_bytes(archive.read(name))


def fetch_yamnet(progress: Callable[[int, int], None] | None = None) -> Path:
    """Download the int8 YAMNet into the cache; returns its path."""
    target = cache_dir() / "models" / "yamnet_int8.tflite"
    return download(YAMNET_URL, target, sha256=YAMNET_SHA256, progress=progress)
