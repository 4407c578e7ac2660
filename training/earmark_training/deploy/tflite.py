"""Validated reading of `.tflite` models into plain dataclasses.

Field numbers are those of tensorflow/lite/schema/schema.fbs, version 3. Nothing here knows what
an operator computes; `lower.py` does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import numpy as np
from earmark_dsp.errors import EarmarkError

from earmark_training.deploy import flatbuffer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SCHEMA_VERSION = 3
MAX_RANK = 6
# 64 MiB in one activation is far beyond any microcontroller; weights are bounded by the file.
MAX_ELEMENTS = 1 << 26
MAX_OPERATORS = 1024
# Products of two scales stay finite and normal in float32.
SCALE_RANGE = (1e-18, 1e18)
MAX_FILE_BYTES = 64 << 20


class TensorType(IntEnum):
    """The element types that can be named; only some can be compiled."""

    FLOAT32 = 0
    FLOAT16 = 1
    INT32 = 2
    UINT8 = 3
    INT64 = 4
    STRING = 5
    BOOL = 6
    INT16 = 7
    INT8 = 9
    FLOAT64 = 10
    INT4 = 17


DTYPES: dict[TensorType, np.dtype[Any]] = {
    TensorType.FLOAT32: np.dtype("<f4"),
    TensorType.INT32: np.dtype("<i4"),
    TensorType.INT64: np.dtype("<i8"),
    TensorType.INT8: np.dtype("i1"),
}


class Op(IntEnum):
    """Builtin operators that the compiler knows; the rest is refused by name or number."""

    ADD = 0
    AVERAGE_POOL_2D = 1
    CONCATENATION = 2
    CONV_2D = 3
    DEPTHWISE_CONV_2D = 4
    DEQUANTIZE = 6
    FULLY_CONNECTED = 9
    LOGISTIC = 14
    MAX_POOL_2D = 17
    MUL = 18
    RELU = 19
    RELU_N1_TO_1 = 20
    RELU6 = 21
    RESHAPE = 22
    SOFTMAX = 25
    PAD = 34
    TRANSPOSE = 39
    MEAN = 40
    SUB = 41
    SQUEEZE = 43
    STRIDED_SLICE = 45
    SPLIT = 49
    PADV2 = 60
    EXPAND_DIMS = 70
    LEAKY_RELU = 98
    QUANTIZE = 114


@dataclass(frozen=True)
class Quantisation:
    """real = scale * (q - zero_point); one pair, or one for each slice along `axis`."""

    scale: np.ndarray  # shape (n,), float32
    zero_point: np.ndarray  # shape (n,), int64
    axis: int


@dataclass(frozen=True)
class Tensor:
    """One tensor of the graph; `data` is None unless it is constant."""

    index: int
    name: str
    shape: tuple[int, ...]
    dtype: TensorType
    quantisation: Quantisation | None
    data: np.ndarray | None

    @property
    def elements(self) -> int:
        """Product of the dimensions."""
        return math.prod(self.shape)

    @property
    def n_bytes(self) -> int:
        """Size of the tensor in memory."""
        return self.elements * DTYPES[self.dtype].itemsize

    def __str__(self) -> str:
        shape = "x".join(map(str, self.shape)) or "scalar"
        return f"tensor {self.index} '{self.name}' ({shape} {self.dtype.name.lower()})"


@dataclass(frozen=True)
class Operator:
    """One node: `inputs` holds tensor indices, -1 for an omitted optional input."""

    position: int
    code: int
    custom_name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options_type: int
    options: flatbuffer.Table | None

    @property
    def name(self) -> str:
        """Name as in the schema, or its number when unknown."""
        if self.custom_name:
            return f"CUSTOM '{self.custom_name}'"
        return Op(self.code).name if self.code in set(Op) else builtin_name(self.code)

    def __str__(self) -> str:
        return f"operator {self.position} ({self.name})"


@dataclass(frozen=True)
class Model:
    """A validated model with one subgraph in execution order."""

    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    description: str
    data: bytes


# Operators that people meet in exported models but that the compiler does not have.
_FOREIGN = {
    8: "FLOOR", 10: "HASHTABLE_LOOKUP", 11: "L2_NORMALIZATION",
    12: "L2_POOL_2D", 16: "LSTM", 23: "RESIZE_BILINEAR", 28: "TANH", 36: "GATHER",
    38: "SPACE_TO_BATCH_ND", 37: "BATCH_TO_SPACE_ND", 42: "DIV", 44: "UNIDIRECTIONAL_SEQUENCE_LSTM",
    47: "EXP", 53: "CAST", 54: "PRELU", 55: "MAXIMUM", 56: "ARG_MAX", 57: "MINIMUM",
    65: "SLICE", 67: "TRANSPOSE_CONV", 74: "SUM", 75: "SQRT", 76: "RSQRT", 77: "SHAPE", 78: "POW",
    82: "REDUCE_MAX", 83: "PACK", 88: "UNPACK", 97: "RESIZE_NEAREST_NEIGHBOR",
    99: "SQUARED_DIFFERENCE",    100: "MIRROR_PAD", 102: "SPLIT_V", 111: "ELU", 117: "HARD_SWISH",
    126: "BATCH_MATMUL", 129: "CALL_ONCE", 142: "VAR_HANDLE", 143: "READ_VARIABLE",
    144: "ASSIGN_VARIABLE", 150: "GELU",
}  # fmt: skip


def builtin_name(code: int) -> str:
    """Return the schema's name of a builtin operator if known, else its number."""
    return _FOREIGN.get(code, f"builtin operator {code}")


