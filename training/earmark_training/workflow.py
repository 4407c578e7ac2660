"""From training clips to a bundle: the steps that `earmark train` and the demonstration share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np

from earmark_training import networks
from earmark_training.deploy import bundle_training as kept
from earmark_training.deploy.bundle import Bundle, write_bundle
from earmark_training.detector import Cadence, DetectorParams, default_params
from earmark_training.train import load_clips
from earmark_training.windows import make_epoch

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from earmark_datasets.manifest import Manifest
    from earmark_dsp.spec import FrontEndSpec

    from earmark_training.recordings import Background
    from earmark_training.train import Recipe, TrainResult

SPEC_NAME = networks.PRESETS["tiny"].spec_name
LIMITS = (
    "Thresholds are defaults until `earmark calibrate` has seen hours of streams.",
    "Smoke and CO alarms were synthesised from their standards, not recorded.",
    "Supplements smoke and CO alarms; not a life-safety device and not a medical device.",
)
_REPRESENTATIVE_WINDOWS = 256


def representative_windows(
    clips: Manifest, labels: Sequence[str], spec: FrontEndSpec, recipe: Recipe
) -> np.ndarray:
    """Draw augmented training windows for the calibration of activations.

    Returns
    -------
    ndarray [shape=(256, context_frames, n_features), dtype=int8]
    """
    drawn = make_epoch(
        load_clips(clips, labels, spec),
        labels=labels,
        spec=spec,
        plan=recipe.plan,
        options=recipe.augmentation,
        rng=np.random.default_rng(recipe.seed),
    )
    return drawn.windows[:_REPRESENTATIVE_WINDOWS]


def hop_frames(spec: FrontEndSpec) -> int:
    """Return the rows between inferences: half a window, about half a second."""
    return spec.context_frames // 2


def mixture_detector(
    labels: Sequence[str], spec: FrontEndSpec, hop: int | None = None
) -> DetectorParams:
    """Return default parameters with thresholds for a network trained on mixtures.

    Mixtures have soft targets, so scores stay well below 1: a label counts from one half on, where
    it outweighs all others together. `earmark calibrate` finds better ones from streams. `hop`:
    rows between inferences, if not `hop_frames`.
    """
    params = default_params(labels, spec=spec, hop_frames=hop or hop_frames(spec))
    adapted = tuple(
        label
        if label.cadence is not Cadence.NONE
        else msgspec.structs.replace(label, on_permille=500, off_permille=250)
        for label in params.labels
    )
    return msgspec.structs.replace(params, labels=adapted)


def bundle_from(
    directory: Path,
    *,
    tflite: bytes,
    spec: FrontEndSpec,
    result: TrainResult,
    data_name: str,
    clips: Manifest,
    name: str,
    test_fold: int | None = None,
    recipe: Recipe | None = None,
    detector: DetectorParams | None = None,
    background: Background | None = None,
) -> Bundle:
    """Write the bundle of a trained and quantised network.

    With it go the licences and credits of its data, the learning curve and the float network, for
    reports, exports and comparisons on the host.
    """
    return write_bundle(
        directory,
        tflite_model=tflite,
        spec=spec,
        class_names=result.labels,
        detector_params=detector or mixture_detector(result.labels, spec),
        metrics={
            "training": kept.training_record(
                losses=result.losses,
                data=data_name,
                test_fold=test_fold,
                recipe=recipe,
                background=background.name if background else None,
            )
        },
        data_licences=[
            *kept.data_sources(clips, data_name),
            *(kept.data_sources(background.clips, background.name) if background else ()),
        ],
        limits=LIMITS,
        name=name,
        extra_files={
            kept.FLOAT_FILE: kept.float_bytes(result.model),
            kept.CREDITS_FILE: kept.credits_csv(
                background.added_to(clips) if background else clips
            ),
        },
    )
