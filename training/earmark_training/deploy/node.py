"""An operator with its tensors, and the checks that every lowering shares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from earmark_dsp.errors import EarmarkError

from earmark_training.deploy.quantmath import activation_range, quantize_multiplier
from earmark_training.deploy.tflite import Model, Op, Operator, Tensor, TensorType

if TYPE_CHECKING:
    import numpy as np

    from earmark_training.deploy.flatbuffer import Table as FlatTable

ACTIVATIONS = {0: "NONE", 1: "RELU", 2: "RELU_N1_TO_1", 3: "RELU6", 4: "TANH", 5: "SIGN_BIT"}
MAX_DIM = 65535
# 6 / scale must fit into int32, as TFLM demands.
SMALLEST_CLAMPED_SCALE = 6 * 2.0**-31

# BuiltinOptions union tag that each operator's options must carry (schema.fbs).
_OPTIONS = {
    Op.CONV_2D: 1, Op.DEPTHWISE_CONV_2D: 2, Op.AVERAGE_POOL_2D: 5, Op.MAX_POOL_2D: 5,
    Op.FULLY_CONNECTED: 8, Op.SOFTMAX: 9, Op.CONCATENATION: 10, Op.ADD: 11, Op.MUL: 21,
    Op.SUB: 28, Op.STRIDED_SLICE: 32, Op.LEAKY_RELU: 75, Op.MEAN: 27,
}  # fmt: skip


@dataclass(frozen=True)
class Node:
    """An operator with its tensors at hand and the checks that all lowerings share."""

    model: Model
    op: Operator

    def fail(self, what: str, hint: str) -> EarmarkError:
        """Error that names this operator."""
        return EarmarkError(f"{self.op}: {what}", hint)

    def input(self, i: int) -> Tensor:
        """Mandatory input `i`."""
        if i >= len(self.op.inputs) or self.op.inputs[i] < 0:
            raise self.fail(f"input {i} is missing", "convert the model again")
        return self.model.tensors[self.op.inputs[i]]

    def optional_input(self, i: int) -> Tensor | None:
        """Input `i`, or None."""
        if i >= len(self.op.inputs) or self.op.inputs[i] < 0:
            return None
        return self.model.tensors[self.op.inputs[i]]

    @property
    def output(self) -> Tensor:
        """The only output."""
        if len(self.op.outputs) != 1:
            raise self.fail(f"{len(self.op.outputs)} outputs", "convert the model again")
        return self.model.tensors[self.op.outputs[0]]

    @property
    def options(self) -> FlatTable:
        """The operator's options; an error if they are of the wrong kind."""
        expected = _OPTIONS[Op(self.op.code)]
        if self.op.options is None or self.op.options_type != expected:
            raise self.fail("its options are missing or of another kind", "convert again")
        return self.op.options

    def int8(self, tensor: Tensor) -> tuple[np.float32, int]:
        """Scale and zero point of an activation, which must be per-tensor int8."""
        q = tensor.quantisation
        if tensor.dtype is not TensorType.INT8 or q is None:
            raise self.fail(
                f"{tensor} is not quantised to int8",
                "convert with full integer quantisation (TFLITE_BUILTINS_INT8 and a "
                "representative data set)",
            )
        if q.scale.size != 1 or not -128 <= int(q.zero_point[0]) <= 127:
            raise self.fail(
                f"{tensor} must have one scale and a zero point in -128..127", "convert again"
            )
        return q.scale[0], int(q.zero_point[0])

    def constant(self, i: int, dtype: TensorType, what: str) -> np.ndarray:
        """Constant input `i` of the given type."""
        tensor = self.input(i)
        if tensor.data is None or tensor.dtype is not dtype:
            raise self.fail(
                f"{what} ({tensor}) must be a constant of type {dtype.name.lower()}",
                "export the model with fixed shapes",
            )
        return tensor.data

    def clamp(self, fused: int, output: Tensor) -> tuple[int, int]:
        """Limits of a fused activation in output units."""
        name = ACTIVATIONS.get(fused, "?")
        if name not in ("NONE", "RELU", "RELU6", "RELU_N1_TO_1"):
            raise self.fail(
                f"fused activation {name} (number {fused})", "use RELU, RELU6 or a separate layer"
            )
        scale, zero_point = self.int8(output)
        if fused and float(scale) < SMALLEST_CLAMPED_SCALE:
            raise self.fail(f"the scale {scale} of {output}", "quantise with representative data")
        return activation_range(name, scale, zero_point)

    def multiplier(self, real: float, *, largest_shift: int = 30) -> tuple[int, int]:
        """Fixed-point form of a ratio of scales; refuses what int32 arithmetic cannot carry."""
        if not 0 <= real < 2.0**largest_shift:
            raise self.fail(
                f"the scales of inputs and output differ by a factor of {real:.3g}",
                "quantise with representative data",
            )
        return quantize_multiplier(real)

    def map4(self, tensor: Tensor) -> tuple[int, int, int, int]:
        """Shape of a rank-4 tensor with dimensions that fit the kernels' uint16."""
        if len(tensor.shape) != 4 or max(tensor.shape) > MAX_DIM:
            raise self.fail(
                f"{tensor} must have four dimensions, none above {MAX_DIM}", "reshape it"
            )
        n, h, w, c = tensor.shape
        return n, h, w, c

    def expect_shape(self, tensor: Tensor, shape: tuple[int, ...]) -> None:
        """Refuse a tensor whose stored shape contradicts the operator."""
        if tensor.shape != shape:
            raise self.fail(f"{tensor} should have shape {shape}", "convert the model again")

    def activations_are(self, *tensors: Tensor) -> None:
        """All must be per-tensor int8."""
        for tensor in tensors:
            self.int8(tensor)