def read_model(path: Path) -> Model:
    """Read and validate a file; see `parse_model`."""
    try:
        data = path.read_bytes()
    except OSError as exc:
        raise EarmarkError(f"{path}: {exc.strerror}", "give the path of a .tflite file") from exc
    try:
        return parse_model(data)
    except EarmarkError as exc:
        raise EarmarkError(f"{path}: {exc.what}", exc.hint) from exc


def parse_model(data: bytes) -> Model:
    """Parse and validate a `.tflite` file.

    Parameters
    ----------
    data : bytes
        The file's content.

    Returns
    -------
    Model
        With every index, shape, size and execution order already checked.

    Raises
    ------
    EarmarkError
        If anything in the file is missing, out of range or inconsistent.
    """
    if len(data) > MAX_FILE_BYTES:
        raise EarmarkError(
            f"{len(data):,} bytes, a model for a microcontroller is below {MAX_FILE_BYTES:,}",
            "give the int8 model",
        )
    model = flatbuffer.root(data, b"TFL3")
    version = model.scalar(0, "I")
    if version != SCHEMA_VERSION:
        raise EarmarkError(
            f"schema version {version}, only {SCHEMA_VERSION} is known",
            "convert the model again with TensorFlow 2",
        )
    codes = [_operator_code(code) for code in model.tables(1, "operator code")]
    graphs = list(model.tables(2, "subgraph"))
    if len(graphs) != 1:
        raise EarmarkError(
            f"the model has {len(graphs)} subgraphs, exactly one can be compiled",
            "export without control flow (while, if) and without variables",
        )
    buffers = [_buffer(table) for table in model.tables(4, "buffer")]
    graph = graphs[0]
    tensors = tuple(_tensor(i, table, buffers) for i, table in enumerate(graph.tables(0, "tensor")))
    operators = tuple(
        _operator(i, table, codes, len(tensors))
        for i, table in enumerate(graph.tables(3, "operator"))
    )
    if not 0 < len(operators) <= MAX_OPERATORS:
        raise flatbuffer.damaged(f"{len(operators)} operators")
    inputs = _indices(graph, 1, len(tensors), "model input")
    outputs = _indices(graph, 2, len(tensors), "model output")
    if not inputs or not outputs or len(inputs) > 16 or len(outputs) > 16:
        raise flatbuffer.damaged(f"{len(inputs)} inputs and {len(outputs)} outputs")
    _check_order(tensors, operators, inputs, outputs)
    return Model(tensors, operators, inputs, outputs, model.text(3), data)


def _operator_code(table: flatbuffer.Table) -> tuple[int, str]:
    # Since schema 3a the code is an int32; older files only have the deprecated byte.
    code = max(table.scalar(0, "b"), table.scalar(3, "i"))
    return (code, table.text(1) or "?") if code == 32 else (code, "")


def _buffer(table: flatbuffer.Table) -> np.ndarray | None:
    if table.scalar(1, "Q") > 1:
        raise EarmarkError(
            f"{table.what} stores its data outside the FlatBuffer (models beyond 2 GiB)",
            "a model for a microcontroller is far smaller: convert it again",
        )
    data = table.vector(0, "u1")
    return None if data is None or data.size == 0 else data


