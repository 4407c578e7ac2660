"""Clip-level evaluation: float, int8 under TFLM, and the C that the device runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from earmark_datasets.audio import read_clip
from earmark_dsp.errors import EarmarkError
from earmark_dsp.native import extract

from earmark_training.stream import windows
from earmark_training.windows import BACKGROUND

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from earmark_datasets.manifest import Manifest
    from earmark_dsp.spec import FrontEndSpec

    from earmark_training.deploy.bundle import Bundle
    from earmark_training.stream import Network


# Of a model file: beyond it TFLM's reference kernels take a tenth of a second per window, and run
# only a sample of them.
TFLM_SLOW_BYTES = 100_000
TFLM_SAMPLE = 16


@dataclass(frozen=True)
class ClipWindows:
    """A test clip as the device sees it.

    Attributes
    ----------
    label : int
    windows : ndarray [shape=(n, context_frames, n_features), dtype=int8]
        One per inference.
    """

    label: int
    windows: np.ndarray


@dataclass(frozen=True)
class ClipScores:
    """How one arithmetic did.

    Attributes
    ----------
    accuracy : float
        Share of clips whose vote is right, 0..1.
    confusion : ndarray [shape=(n_labels, n_labels), dtype=int64]
        Rows are the truth.
    """

    accuracy: float
    confusion: np.ndarray


def clip_windows(
    manifest: Manifest, labels: Sequence[str], spec: FrontEndSpec, hop_frames: int
) -> list[ClipWindows]:
    """Cut every clip into the windows on which the device runs its network."""
    out = []
    for clip in manifest.clips:
        pcm = read_clip(clip, sample_rate_hz=spec.sample_rate_hz)
        out.append(ClipWindows(labels.index(clip.label), device_windows(pcm, spec, hop_frames)))
    return out


def device_windows(pcm: np.ndarray, spec: FrontEndSpec, hop_frames: int) -> np.ndarray:
    """Return the windows of a recording; silence follows one that is shorter than a window.

    Parameters
    ----------
    pcm : ndarray [shape=(n_samples,), dtype=int16]
    spec : FrontEndSpec
    hop_frames : int

    Returns
    -------
    ndarray [shape=(n, context_frames, n_features), dtype=int8]
    """
    needed = (spec.context_frames - 1) * spec.hop_length + spec.window_length
    padded = np.pad(pcm, (0, max(0, needed - len(pcm))))
    return np.ascontiguousarray(windows(extract(spec, padded), spec.context_frames, hop_frames))


def vote(scores: np.ndarray, labels: Sequence[str]) -> int:
    """Return the label with the largest summed score, background aside.

    Parameters
    ----------
    scores : ndarray [shape=(n_windows, n_labels)]
        Non-negative. Windows without the sound score as background, and so carry little weight.
    labels : sequence of str
    """
    total = scores.sum(axis=0, dtype=np.float64)
    if BACKGROUND in labels:
        total[labels.index(BACKGROUND)] = -1
    return int(total.argmax())


def score_clips(
    clips: Sequence[ClipWindows], scores: Sequence[np.ndarray], labels: Sequence[str]
) -> ClipScores:
    """Vote each clip and count; `scores` holds one array per clip."""
    confusion = np.zeros((len(labels), len(labels)), np.int64)
    for clip, clip_scores in zip(clips, scores, strict=True):
        confusion[clip.label, vote(clip_scores, labels)] += 1
    return ClipScores(float(np.trace(confusion) / max(1, confusion.sum())), confusion)


def float_scores(model: Any, clips: Sequence[ClipWindows], spec: FrontEndSpec) -> list[np.ndarray]:
    """Return the Keras model's scores of every clip, from the same integer features."""
    scores = []
    for clip in clips:
        real = (clip.windows.astype(np.float32) - spec.output_zero_point) * spec.output_scale
        scores.append(np.asarray(model(real, training=False)))
    return scores


def int8_outputs(
    network: Network,
    clips: Sequence[ClipWindows],
    progress: Callable[[int], None] | None = None,
) -> list[np.ndarray]:
    """Return raw int8 outputs [shape=(n_windows, n_labels)] of every clip."""
    outputs = []
    for number, clip in enumerate(clips, start=1):
        outputs.append(network.invoke(clip.windows).reshape(len(clip.windows), -1))
        if progress:
            progress(number)
    return outputs


def as_scores(outputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Turn softmax outputs (scale 1/256, zero point -128) into scores 0..1."""
    return [(array.astype(np.int16) + 128) / 256 for array in outputs]


def require_identical(a: Sequence[np.ndarray], b: Sequence[np.ndarray]) -> int:
    """Return the number of windows if every output is the same integer in both.

    Raises
    ------
    EarmarkError
        Naming the first clip and window that differ.
    """
    for clip, (left, right) in enumerate(zip(a, b, strict=True)):
        differing = np.flatnonzero((left != right).any(axis=1))
        if len(differing):
            raise EarmarkError(
                f"TFLM and the C engine differ on test clip {clip}, window {differing[0]}: "
                f"{left[differing[0]].tolist()} and {right[differing[0]].tolist()}",
                "this is a defect of the engine; please report it with the model file",
            )
    return sum(len(array) for array in a)


class Reference:
    """LiteRT with TensorFlow Lite's reference kernels, most of which TFLM shares."""

    def __init__(self, tflite: bytes) -> None:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        self._interpreter = Interpreter(
            model_content=tflite, experimental_op_resolver_type=OpResolverType.BUILTIN_REF
        )
        self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]
        self._output = self._interpreter.get_output_details()[0]["index"]

    def invoke(self, batch: np.ndarray) -> np.ndarray:
        """Return int8 scores [shape=(n, n_scores)] of windows [shape=(n, frames, features)]."""
        outputs = []
        for item in batch:
            self._interpreter.set_tensor(
                self._input["index"], item.reshape(self._input["shape"]).astype(np.int8)
            )
            self._interpreter.invoke()
            outputs.append(self._interpreter.get_tensor(self._output)[0])
        return np.stack(outputs)


