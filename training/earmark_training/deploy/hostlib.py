"""Builds a generated directory with the host's C compiler and calls it from Python."""

from __future__ import annotations

import ctypes
import os
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from earmark_dsp.errors import EarmarkError

if TYPE_CHECKING:
    from collections.abc import Sequence

CFLAGS = ("-std=c11", "-O3", "-Wall", "-Wextra", "-Werror", "-fPIC")
EM_OK = 0
ALIGNMENT = 16


class _Tensor(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("elements", ctypes.c_uint32),
        ("rank", ctypes.c_uint8),
        ("dims", ctypes.c_uint16 * 6),
        ("scale", ctypes.c_float),
        ("zero_point", ctypes.c_int32),
    )


class _Golden(ctypes.Structure):
    _fields_ = (
        ("inputs", ctypes.POINTER(ctypes.c_void_p)),
        ("outputs", ctypes.POINTER(ctypes.c_void_p)),
        ("crc32", ctypes.c_uint32),
    )


class _Model(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("weights_sha256", ctypes.c_char_p),
        ("arena_bytes", ctypes.c_uint32),
        ("n_inputs", ctypes.c_uint8),
        ("n_outputs", ctypes.c_uint8),
        ("inputs", ctypes.POINTER(_Tensor)),
        ("outputs", ctypes.POINTER(_Tensor)),
        ("golden", ctypes.POINTER(_Golden)),
        (
            "run",
            ctypes.CFUNCTYPE(
                ctypes.c_int,
                ctypes.c_void_p,
                ctypes.POINTER(ctypes.c_void_p),
                ctypes.POINTER(ctypes.c_void_p),
            ),
        ),
        ("tflm", ctypes.c_void_p),
    )


def build_library(directory: Path, library: Path, *, flags: Sequence[str] = ()) -> None:
    """Compile all C of a generated directory into a shared library.

    Raises
    ------
    EarmarkError
        If there is no C compiler or it refuses the sources.
    """
    sources = [*sorted(directory.glob("*.c")), *sorted((directory / "nn").glob("*.c"))]
    if not sources:
        raise EarmarkError(f"no C sources in {directory}", "run `earmark compile` first")
    include = directory / "nn"
    command = [
        os.environ.get("CC", "cc"), *CFLAGS, *flags, "-shared", "-I", str(include),
        *map(str, sources), "-o", str(library), "-lm",
    ]  # fmt: skip
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as exc:
        raise EarmarkError(
            f"no C compiler '{command[0]}'", "install gcc or clang, or set CC"
        ) from exc
    if done.returncode != 0:
        raise EarmarkError(f"{directory} does not compile: {done.stderr[:800]}", "report this")


class HostModel:
    """A compiled model on this machine: the same C as on the device.

    Parameters
    ----------
    directory : Path or str
        Output of `compile_model`.
    name : str
        Name given to `compile_model`.
    flags : sequence of str
        Extra compiler flags.
    """

    def __init__(
        self, directory: Path | str, name: str = "model", *, flags: Sequence[str] = ()
    ) -> None:
        with tempfile.TemporaryDirectory(prefix="earmark-host-") as scratch:
            path = Path(scratch) / "model.so"
            build_library(Path(directory), path, flags=flags)
            self._library = ctypes.CDLL(str(path))
        self._model = _Model.in_dll(self._library, f"em_{name}")
        self.arena_bytes = int(self._model.arena_bytes)
        self.inputs = [self._model.inputs[i] for i in range(self._model.n_inputs)]
        self.outputs = [self._model.outputs[i] for i in range(self._model.n_outputs)]
        self._arena = np.empty(self.arena_bytes + ALIGNMENT, np.uint8)

    def _arena_address(self) -> int:
        base = int(self._arena.ctypes.data)
        return -(-base // ALIGNMENT) * ALIGNMENT

    def invoke_many(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """One inference: one array per input, one array per output."""
        if len(inputs) != len(self.inputs):
            raise ValueError(f"{len(inputs)} inputs for a model with {len(self.inputs)}")
        arrays = []
        for tensor, array in zip(self.inputs, inputs, strict=True):
            flat = np.ascontiguousarray(array, _dtype(tensor)).ravel()
            if flat.size != tensor.elements:
                raise ValueError(f"{flat.size} input values, the model takes {tensor.elements}")
            arrays.append(flat)
        results = [np.empty(_shape(t), _dtype(t)) for t in self.outputs]
        status = self._model.run(self._arena_address(), _pointers(arrays), _pointers(results))
        if status != EM_OK:
            raise EarmarkError(f"the compiled model returned status {status}")
        return results

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


def _dtype(tensor: _Tensor) -> np.dtype:
    return np.dtype(np.int8) if tensor.type == 1 else np.dtype(np.float32)


def _shape(tensor: _Tensor) -> tuple[int, ...]:
    return tuple(tensor.dims[i] for i in range(tensor.rank))


def _pointers(arrays: Sequence[np.ndarray]) -> ctypes.Array[ctypes.c_void_p]:
    return (ctypes.c_void_p * len(arrays))(*[a.ctypes.data for a in arrays])
