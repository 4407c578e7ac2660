"""Folders of recordings to a manifest: which layouts are understood, and what is common to them."""

from __future__ import annotations

import random
import re
import unicodedata
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from earmark_dsp.errors import EarmarkError

from earmark_datasets import collections, labelled
from earmark_datasets.esc import load_esc10, load_esc50
from earmark_datasets.manifest import Clip, Manifest, check_label, load_manifest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@dataclass(frozen=True)
class Layout:
    """A folder layout that can be imported.

    Attributes
    ----------
    marker : str
        A path below the root that tells the layout; empty: any folder.
    load : callable
        From the root to clips; labels as the collection writes them.
    summary : str
        One line for ``--help``.
    """

    marker: str
    load: Callable[[Path], list[Clip]]
    summary: str


def _own_manifest(root: Path) -> list[Clip]:
    return list(load_manifest(root / "manifest.csv").clips)


# In this order the layouts are recognised: the most specific marker first.
LAYOUTS: dict[str, Layout] = {
    "esc10": Layout(
        "meta/esc50.csv", lambda root: list(load_esc10(root).clips), "ESC-10, official folds"
    ),
    "esc50": Layout("", lambda root: list(load_esc50(root).clips), "ESC-50, official folds"),
    "urbansound8k": Layout(
        "metadata/UrbanSound8K.csv", collections.urbansound8k, "UrbanSound8K, official folds"
    ),
    "fsd50k": Layout(
        "FSD50K.ground_truth/dev.csv", collections.fsd50k, "FSD50K; fold 1 train, 2 val, 3 eval"
    ),
    "speech-commands": Layout(
        "testing_list.txt",
        collections.speech_commands,
        "Google Speech Commands; fold 1 train, 2 validation, 3 test",
    ),
    "edge-impulse": Layout(
        "info.labels", labelled.edge_impulse, "Edge Impulse export; fold 1 training, 2 testing"
    ),
    "home-sounds": Layout("manifest.csv", _own_manifest, "a folder with a manifest.csv"),
    "audacity": Layout("", labelled.audacity, "NAME.txt label tracks beside NAME.wav"),
    "folders": Layout("", labelled.folders, "one sub-folder per label"),
}


def recognise(root: Path) -> str:
    """Return the name of the layout of `root` (a key of `LAYOUTS`)."""
    if not root.is_dir():
        raise EarmarkError(f"{root} is not a folder", "unpack the archive first")
    for name, layout in LAYOUTS.items():
        if layout.marker and (root / layout.marker).is_file():
            return name
    if labelled.has_label_tracks(root):
        return "audacity"
    return "folders"


def identifier(label: str) -> str:
    """Turn a free label into one the wire format carries: ``"Glass Break"`` to ``glass_break``.

    Raises
    ------
    EarmarkError
        If nothing usable remains.
    """
    plain = unicodedata.normalize("NFKD", label).encode("ascii", "ignore").decode().lower()
    name = re.sub(r"[^a-z0-9]+", "_", plain).strip("_")[:32].rstrip("_")
    if name[:1].isdigit():
        name = f"n_{name}"[:32]
    return check_label(name, f"label {label!r}")


def import_folder(
    root: Path,
    *,
    layout: str | None = None,
    rename: dict[str, str] | None = None,
    n_folds: int | None = None,
    seed: int = 0,
) -> tuple[Manifest, list[str]]:
    """Read a folder of recordings in any known layout.

    Parameters
    ----------
    root : Path
    layout : str or None
        A key of `LAYOUTS`; None recognises it.
    rename : dict or None
        From a collection's label to one's own; with an empty value the clips are left out.
    n_folds : int or None
        Assign that many folds (`assign_folds`), replacing those of the collection.
    seed : int
        For `assign_folds`.

    Returns
    -------
    (Manifest, list of str)
        The clips, and notes on what was changed or left out.

    Raises
    ------
    EarmarkError
        If the layout is unknown, its table is broken, files are missing, or nothing is left.
    """
    name = layout or recognise(root)
    if name not in LAYOUTS:
        raise EarmarkError(f"unknown layout {name!r}", f"one of: {', '.join(LAYOUTS)}")
    rename = rename or {}
    notes = [f"layout: {name} ({LAYOUTS[name].summary})"]
    clips = []
    merged: dict[str, set[str]] = {}
    for clip in LAYOUTS[name].load(root):
        wanted = rename.get(clip.label, clip.label)
        if not wanted:
            continue
        label = identifier(wanted)
        merged.setdefault(label, set()).add(clip.label)
        clips.append(replace(clip, label=label))
    for label, originals in sorted(merged.items()):
        if originals != {label}:
            notes.append(f"label {label}: was {', '.join(map(repr, sorted(originals)))}")
    if not clips:
        raise EarmarkError(
            f"{root} holds no labelled recording in the layout {name}",
            "put each label's recordings into a folder of that name, or choose --layout",
        )
    manifest = Manifest(tuple(clips))
    manifest.check_files()
    if n_folds is not None:
        manifest = assign_folds(manifest, n_folds, seed=seed)
        notes.append(f"{n_folds} folds assigned by group, seed {seed}")
    return manifest, notes


def assign_folds(manifest: Manifest, n_folds: int, *, seed: int = 0) -> Manifest:
    """Spread groups over folds 1 to `n_folds`, balancing every label.

    Greedy: the largest groups first, each to the fold that has least of its labels. A clip
    without a group is a group of its own file.

    Raises
    ------
    EarmarkError
        If there are fewer groups than folds.
    """
    groups: dict[str, list[Clip]] = {}
    for clip in manifest.clips:
        groups.setdefault(clip.group or f"file:{clip.path}", []).append(clip)
    if n_folds < 2 or len(groups) < n_folds:
        raise EarmarkError(
            f"{len(groups)} groups of recordings cannot fill {n_folds} folds",
            "ask for fewer folds (at least 2), or record more",
        )
    order = sorted(groups)
    random.Random(seed).shuffle(order)  # noqa: S311 - reproducible, nothing secret
    order.sort(key=lambda group: -len(groups[group]))
    held: list[dict[str, int]] = [{} for _ in range(n_folds)]
    total = [0] * n_folds
    fold_of: dict[str, int] = {}
    for group in order:
        labels = {clip.label for clip in groups[group]}
        best = min(
            range(n_folds), key=lambda k: (sum(held[k].get(name, 0) for name in labels), total[k])
        )
        fold_of[group] = best + 1
        total[best] += len(groups[group])
        for clip in groups[group]:
            held[best][clip.label] = held[best].get(clip.label, 0) + 1
    return Manifest(
        tuple(
            replace(clip, fold=fold_of[clip.group or f"file:{clip.path}"])
            for clip in manifest.clips
        )
    )