def judged_by_tflm(
    tflm: Network,
    reference: Network,
    windows: np.ndarray,
    by_c: np.ndarray,
    *,
    always: Sequence[int] = (0,),
) -> tuple[np.ndarray, int]:
    """Return TFLM's outputs of a large network without running all of them in TFLM.

    TFLM takes a tenth of a second and more per window. LiteRT's reference kernels, almost the same
    code ten times faster, round otherwise now and then: where they and C give different
    integers, TFLM itself decides.

    Parameters
    ----------
    tflm, reference : Network
        TFLM, and `Reference`.
    windows : ndarray [shape=(n, context_frames, n_features), dtype=int8]
    by_c : ndarray [shape=(n, n_labels), dtype=int8]
    always : sequence of int
        Windows that TFLM runs in any case.

    Returns
    -------
    outputs : ndarray [shape=(n, n_labels), dtype=int8]
    n_tflm_windows : int
        How many TFLM ran.
    """
    outputs = reference.invoke(windows).reshape(len(windows), -1).copy()
    doubtful = sorted({*np.flatnonzero((outputs != by_c).any(axis=1)).tolist(), *always})
    if doubtful:
        outputs[doubtful] = tflm.invoke(windows[doubtful]).reshape(len(doubtful), -1)
    return outputs, len(doubtful)


@dataclass(frozen=True)
class BundleScores:
    """Clip-level results of a bundle.

    Attributes
    ----------
    float32 : ClipScores or None
        None without the float model.
    int8_tflm, c : ClipScores
        TensorFlow Lite Micro, and the C that the device runs.
    n_windows : int
        Windows on which C gave the integers of TFLM, or of LiteRT's reference kernels.
    n_tflm_windows : int
        Those of them that ran in TFLM itself.
    tflm_arena_bytes : int
        On this machine's pointer size.
    """

    float32: ClipScores | None
    int8_tflm: ClipScores
    c: ClipScores
    n_windows: int
    n_tflm_windows: int
    tflm_arena_bytes: int


def evaluate_bundle(
    bundle: Bundle,
    test_clips: Manifest,
    *,
    float_model: Any = None,
    progress: Callable[[int, int], None] | None = None,
    tflm_windows: int | None = None,
) -> BundleScores:
    """Score a bundle on clips, voting from windows as the device does.

    Parameters
    ----------
    bundle : Bundle
    test_clips : Manifest
        Labels that the network does not have are refused.
    float_model : keras.Model or None
        Scored beside it on the same integer features.
    progress : callable or None
        Called with (clips done, clips).
    tflm_windows : int or None
        How many windows TFLM itself runs, one each of clips spread over the test data; None: all
        windows. For large networks, see `judged_by_tflm`.

    Raises
    ------
    EarmarkError
        If TFLM and the C code differ in one integer, or a label is unknown.
    """
    from earmark_training.tflm import TflmModel

    labels = bundle.info.class_names
    if unknown := sorted(set(test_clips.labels) - set(labels)):
        raise EarmarkError(
            f"the network has no output for {', '.join(unknown)}",
            f"its labels are {', '.join(labels)}; map or remove the others",
        )
    clips = clip_windows(test_clips, labels, bundle.spec, bundle.hop_frames)
    tflm = TflmModel(bundle.tflite)
    report = None if progress is None else lambda n: progress(n, len(clips))
    by_c = int8_outputs(bundle.network(), clips)
    if tflm_windows is None:
        by_tflm = int8_outputs(tflm, clips, report)
        n_tflm_windows = sum(len(array) for array in by_tflm)
    else:
        reference = Reference(bundle.tflite)
        step, by_tflm, n_tflm_windows = max(1, -(-len(clips) // tflm_windows)), [], 0
        for number, (clip, outputs) in enumerate(zip(clips, by_c, strict=True)):
            sampled = [0] if number % step == 0 else []
            found, n = judged_by_tflm(tflm, reference, clip.windows, outputs, always=sampled)
            by_tflm.append(found)
            n_tflm_windows += n
            if report:
                report(number + 1)
    n_windows = require_identical(by_tflm, by_c)
    by_float = None
    if float_model is not None:
        by_float = score_clips(clips, float_scores(float_model, clips, bundle.spec), labels)
    return BundleScores(
        float32=by_float,
        int8_tflm=score_clips(clips, as_scores(by_tflm), labels),
        c=score_clips(clips, as_scores(by_c), labels),
        n_windows=n_windows,
        n_tflm_windows=n_tflm_windows,
        tflm_arena_bytes=tflm.arena_used_bytes,
    )
