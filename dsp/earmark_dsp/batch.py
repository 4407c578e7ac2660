"""A folder of recordings to a folder of features: all cores, resumable."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from earmark_dsp.audio import find_audio, load_pcm
from earmark_dsp.errors import EarmarkError
from earmark_dsp.native import extract

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from earmark_dsp.spec import FrontEndSpec

SPEC_FILE = "frontend.toml"


@dataclass(frozen=True)
class BatchResult:
    """What `extract_folder` did: counts of files, rows written, and the unreadable files."""

    n_written: int
    n_skipped: int
    n_rows: int
    failures: list[str]


def _extract_file(spec: FrontEndSpec, source: Path, target: Path) -> int:
    rows = extract(spec, load_pcm(source, spec.sample_rate_hz))
    target.parent.mkdir(parents=True, exist_ok=True)
    # Renamed when complete: an interrupted run leaves no half file that a later one would skip.
    partial = target.with_name(f".{target.name}.partial")
    with partial.open("wb") as file:
        np.save(file, rows)
    partial.replace(target)
    return len(rows)


def extract_folder(
    spec: FrontEndSpec,
    folder: Path,
    out_dir: Path,
    *,
    jobs: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> BatchResult:
    """Write ``NAME.npy`` (int8, rows x features) for each recording, and ``frontend.toml``.

    Files that a former run with the same specification has written are kept.

    Parameters
    ----------
    spec : FrontEndSpec
    folder, out_dir : Path
        The tree of `folder` is mirrored in `out_dir`.
    jobs : int or None
        Threads (decoding, resampling and the C code release the interpreter lock); None: one per
        core.
    on_progress : callable or None
        Called with the number of files done and the total.
    """
    sources = find_audio(folder)
    text = spec.to_toml()
    stamp = out_dir / SPEC_FILE
    if stamp.exists() and stamp.read_text(encoding="utf-8") != text:
        raise EarmarkError(
            f"{out_dir} holds features of another front end", "choose an empty output folder"
        )
    out_dir.mkdir(parents=True, exist_ok=True)
    stamp.write_text(text, encoding="utf-8")
    # The suffix stays: bark.wav and bark.ogg are two recordings.
    targets = {s: out_dir / s.relative_to(folder).with_name(f"{s.name}.npy") for s in sources}
    todo = [s for s in sources if not targets[s].exists()]
    done = len(sources) - len(todo)
    n_rows = 0
    failures = []
    with ThreadPoolExecutor(jobs or os.cpu_count()) as pool:
        futures = {pool.submit(_extract_file, spec, s, targets[s]): s for s in todo}
        try:
            for future in as_completed(futures):
                try:
                    n_rows += future.result()
                except EarmarkError as exc:
                    failures.append(str(exc))
                done += 1
                if on_progress:
                    on_progress(done, len(sources))
        except KeyboardInterrupt:
            pool.shutdown(cancel_futures=True)
            raise
    n_skipped = len(sources) - len(todo)
    return BatchResult(len(todo) - len(failures), n_skipped, n_rows, failures)
