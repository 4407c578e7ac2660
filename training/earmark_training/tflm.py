"""TensorFlow Lite Micro's own interpreter (the `tflite-micro` wheel): the oracle of the engine."""

from __future__ import annotations

import os
import pickle
import re
import subprocess
import sys
import tempfile
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
from earmark_dsp.errors import EarmarkError

from earmark_training.deploy.tflite import DTYPES, Model, parse_model

if TYPE_CHECKING:
    from collections.abc import Sequence

_STDERR_LOCK = threading.Lock()
_ISOLATED_TIMEOUT_S = 300
ARENA_STEP_BYTES = 16


class TflmModel:
    """Runs a model as the device's TFLM engine would.

    Parameters
    ----------
    tflite : bytes
        The model; validated first, because TFLM does not check FlatBuffer offsets.
    """

    def __init__(self, tflite: bytes) -> None:
        self.model: Model = parse_model(tflite)
        self._interpreter = _interpreter(self.model)
        self._arena_used_bytes: int | None = None

    def invoke_many(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """One inference: one array per input, one array per output."""
        tensors = self.model.tensors
        for slot, (i, array) in enumerate(zip(self.model.inputs, inputs, strict=True)):
            t = tensors[i]
            self._interpreter.set_input(
                np.ascontiguousarray(array, DTYPES[t.dtype]).reshape(t.shape), slot
            )
        self._interpreter.invoke()
        return [self._interpreter.get_output(k) for k in range(len(self.model.outputs))]

    def invoke(self, batch: np.ndarray) -> np.ndarray:
        """Run a batch through a model with one input and one output.

        Parameters
        ----------
        batch : ndarray [shape=(n, ...), dtype=int8 or float32]
            Each item holds one input; its shape without the leading 1 of the tensor.

        Returns
        -------
        ndarray [shape=(n, ...)]
            Raw outputs.
        """
        return np.stack([self.invoke_many([item])[0][0] for item in batch])

    @property
    def arena_used_bytes(self) -> int:
        """Bytes that TFLM's allocator reports as used for this model, on this machine."""
        if self._arena_used_bytes is None:
            self._arena_used_bytes = _measure_arena(self._interpreter)
        return self._arena_used_bytes


def _generous_arena_bytes(model: Model) -> int:
    """More than TFLM can need: all tensors at once, per-channel tables, 1 KiB per operator."""
    activations = sum(t.n_bytes for t in model.tensors if t.data is None and t.dtype in DTYPES)
    return activations + 2 * len(model.data) + 1024 * len(model.operators) + 65536


def _interpreter(model: Model, arena_bytes: int | None = None) -> Any:
    from tflite_micro.python.tflite_micro import runtime

    try:
        return runtime.Interpreter.from_bytes(
            model.data,
            arena_size=arena_bytes or _generous_arena_bytes(model),
            intrepreter_config=runtime.InterpreterConfig.kAllocationRecording,
        )
    except RuntimeError as exc:
        raise EarmarkError(f"TensorFlow Lite Micro refuses the model: {exc}") from exc


def _measure_arena(interpreter: Any) -> int:
    """Parse what TFLM's recording allocator prints on the C standard error."""
    with _STDERR_LOCK, tempfile.TemporaryFile() as capture:
        saved = os.dup(2)
        try:
            os.dup2(capture.fileno(), 2)
            interpreter.print_allocations()
        finally:
            os.dup2(saved, 2)
            os.close(saved)
        capture.seek(0)
        text = capture.read().decode("utf-8", "replace")
    found = re.search(r"Arena allocation total (\d+) bytes", text)
    if found is None:
        raise EarmarkError("TensorFlow Lite Micro did not report its arena", text[:200])
    return int(found[1])


def minimal_arena_bytes(model: Model) -> int:
    """Smallest arena with which TFLM loads the model, its temporary allocations included.

    `arena_used_bytes` misses what Prepare allocates for a moment; bisection does not.
    """
    result: int = _call_isolated("arena", model, None)
    return result


def _bisect_arena(model: Model) -> int:
    low, high = 0, _generous_arena_bytes(model)
    while high - low > ARENA_STEP_BYTES:
        middle = (low + high) // 2 // ARENA_STEP_BYTES * ARENA_STEP_BYTES
        try:
            _interpreter(model, max(middle, ARENA_STEP_BYTES))
            high = middle
        except EarmarkError:
            low = middle
    return -(-high // ARENA_STEP_BYTES) * ARENA_STEP_BYTES


def run_isolated(model: Model, batches: Sequence[Sequence[np.ndarray]]) -> list[list[np.ndarray]]:
    """Run inferences in a child process, so that an abort inside TFLM is an error here.

    Parameters
    ----------
    model : Model
        A validated model.
    batches : sequence of sequences of ndarray
        One array per model input for each inference.
    """
    results: list[list[np.ndarray]] = _call_isolated("run", model, [list(b) for b in batches])
    return results


def _call_isolated(task: str, model: Model, argument: object) -> Any:
    try:
        child = subprocess.run(
            [sys.executable, "-m", "earmark_training.tflm"],
            input=pickle.dumps((task, model.data, argument)),
            capture_output=True,
            timeout=_ISOLATED_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as exc:
        raise EarmarkError("TensorFlow Lite Micro did not finish", "simplify the model") from exc
    if child.returncode != 0:
        reason = child.stderr.decode("utf-8", "replace").strip().splitlines()[-1:] or ["aborted"]
        raise EarmarkError(
            f"TensorFlow Lite Micro cannot run the model: {reason[0]}",
            "convert the model again with full integer quantisation",
        )
    return pickle.loads(child.stdout)  # noqa: S301 - our own child


def _serve() -> None:
    """Child side of `_call_isolated`."""
    task, tflite, argument = pickle.load(sys.stdin.buffer)  # noqa: S301 - our own parent
    result: object
    if task == "arena":
        result = _bisect_arena(parse_model(tflite))
    else:
        runner = TflmModel(tflite)
        result = [runner.invoke_many(batch) for batch in argument]
    sys.stdout.buffer.write(pickle.dumps(result))


if __name__ == "__main__":
    _serve()
