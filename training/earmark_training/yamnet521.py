"""The preset without training: all of YAMNet, its 521 AudioSet classes grouped into our labels.

The last layer keeps only the classes that the map names; the largest logit of each set becomes the
label's score. Max pooling is exact in int8, so nothing is lost by the grouping.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from earmark_datasets.manifest import Manifest, check_label
from earmark_dsp.errors import EarmarkError

from earmark_training import yamnet
from earmark_training.detector import Cadence, DetectorParams, default_params

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from earmark_dsp.spec import FrontEndSpec

NAME = "yamnet-521"
LABEL_MAP = Path(__file__).with_name("label_map.toml")
# Scores of AudioSet classes stay low: 0.3 recognises most real events.
ON_PERMILLE, OFF_PERMILLE = 300, 150


def read_label_map(path: Path, classes: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Read which classes make up which label.

    Parameters
    ----------
    path : Path
        TOML: ``label = ["display name", ...]``.
    classes : sequence of str
        The 521 display names.

    Returns
    -------
    dict of str to tuple of int
        Class indices by label, in the order of the file.

    Raises
    ------
    EarmarkError
        If it is no TOML, a label is no identifier, or a class does not exist.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
        raise EarmarkError(f"cannot read the label map {path}: {exc}") from exc
    index = {name: number for number, name in enumerate(classes)}
    out = {}
    for label, names in content.items():
        check_label(label, str(path))
        if not isinstance(names, list) or not names:
            raise EarmarkError(f"{path}: {label} needs a list of AudioSet classes")
        if unknown := [name for name in names if name not in index]:
            raise EarmarkError(
                f"{path}: {label} names {unknown[0]!r}, which YAMNet does not know",
                f"the names stand in {yamnet.CLASS_MAP_NAME}",
            )
        out[label] = tuple(index[name] for name in names)
    if len(out) < 2:
        raise EarmarkError(f"{path} has {len(out)} labels", "name at least two")
    return out


def build(label_map: Mapping[str, Sequence[int]]) -> Any:
    """Build the network with the public weights; outputs logistic scores [shape=(n, n_labels)]."""
    import keras
    from keras import layers

    path = yamnet.teacher_path()
    widest = max(len(classes) for classes in label_map.values())
    # Shorter sets repeat their first class: the largest stays the largest.
    columns = [c for s in label_map.values() for c in (*s, *(s[0],) * (widest - len(s)))]
    inputs = keras.Input((96, 64), name="features")
    x = yamnet.trunk(layers.Reshape((96, 64, 1))(inputs), len(yamnet.BLOCKS))
    x = layers.GlobalAveragePooling2D(name=yamnet.EMBEDDING)(x)
    x = layers.Dense(len(columns), name="classes")(x)
    x = layers.Reshape((len(label_map), widest, 1))(x)
    x = layers.Flatten()(layers.MaxPooling2D((1, widest))(x))
    model = keras.Model(inputs, layers.Activation("sigmoid", name="scores")(x), name=NAME)
    yamnet.load_weights(model, path)
    kernel, bias = yamnet.weights(path)[-1]
    model.get_layer("classes").set_weights([kernel[:, columns], bias[columns]])
    return model


def detector(labels: Sequence[str], spec: FrontEndSpec) -> DetectorParams:
    """Return default parameters with the thresholds of scores that were never calibrated."""
    params = default_params(labels, spec=spec, hop_frames=spec.context_frames // 2)
    adapted = tuple(
        msgspec.structs.replace(label, min_permille=ON_PERMILLE)
        if label.cadence is not Cadence.NONE
        else msgspec.structs.replace(label, on_permille=ON_PERMILLE, off_permille=OFF_PERMILLE)
        for label in params.labels
    )
    return msgspec.structs.replace(params, labels=adapted)


def plain_windows(clips: Manifest, spec: FrontEndSpec, n_windows: int = 256) -> np.ndarray:
    """Cut windows from recordings as they are, to calibrate activations.

    Returns
    -------
    ndarray [shape=(n, context_frames, n_features), dtype=int8]
        Spread evenly over all clips.
    """
    from earmark_training.evaluate import clip_windows

    step = max(1, len(clips.clips) // 64)
    some = Manifest(clips.clips[::step])
    found = clip_windows(some, some.labels, spec, spec.context_frames)
    cut = np.concatenate([clip.windows for clip in found])
    return cut[:: max(1, len(cut) // n_windows)]


def known_clips(clips: Manifest, labels: Sequence[str]) -> Manifest:
    """Return the clips whose label the map knows.

    Raises
    ------
    EarmarkError
        If there is none.
    """
    known = tuple(clip for clip in clips.clips if clip.label in labels)
    if not known:
        raise EarmarkError(
            f"no test clip has a label of the map; the clips have {', '.join(clips.labels)}",
            "use these names in a label map of your own (--label-map)",
        )
    return Manifest(known)
