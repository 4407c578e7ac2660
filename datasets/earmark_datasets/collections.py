"""Published collections in the layout their authors distribute."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from earmark_dsp.errors import EarmarkError

from earmark_datasets.manifest import Clip
from earmark_datasets.tables import audio_files, read_table

if TYPE_CHECKING:
    from pathlib import Path

TRAIN_FOLD, VALIDATION_FOLD, TEST_FOLD = 1, 2, 3


def urbansound8k(root: Path) -> list[Clip]:
    """Read UrbanSound8K (Salamon et al. 2014): ten official folds, grouped by Freesound id."""
    rows = read_table(
        root / "metadata" / "UrbanSound8K.csv", ("slice_file_name", "fsID", "fold", "class")
    )
    return [
        Clip(
            path=root / "audio" / f"fold{row['fold']}" / row["slice_file_name"],
            label=row["class"],
            fold=int(row["fold"]),
            group=f"freesound:{row['fsID']}",
            source="UrbanSound8K",
            licence="CC BY-NC 3.0",
            attribution=f"Salamon, Jacoby, Bello 2014; freesound.org/s/{row['fsID']}",
        )
        for row in rows
    ]


def fsd50k(root: Path) -> list[Clip]:
    """Read FSD50K (Fonseca et al. 2022).

    A clip has its most specific label, which the tables list first; the others are its ancestors
    or further sounds, so single-label training on FSD50K wants ``--rename``. Uploaders are
    groups: the authors keep each uploader within one split.
    """
    clips = []
    for part in ("dev", "eval"):
        info = _fsd50k_info(root / "FSD50K.metadata" / f"{part}_clips_info_FSD50K.json")
        columns = ("fname", "labels", "split") if part == "dev" else ("fname", "labels")
        for row in read_table(root / "FSD50K.ground_truth" / f"{part}.csv", columns):
            about = info.get(row["fname"], {})
            uploader = str(about.get("uploader", ""))
            fold = TEST_FOLD
            if part == "dev":
                fold = TRAIN_FOLD if row["split"] == "train" else VALIDATION_FOLD
            clips.append(
                Clip(
                    path=root / f"FSD50K.{part}_audio" / f"{row['fname']}.wav",
                    label=row["labels"].split(",")[0],
                    fold=fold,
                    group=f"uploader:{uploader}" if uploader else f"freesound:{row['fname']}",
                    source="FSD50K",
                    licence=str(about.get("license", "")),
                    attribution=f"{uploader}; freesound.org/s/{row['fname']}",
                )
            )
    return clips


def _fsd50k_info(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        info: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise EarmarkError(f"cannot read {path}: {exc}", "download the metadata again") from exc
    return info


def speech_commands(root: Path) -> list[Clip]:
    """Read Google Speech Commands (Warden 2018): one folder per word, grouped by speaker.

    The minutes of ``_background_noise_`` become the label ``background_noise``, in no fold.
    """
    splits = {}
    for file_name, fold in (("validation_list.txt", VALIDATION_FOLD), ("testing_list.txt", 3)):
        try:
            names = (root / file_name).read_text(encoding="utf-8").split()
        except (OSError, UnicodeDecodeError) as exc:
            raise EarmarkError(f"cannot read {root / file_name}: {exc}") from exc
        splits.update(dict.fromkeys(names, fold))
    clips = []
    for path in audio_files(root):
        name = path.relative_to(root).as_posix()
        noise = path.parent.name == "_background_noise_"
        speaker = path.stem.split("_nohash_")[0]
        clips.append(
            Clip(
                path=path,
                label="background_noise" if noise else path.parent.name,
                fold=None if noise else splits.get(name, TRAIN_FOLD),
                group=f"noise:{path.stem}" if noise else f"speaker:{speaker}",
                source="Speech Commands",
                licence="CC BY 4.0",
                attribution="Warden 2018, Speech Commands",
            )
        )
    return clips
