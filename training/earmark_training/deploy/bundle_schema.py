"""What a bundle contains, and the checks that reader and writer share."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from earmark_dsp.errors import EarmarkError

from earmark_training.deploy import bundle_c, tflite
from earmark_training.detector import DetectorParams, check_params

if TYPE_CHECKING:
    from pathlib import Path

    from earmark_dsp.spec import FrontEndSpec

FORMAT = 1
INFO_FILE = "bundle.json"
MODEL_FILE = "model.tflite"
SPEC_FILE = "frontend.toml"
C_DIR = "c"
SCORE_SCALE = 1 / 256
SCORE_ZERO_POINT = -128


class DataSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where training material came from and under which terms."""

    name: str
    licence: str
    n_clips: int = 0
    hours: float = 0.0
    attribution: str = ""
    real: bool = True


class ModelInfo(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The network's interface; must agree with the file and with the front end."""

    sha256: str
    n_bytes: int
    input_shape: tuple[int, ...]
    input_scale: float
    input_zero_point: int
    n_scores: int
    arena_bytes: int


class FrontEndInfo(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which specification the network was trained on."""

    name: str
    hash: str


class BundleInfo(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The content of ``bundle.json``."""

    format: int
    name: str
    version: str
    model_version: str
    class_names: tuple[str, ...]
    frontend: FrontEndInfo
    model: ModelInfo
    detector: DetectorParams
    metrics: dict[str, Any]
    data: tuple[DataSource, ...]
    limits: tuple[str, ...]
    tools: dict[str, str]
    files: dict[str, str]


def model_info(data: bytes, sha256: str, spec: FrontEndSpec) -> ModelInfo:
    """Return the network's interface; raise EarmarkError unless it fits the front end."""
    model = tflite.parse_model(data)
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise EarmarkError(
            f"the network has {len(model.inputs)} inputs and {len(model.outputs)} outputs",
            "a bundle needs one window in and one row of scores out",
        )
    window, scores = model.tensors[model.inputs[0]], model.tensors[model.outputs[0]]
    for tensor, role in ((window, "input"), (scores, "output")):
        if tensor.dtype is not tflite.TensorType.INT8 or tensor.quantisation is None:
            raise EarmarkError(
                f"the network's {role} is {tensor.dtype.name}",
                "convert with full int8 quantisation",
            )
    expected = (1, spec.context_frames, spec.n_features)
    if window.shape not in (expected, (*expected, 1)):
        raise EarmarkError(
            f"the network's input is {window.shape}, front end '{spec.name}' gives {expected}",
            "network and front end belong to different trainings",
        )
    _check_quantisation(window, spec.output_scale, spec.output_zero_point, "input")
    _check_quantisation(scores, SCORE_SCALE, SCORE_ZERO_POINT, "output")
    return ModelInfo(
        sha256=sha256,
        n_bytes=len(data),
        input_shape=window.shape,
        input_scale=spec.output_scale,
        input_zero_point=spec.output_zero_point,
        n_scores=scores.elements,
        arena_bytes=0,
    )


def _check_quantisation(tensor: tflite.Tensor, scale: float, zero_point: int, role: str) -> None:
    quantisation = tensor.quantisation
    assert quantisation is not None  # noqa: S101 - checked by the caller
    found = (float(quantisation.scale[0]), int(quantisation.zero_point[0]))
    if found != (float(np.float32(scale)), zero_point):
        raise EarmarkError(
            f"the network's {role} has scale {found[0]:.9g} and zero point {found[1]}, "
            f"expected {scale:.9g} and {zero_point}",
            "the representative data must span the front end's whole range"
            if role == "input"
            else "the network must end in softmax or logistic",
        )


def check_files(directory: Path, info: BundleInfo, shown: str) -> None:
    """Raise EarmarkError unless every listed file is there, unchanged."""
    for name in (MODEL_FILE, SPEC_FILE, f"{C_DIR}/{bundle_c.INFO_SOURCE}"):
        if name not in info.files:
            raise EarmarkError(
                f"{shown}: {INFO_FILE} does not list {name}", "train or export again"
            )
    for name, sha256 in info.files.items():
        path = directory / name
        if not path.resolve().is_relative_to(directory.resolve()) or not path.is_file():
            raise EarmarkError(
                f"{shown}: {name} is missing", "the bundle is incomplete; copy it again"
            )
        if file_sha256(path) != sha256:
            raise EarmarkError(
                f"{shown}: {name} was changed after the bundle was written",
                "never edit a bundle: change the source and write it again",
            )


def check_bundle(directory: Path, info: BundleInfo, spec: FrontEndSpec, shown: str) -> None:
    """Raise EarmarkError unless front end, network, labels and parameters belong together."""
    if spec.hash_hex != info.frontend.hash:
        raise EarmarkError(
            f"{shown}: front end '{spec.name}' has hash {spec.hash_hex}, "
            f"the model was trained on {info.frontend.hash}",
            "the front end was changed after training: train again",
        )
    data = (directory / MODEL_FILE).read_bytes()
    model = model_info(data, hashlib.sha256(data).hexdigest(), spec)
    if msgspec.structs.replace(model, arena_bytes=info.model.arena_bytes) != info.model:
        raise EarmarkError(
            f"{shown}: {MODEL_FILE} does not match {INFO_FILE}", "write the bundle again"
        )
    if len(info.class_names) != info.model.n_scores:
        raise EarmarkError(
            f"{shown}: {len(info.class_names)} class names for {info.model.n_scores} scores",
            "labels and model belong to different trainings",
        )
    check_params(info.detector, info.model.n_scores)
    if info.detector.hop_frames > spec.context_frames:
        raise EarmarkError(
            f"{shown}: a hop of {info.detector.hop_frames} rows skips part of the sound",
            f"at most {spec.context_frames}, the length of a window",
        )


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file as hex digits."""
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
