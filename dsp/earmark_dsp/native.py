"""The C front end on numpy arrays and streams. There is no other implementation to fall back to."""

from __future__ import annotations

import importlib
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from earmark_dsp.errors import EarmarkError
from earmark_dsp.tables import build_tables

try:
    _native: Any = importlib.import_module("earmark_dsp._native")
except ImportError as exc:
    raise EarmarkError(
        f"the compiled front end is missing: {exc}",
        "it is built when Earmark is installed: run `pip install -e .` with a C compiler present",
    ) from exc

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from earmark_dsp.spec import FrontEndSpec

_ffi = _native.ffi
_lib = _native.lib
_WORD_BYTES = 8


class _NativeTables:
    """`em_frontend_tables_t` filled from a specification; keeps what it points to alive."""

    def __init__(self, spec: FrontEndSpec) -> None:
        tables = build_tables(spec)
        self.pointer = _ffi.new("em_frontend_tables_t *")
        self._owners: list[Any] = []
        for name in ("name", "hash_hex"):
            text = _ffi.new("char[]", getattr(spec, name).encode())
            self._owners.append(text)
            setattr(self.pointer, name, text)
        self.pointer.output_scale = spec.output_scale
        for name, value in tables.scalars.items():
            setattr(self.pointer, name, value)
        for name, (c_type, values) in tables.arrays.items():
            array = _ffi.new(f"{c_type}[]", values.tolist())
            self._owners.append(array)
            setattr(self.pointer, name, array)


# Equal specifications share tables: augmentation calls `extract` thousands of times.
@lru_cache(maxsize=32)
def _native_tables(spec: FrontEndSpec) -> _NativeTables:
    return _NativeTables(spec)


class FrontEnd:
    """A stream of PCM turned into feature rows by the code that runs on the device.

    Any split of a stream into chunks gives the same rows. Not for use by several threads at once;
    separate objects are independent, and the interpreter lock is released while C runs.

    Parameters
    ----------
    spec : FrontEndSpec
    """

    def __init__(self, spec: FrontEndSpec) -> None:
        self.spec = spec
        self._tables = _native_tables(spec)
        n_bytes = _lib.em_frontend_needed_bytes(self._tables.pointer)
        self._memory = _ffi.new("uint64_t[]", -(-n_bytes // _WORD_BYTES))
        handle = _ffi.new("em_frontend_t **")
        status = _lib.em_frontend_init(handle, self._tables.pointer, self._memory, n_bytes)
        if status != _lib.EM_OK:
            raise RuntimeError(f"em_frontend_init returned {status}")
        self._fe = handle[0]
        self._filled = 0
        self.state_bytes: int = n_bytes
        """State and scratch that the device needs, on this machine's pointer size."""

    def reset(self) -> None:
        """Forget all audio and the smoother of PCEN."""
        _lib.em_frontend_reset(self._fe)
        self._filled = 0

    def process(self, pcm: NDArray[np.int16]) -> NDArray[np.int8]:
        """Feed a chunk and return the rows it completes.

        Parameters
        ----------
        pcm : ndarray [shape=(n_samples,), dtype=int16]

        Returns
        -------
        ndarray [shape=(n_rows, n_features), dtype=int8]
            Possibly without rows; ``real = output_scale * (row - output_zero_point)``.
        """
        return self._run(pcm, with_q8=False)[0]

    def process_q8(self, pcm: NDArray[np.int16]) -> NDArray[np.int16]:
        """Like `process`, but in 1/256 of an int8 step, saturated to int16: for inspection."""
        return self._run(pcm, with_q8=True)[1]

    def _run(
        self, pcm: NDArray[np.int16], *, with_q8: bool
    ) -> tuple[NDArray[np.int8], NDArray[np.int16]]:
        samples = _as_pcm(pcm)
        total = self._filled + samples.size
        n_rows = self.spec.n_frames(total)
        self._filled = total - n_rows * self.spec.hop_length
        # One spare row: C may write a row only when it is complete, but needs somewhere to point.
        rows = np.empty((n_rows + 1, self.spec.n_features), np.int8)
        rows_q8 = np.empty((n_rows if with_q8 else 0, self.spec.n_features), np.int16)
        done = _lib.em_extract(
            self._fe,
            _ffi.from_buffer("int16_t[]", samples),
            samples.size,
            _ffi.from_buffer("int8_t[]", rows, require_writable=True),
            _ffi.from_buffer("int16_t[]", rows_q8) if with_q8 else _ffi.NULL,
            self.spec.n_features,
        )
        if done != n_rows:
            raise RuntimeError(f"the C front end gave {done} rows, {n_rows} were due")
        return rows[:n_rows], rows_q8


def _as_pcm(pcm: NDArray[np.int16]) -> NDArray[np.int16]:
    array = np.asarray(pcm)
    if array.dtype != np.int16 or array.ndim != 1:
        raise EarmarkError(
            f"pcm: expected int16 samples of one channel, got {array.dtype} of shape {array.shape}",
            "mix to one channel; convert floats with np.clip(np.rint(x * 32768), -32768, 32767)",
        )
    return np.ascontiguousarray(array)


def extract(spec: FrontEndSpec, pcm: NDArray[np.int16]) -> NDArray[np.int8]:
    """Return the feature rows of a whole recording, from a fresh state.

    Parameters
    ----------
    spec : FrontEndSpec
    pcm : ndarray [shape=(n_samples,), dtype=int16]
        One channel at ``spec.sample_rate_hz``.

    Returns
    -------
    ndarray [shape=(spec.n_frames(n_samples), n_features), dtype=int8]
    """
    return FrontEnd(spec).process(pcm)


def extract_q8(spec: FrontEndSpec, pcm: NDArray[np.int16]) -> NDArray[np.int16]:
    """Like `extract`, in 1/256 of an int8 step, saturated to int16."""
    return FrontEnd(spec).process_q8(pcm)
