"""What a bundle keeps of its training, host side only: float network, learning curve, credits.

The device never sees any of it: firmware is built from ``c/`` alone.
"""

from __future__ import annotations

import csv
import io
import json
import tempfile
import zipfile
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from earmark_dsp.errors import EarmarkError

from earmark_training.deploy.bundle_schema import DataSource

if TYPE_CHECKING:
    from collections.abc import Sequence

    from earmark_datasets.manifest import Manifest

    from earmark_training.deploy.bundle import Bundle
    from earmark_training.train import Recipe

FLOAT_FILE = "model.keras"
CREDITS_FILE = "credits.csv"
CREDIT_COLUMNS = ("file", "label", "licence", "attribution", "source")
# Archives carry the time of writing otherwise: the same training must give the same bundle.
_EPOCH = (1980, 1, 1, 0, 0, 0)


def float_bytes(model: Any) -> bytes:
    """Return a Keras model as a ``.keras`` archive; the same weights give the same bytes."""
    with tempfile.TemporaryDirectory(prefix="earmark-keras-") as folder:
        path = Path(folder) / FLOAT_FILE
        model.save(path)
        buffer = io.BytesIO()
        with zipfile.ZipFile(path) as source, zipfile.ZipFile(buffer, "w") as target:
            for name in sorted(source.namelist()):
                content = source.read(name)
                if name == "metadata.json":
                    metadata = json.loads(content)
                    metadata.pop("date_saved", None)
                    content = json.dumps(metadata, sort_keys=True).encode()
                target.writestr(zipfile.ZipInfo(name, _EPOCH), content)
    return buffer.getvalue()


def load_float(bundle: Bundle) -> Any:
    """Return the bundle's float network, or None if it holds none.

    Raises
    ------
    EarmarkError
        If the file needs code that is not here (a layer of one's own).
    """
    if FLOAT_FILE not in bundle.info.files:
        return None
    import keras

    try:
        return keras.models.load_model(bundle.path / FLOAT_FILE, compile=False)
    except (OSError, ValueError, TypeError) as exc:
        raise EarmarkError(
            f"{bundle.path / FLOAT_FILE} cannot be opened: {str(exc).splitlines()[0]}",
            "a network with layers of its own needs them registered with "
            "keras.saving.register_keras_serializable",
        ) from exc


def training_record(
    *,
    losses: Sequence[float],
    data: str,
    test_fold: int | None,
    recipe: Recipe | None,
    background: str | None = None,
) -> dict[str, Any]:
    """Return what ``metrics["training"]`` holds: enough to repeat and to report the training.

    A network of one's own is kept as its text, ``network``; the recipe then names only its file.
    """
    settings = asdict(recipe) if recipe is not None else None
    network = None
    if settings is not None and str(settings["preset"]).endswith(".py"):
        path = Path(settings["preset"])
        network, settings["preset"] = path.read_text(encoding="utf-8"), path.name
    record: dict[str, Any] = msgspec.json.decode(
        msgspec.json.encode(
            {
                "data": data,
                "background": background,
                "test_fold": test_fold,
                "losses": [round(float(loss), 5) for loss in losses],
                "recipe": settings,
                "network": network,
            },
            enc_hook=str,
        )
    )
    return record


def recipe_of(bundle: Bundle) -> Recipe:
    """Return the recipe that the bundle's network was trained with.

    Raises
    ------
    EarmarkError
        If the bundle does not hold one, or one of another version.
    """
    from earmark_training.train import Recipe

    stored = (bundle.info.metrics.get("training") or {}).get("recipe")
    if stored is None:
        raise EarmarkError("the bundle does not hold the recipe of its training", "train it again")
    try:
        return msgspec.convert(stored, Recipe)
    except msgspec.ValidationError as exc:
        raise EarmarkError(
            f"the bundle's training recipe is of another version: {exc}", "train it again"
        ) from exc


def data_sources(manifest: Manifest, name: str) -> list[DataSource]:
    """Return one entry per licence, with clips, hours and how many authors must be credited."""
    groups: dict[str, list[Any]] = defaultdict(list)
    for clip in manifest.clips:
        groups[clip.licence or "not stated"].append(clip)
    sources = []
    for licence, clips in sorted(groups.items()):
        authors = {clip.attribution for clip in clips if clip.attribution}
        who = next(iter(authors)) if len(authors) == 1 else f"{len(authors)} authors"
        sources.append(
            DataSource(
                name=name,
                licence=licence,
                n_clips=len(clips),
                hours=round(sum(map(_duration_s, clips)) / 3600, 4),
                attribution=f"{who} ({CREDITS_FILE})" if authors else "",
            )
        )
    return sources


def _duration_s(clip: Any) -> float:
    import soundfile

    if clip.offset_s is not None:
        return float(clip.offset_s - (clip.onset_s or 0))
    info = soundfile.info(clip.path)
    return float(info.frames / info.samplerate - (clip.onset_s or 0))


def credits_csv(manifest: Manifest) -> bytes:
    """Return who made which recording under which licence, as CSV; no paths of this machine."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CREDIT_COLUMNS)
    writer.writerows(
        (clip.path.name, clip.label, clip.licence, clip.attribution, clip.source)
        for clip in manifest.clips
    )
    return text.getvalue().encode()


def read_credits(bundle: Bundle) -> list[dict[str, str]]:
    """Return the rows of the bundle's credits; empty if it holds none."""
    if CREDITS_FILE not in bundle.info.files:
        return []
    text = (bundle.path / CREDITS_FILE).read_text(encoding="utf-8")
    return list(csv.DictReader(io.StringIO(text)))
