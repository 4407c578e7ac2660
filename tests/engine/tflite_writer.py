"""Writes `.tflite` files operator by operator, without TensorFlow.

Uses the schema classes that ship with the tflite-micro wheel: independent of the compiler's own
reader, fast, and free to choose quantisation corners that the converter never emits.
"""

from __future__ import annotations

import flatbuffers
import numpy as np
from tflite_micro.tensorflow.lite.micro.python import schema_py_generated as schema

INT8, INT32, FLOAT32 = schema.TensorType.INT8, schema.TensorType.INT32, schema.TensorType.FLOAT32
_TYPES = {np.dtype(np.int8): INT8, np.dtype(np.int32): INT32, np.dtype(np.float32): FLOAT32}
OPS = schema.BuiltinOperator


class Network:
    """A model under construction; tensors and operators are referred to by index."""

    def __init__(self) -> None:
        self.tensors: list[schema.TensorT] = []
        self.buffers: list[bytes] = [b""]
        self.codes: list[int] = []
        self.operators: list[schema.OperatorT] = []
        self.inputs: list[int] = []
        self.outputs: list[int] = []

    def tensor(
        self,
        shape: tuple[int, ...],
        scale: float | list[float] | None = None,
        zero_point: int = 0,
        *,
        data: np.ndarray | None = None,
        dtype: int = INT8,
        axis: int = 0,
    ) -> int:
        """Add a tensor; `scale` None means not quantised."""
        t = schema.TensorT()
        t.shape = list(shape)
        t.type = dtype if data is None else _TYPES[data.dtype]
        t.name = f"t{len(self.tensors)}".encode()
        t.buffer = 0
        if data is not None:
            t.buffer = len(self.buffers)
            self.buffers.append(data.tobytes())
        if scale is not None:
            q = schema.QuantizationParametersT()
            q.scale = [float(np.float32(s)) for s in np.atleast_1d(scale)]
            q.zeroPoint = [int(zero_point)] * len(q.scale)
            q.quantizedDimension = axis
            t.quantization = q
        self.tensors.append(t)
        return len(self.tensors) - 1

    def constant(self, data: np.ndarray) -> int:
        """Add an unquantised constant (axes, paddings, shapes)."""
        return self.tensor(data.shape, data=data)

    def shape(self, index: int) -> tuple[int, ...]:
        return tuple(self.tensors[index].shape)

    def scale(self, index: int) -> float:
        return self.tensors[index].quantization.scale[0]

    def zero_point(self, index: int) -> int:
        return self.tensors[index].quantization.zeroPoint[0]

    def op(
        self, code: int, inputs: list[int], outputs: list[int], options: object | None = None
    ) -> None:
        """Add an operator; `options` is an object of the schema's `...OptionsT`."""
        if code not in self.codes:
            self.codes.append(code)
        o = schema.OperatorT()
        o.opcodeIndex = self.codes.index(code)
        o.inputs, o.outputs = inputs, outputs
        if options is not None:
            name = type(options).__name__[:-1]
            o.builtinOptionsType = getattr(schema.BuiltinOptions, name)
            o.builtinOptions = options
        self.operators.append(o)

    def build(self) -> bytes:
        """Serialise."""
        model = schema.ModelT()
        model.version = 3
        model.description = b"earmark test network"
        model.operatorCodes = []
        for code in self.codes:
            c = schema.OperatorCodeT()
            c.builtinCode, c.deprecatedBuiltinCode, c.version = code, min(code, 127), 1
            model.operatorCodes.append(c)
        graph = schema.SubGraphT()
        graph.tensors, graph.operators = self.tensors, self.operators
        graph.inputs, graph.outputs = self.inputs, self.outputs
        model.subgraphs = [graph]
        model.buffers = []
        for data in self.buffers:
            b = schema.BufferT()
            b.data = np.frombuffer(data, np.uint8) if data else None
            model.buffers.append(b)
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())
