"""The manifest: one row per recording or labelled span, with fold, source group and licence."""

from __future__ import annotations

import csv
import math
import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from earmark_dsp.errors import EarmarkError

if TYPE_CHECKING:
    from pathlib import Path

# The wire format's event type (docs/gateway.md): a label that is not one could never be sent.
LABEL_PATTERN = re.compile(r"[a-z][a-z0-9_]{0,31}")
COLUMNS = (
    "path",
    "label",
    "onset_s",
    "offset_s",
    "fold",
    "group",
    "source",
    "licence",
    "attribution",
)
_SHOWN = 5


@dataclass(frozen=True)
class Clip:
    """One recording, or one labelled span of it.

    Attributes
    ----------
    path : Path
        The audio file.
    label : str
        Lower-case identifier, at most 32 characters.
    fold : int or None
        Cross-validation fold; clips of one `group` share a fold.
    group : str
        What was recorded together: never on both sides of a split.
    source : str
        The collection.
    licence, attribution : str
        As the collection states them.
    onset_s, offset_s : float or None
        The span in seconds; None: the whole file.
    """

    path: Path
    label: str
    fold: int | None = None
    group: str = ""
    source: str = ""
    licence: str = ""
    attribution: str = ""
    onset_s: float | None = None
    offset_s: float | None = None


@dataclass(frozen=True)
class Manifest:
    """An immutable list of clips."""

    clips: tuple[Clip, ...]

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """The labels that occur, sorted."""
        return tuple(sorted({clip.label for clip in self.clips}))

    @cached_property
    def folds(self) -> tuple[int, ...]:
        """The folds that occur, sorted."""
        return tuple(sorted({clip.fold for clip in self.clips if clip.fold is not None}))

    def split(self, test_fold: int) -> tuple[Manifest, Manifest]:
        """Return (training, test): the clips outside and inside `test_fold`.

        Raises
        ------
        EarmarkError
            If the fold is empty, or a group is on both sides.
        """
        train = tuple(clip for clip in self.clips if clip.fold != test_fold)
        test = tuple(clip for clip in self.clips if clip.fold == test_fold)
        if not test:
            raise EarmarkError(
                f"fold {test_fold} holds no clip", f"the manifest has folds {list(self.folds)}"
            )
        leaked = {c.group for c in train if c.group} & {c.group for c in test if c.group}
        if leaked:
            raise EarmarkError(
                f"recordings are on both sides of fold {test_fold}: {sorted(leaked)[:_SHOWN]}",
                "give all clips of a group the same fold",
            )
        return Manifest(train), Manifest(test)

    def check_files(self) -> None:
        """Raise one `EarmarkError` that names the missing files, if any."""
        missing = [clip.path for clip in self.clips if not clip.path.is_file()]
        if missing:
            names = ", ".join(str(path) for path in missing[:_SHOWN])
            more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
            raise EarmarkError(
                f"{len(missing)} of {len(self.clips)} files are missing: {names}{more}",
                "restore them, or remove their rows from the manifest",
            )


def check_label(label: str, where: str) -> str:
    """Return `label` if the wire format can carry it; otherwise raise `EarmarkError`."""
    if LABEL_PATTERN.fullmatch(label):
        return label
    raise EarmarkError(
        f"{where}: label {label!r} is not an identifier",
        "use a-z, 0-9 and _, starting with a letter, at most 32 characters",
    )


def _seconds(text: str, where: str) -> float | None:
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise EarmarkError(f"{where}: {text!r} is not a time in seconds")
    return value


def load_manifest(path: Path) -> Manifest:
    """Read a manifest; relative paths are relative to it.

    Parameters
    ----------
    path : Path
        A CSV file with the columns of `COLUMNS`; only ``path`` and ``label`` are required.

    Raises
    ------
    EarmarkError
        Naming line and value of the first problem, or the files that are missing.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            rows = list(csv.DictReader(stream))
    except (OSError, UnicodeDecodeError, csv.Error) as exc:
        raise EarmarkError(f"cannot read the manifest {path}: {exc}") from exc
    if not rows or not {"path", "label"} <= set(rows[0]):
        raise EarmarkError(
            f"{path} is not a manifest",
            f"its first line must name the columns {', '.join(COLUMNS)}",
        )
    clips = []
    for number, row in enumerate(rows, start=2):
        where = f"{path}, line {number}"
        fold = (row.get("fold") or "").strip()
        if fold and not fold.isdecimal():
            raise EarmarkError(f"{where}: fold {fold!r} is not a number")
        onset_s = _seconds(row.get("onset_s") or "", where)
        offset_s = _seconds(row.get("offset_s") or "", where)
        if onset_s is not None and offset_s is not None and offset_s <= onset_s:
            raise EarmarkError(f"{where}: the span ends at {offset_s} s, before it starts")
        clips.append(
            Clip(
                path=path.parent / (row["path"] or ""),
                label=check_label(row["label"] or "", where),
                fold=int(fold) if fold else None,
                group=row.get("group") or "",
                source=row.get("source") or "",
                licence=row.get("licence") or row.get("license") or "",
                attribution=row.get("attribution") or "",
                onset_s=onset_s,
                offset_s=offset_s,
            )
        )
    manifest = Manifest(tuple(clips))
    manifest.check_files()
    return manifest


def save_manifest(manifest: Manifest, path: Path) -> None:
    """Write a manifest atomically; paths below its folder become relative."""
    folder = path.parent.resolve()
    temporary = path.with_name(path.name + ".part")
    with temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, COLUMNS)
        writer.writeheader()
        for clip in manifest.clips:
            row = {name: getattr(clip, name) for name in COLUMNS}
            resolved = clip.path.resolve()
            inside = resolved.is_relative_to(folder)
            row["path"] = (resolved.relative_to(folder) if inside else resolved).as_posix()
            writer.writerow({k: "" if v is None else v for k, v in row.items()})
    temporary.replace(path)