def _tensor(index: int, table: flatbuffer.Table, buffers: Sequence[np.ndarray | None]) -> Tensor:
    name = table.text(3)
    what = f"tensor {index} '{name}'"
    raw_type = table.scalar(1, "b")
    if raw_type not in set(TensorType):
        raise EarmarkError(f"{what} has element type number {raw_type}", "quantise to int8")
    dtype = TensorType(raw_type)
    raw_shape = table.vector(0, "<i4")
    shape = tuple(map(int, raw_shape[: MAX_RANK + 1])) if raw_shape is not None else ()
    if len(shape) > MAX_RANK:
        raise EarmarkError(f"{what} has more than {MAX_RANK} dimensions", "reshape it")
    if any(d < 1 for d in shape) or math.prod(shape) > MAX_ELEMENTS:
        raise EarmarkError(
            f"{what} has the impossible shape {shape}",
            "every dimension must be fixed and positive: export with batch size 1",
        )
    if table.table(6, what) is not None:
        raise EarmarkError(f"{what} is sparse", "export without sparsity")
    if table.scalar(5, "?"):
        raise EarmarkError(f"{what} is a variable", "export the model without state")
    buffer_index = table.scalar(2, "I")
    if buffer_index >= max(len(buffers), 1):
        raise flatbuffer.damaged(f"{what} refers to buffer {buffer_index} of {len(buffers)}")
    raw = buffers[buffer_index] if buffers else None
    data = None
    if raw is not None and dtype in DTYPES:
        if raw.size != math.prod(shape) * DTYPES[dtype].itemsize:
            raise flatbuffer.damaged(f"{what} has {raw.size} bytes of data for shape {shape}")
        data = raw.view(DTYPES[dtype]).reshape(shape)
    elif raw is not None:
        raise EarmarkError(
            f"{what} holds constants of type {dtype.name.lower()}", "quantise to int8"
        )
    quantisation = _quantisation(table, what, shape)
    return Tensor(index, name, shape, dtype, quantisation, data)


def _quantisation(
    parent: flatbuffer.Table, what: str, shape: tuple[int, ...]
) -> Quantisation | None:
    table = parent.table(4, f"the quantisation of {what}")
    if table is None:
        return None
    scale = table.vector(2, "<f4")
    zero_point = table.vector(3, "<i8")
    if scale is None or scale.size == 0:
        return None
    if zero_point is None:
        zero_point = np.zeros(scale.size, np.int64)
    axis = table.scalar(6, "i")
    per_axis = scale.size > 1
    if (
        zero_point.size != scale.size
        or (per_axis and not 0 <= axis < len(shape))
        or (per_axis and scale.size != shape[axis])
    ):
        raise flatbuffer.damaged(f"{what} has {scale.size} scales for shape {shape}")
    if not ((scale >= SCALE_RANGE[0]).all() and (scale <= SCALE_RANGE[1]).all()):
        raise EarmarkError(
            f"{what} has a scale outside {SCALE_RANGE[0]:.0e}..{SCALE_RANGE[1]:.0e}",
            "quantise again with representative data",
        )
    return Quantisation(scale.astype(np.float32), zero_point.astype(np.int64), axis)


def _operator(
    position: int,
    table: flatbuffer.Table,
    codes: Sequence[tuple[int, str]],
    n_tensors: int,
) -> Operator:
    what = f"operator {position}"
    code_index = table.scalar(0, "I")
    if code_index >= len(codes):
        raise flatbuffer.damaged(f"{what} refers to operator code {code_index} of {len(codes)}")
    code, custom_name = codes[code_index]
    inputs = _indices(table, 1, n_tensors, f"input of {what}", optional=True)
    outputs = _indices(table, 2, n_tensors, f"output of {what}")
    options = table.table(4, f"the options of {what}")
    return Operator(position, code, custom_name, inputs, outputs, table.scalar(3, "B"), options)


def _indices(
    table: flatbuffer.Table, slot: int, n_tensors: int, what: str, *, optional: bool = False
) -> tuple[int, ...]:
    raw = table.vector(slot, "<i4")
    if raw is None:
        return ()
    if raw.size > 1024:
        raise flatbuffer.damaged(f"{raw.size} entries of {what}")
    if any(not (-1 if optional else 0) <= i < n_tensors for i in raw):
        raise flatbuffer.damaged(f"an {what} is not one of the {n_tensors} tensors")
    return tuple(map(int, raw))


def _check_order(
    tensors: tuple[Tensor, ...],
    operators: tuple[Operator, ...],
    inputs: tuple[int, ...],
    outputs: tuple[int, ...],
) -> None:
    """Every tensor is written once, before it is read; constants and inputs are never written."""
    known = {t.index for t in tensors if t.data is not None}
    for index in inputs:
        if index in known:
            raise flatbuffer.damaged(f"model input {tensors[index]} is constant or listed twice")
        known.add(index)
    for operator in operators:
        for index in operator.inputs:
            if index != -1 and index not in known:
                raise flatbuffer.damaged(f"{operator} reads {tensors[index]} before it is written")
        for index in operator.outputs:
            if index in known:
                raise flatbuffer.damaged(f"{operator} overwrites {tensors[index]}")
            known.add(index)
    for index in outputs:
        if index not in known:
            raise flatbuffer.damaged(f"model output {tensors[index]} is never written")
