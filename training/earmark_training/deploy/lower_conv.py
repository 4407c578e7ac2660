"""Convolutions, fully connected layers and pooling.

Checks and integers follow tensorflow/lite/micro/kernels/{conv,depthwise_conv,fully_connected,
pooling}_common.cc; geometry follows tensorflow/lite/kernels/padding.h.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from earmark_training.deploy.ir import Layer, Rows, Table
from earmark_training.deploy.node import MAX_DIM, Node
from earmark_training.deploy.quantmath import INT32_MAX
from earmark_training.deploy.tflite import Op, Tensor, TensorType

if TYPE_CHECKING:
    from collections.abc import Callable

SAME, VALID = 0, 1


def padding(
    node: Node, kind: int, size: int, *, kernel: int, stride: int, dilation: int = 1
) -> tuple[int, int]:
    """Output size and leading padding along one axis (TensorFlow's SAME and VALID)."""
    if not (0 < kernel <= MAX_DIM and 0 < stride <= MAX_DIM and 0 < dilation <= MAX_DIM):
        raise node.fail(f"kernel {kernel}, stride {stride}, dilation {dilation}", "convert again")
    effective = (kernel - 1) * dilation + 1
    if kind == SAME:
        out = -(-size // stride)
    elif kind == VALID:
        out = (size + stride - effective) // stride
    else:
        raise node.fail(f"padding number {kind}", "use SAME or VALID")
    if out < 1:
        raise node.fail(f"a kernel of {effective} does not fit into {size}", "enlarge the input")
    total = max((out - 1) * stride + effective - size, 0)
    return out, total // 2


def channel_table(
    node: Node,
    weights: np.ndarray,
    input_tensor: Tensor,
    filter_tensor: Tensor,
    bias: Tensor | None,
    *,
    multipliers: list[tuple[int, int]],
) -> Table:
    """Bias, multiplier and shift per output channel; refuses what could overflow int32.

    Parameters
    ----------
    weights : ndarray [shape=(out_channels, taps), dtype=int8]
        As the accumulator of each channel sees them.
    """
    n = weights.shape[0]
    biases = np.zeros(n, np.int64)
    if bias is not None:
        if bias.data is None or bias.dtype is not TensorType.INT32 or bias.elements != n:
            raise node.fail(f"bias {bias} must be {n} constant int32 values", "convert again")
        biases = bias.data.reshape(n).astype(np.int64)
    if filter_tensor.quantisation is None or filter_tensor.quantisation.zero_point.any():
        raise node.fail(f"weights {filter_tensor} have no scale or a zero point", "convert again")
    _, zero_point = node.int8(input_tensor)
    largest_input = max(127 - zero_point, zero_point + 128)
    magnitude = np.abs(weights.astype(np.int16)).sum(axis=1, dtype=np.int64)
    bound = magnitude * largest_input + np.abs(biases)
    if bound.max() > INT32_MAX:
        raise node.fail("the sum of one channel can overflow 32 bits", "check the bias scale")
    values = np.zeros((n + 1, 3), np.int64)
    values[:n, 0] = biases
    values[:n, 1:] = multipliers
    return Table("em_channel_t", values, "channels")


def _per_channel(node: Node, filter_tensor: Tensor, axis: int, n: int) -> list[tuple[int, int]]:
    """Multipliers of convolutions, broadcast when the weights have one scale."""
    q = filter_tensor.quantisation
    if q is None:
        raise node.fail(f"weights {filter_tensor} have no scale", "convert again")
    if q.scale.size not in (1, n) or (q.scale.size > 1 and q.axis != axis):
        raise node.fail(f"weights {filter_tensor} have {q.scale.size} scales", "convert again")
    in_scale, _ = node.int8(node.input(0))
    out_scale, _ = node.int8(node.output)
    scales = np.broadcast_to(q.scale, (n,))
    return [node.multiplier(float(in_scale) * float(scale) / float(out_scale)) for scale in scales]


def pack_rows(weights: np.ndarray) -> np.ndarray:
    """Pad each row to a multiple of four and add four zeros that a kernel may read ahead."""
    n, taps = weights.shape
    packed = np.zeros((n, -(-taps // 4) * 4), np.int8)
    packed[:, :taps] = weights
    return np.concatenate([packed.ravel(), np.zeros(4, np.int8)])


def _convolution(node: Node, *, depthwise: bool) -> Layer:
    x, filter_tensor, y = node.input(0), node.input(1), node.output
    weights = node.constant(1, TensorType.INT8, "weights")
    _, in_zero = node.int8(x)
    _, out_zero = node.int8(y)
    batch, in_h, in_w, in_c = node.map4(x)
    node.map4(filter_tensor)
    options = node.options
    base = 4 if depthwise else 3  # the depthwise options hold one more field before these
    fused, dilation_w, dilation_h = (
        options.scalar(base, "b"),
        options.scalar(base + 1, "i", 1),
        options.scalar(base + 2, "i", 1),
    )
    stride_w, stride_h = options.scalar(1, "i"), options.scalar(2, "i")
    kernel_h, kernel_w = weights.shape[1:3]
    if depthwise:
        out_c, groups = weights.shape[3], in_c
        if weights.shape[0] != 1 or out_c != in_c * options.scalar(3, "i"):
            raise node.fail(f"weights {filter_tensor} do not fit {x}", "convert again")
        matrix = weights.reshape(-1, out_c).T
    else:
        out_c, depth = weights.shape[0], weights.shape[3]
        groups = in_c // depth
        if in_c % depth or out_c % groups:
            raise node.fail(f"weights {filter_tensor} do not fit {x}", "convert again")
        matrix = weights.reshape(out_c, -1)
    kind = options.scalar(0, "b")
    out_h, pad_top = padding(
        node, kind, in_h, kernel=kernel_h, stride=stride_h, dilation=dilation_h
    )
    out_w, pad_left = padding(
        node, kind, in_w, kernel=kernel_w, stride=stride_w, dilation=dilation_w
    )
    node.expect_shape(y, (batch, out_h, out_w, out_c))
    low, high = node.clamp(fused, y)
    multipliers = _per_channel(node, filter_tensor, 3 if depthwise else 0, out_c)
    channels = channel_table(
        node, matrix, x, filter_tensor, node.optional_input(2), multipliers=multipliers
    )
    packed = weights.ravel() if depthwise else pack_rows(matrix)
    taps = matrix.shape[1]
    struct: dict[str, int | float | tuple[int, ...] | Table] = {
        "in_h": in_h, "in_w": in_w, "in_c": in_c, "out_h": out_h, "out_w": out_w, "out_c": out_c,
        "kernel_h": kernel_h, "kernel_w": kernel_w, "stride_h": stride_h, "stride_w": stride_w,
        "dilation_h": dilation_h, "dilation_w": dilation_w, "pad_top": pad_top,
        "pad_left": pad_left, "groups": groups, "in_zero_point": in_zero,
        "out_zero_point": out_zero, "act_min": low, "act_max": high,
        "weights": Table("em_weight_t", packed, "weights"), "channels": channels,
    }  # fmt: skip
    return Layer(
        position=node.op.position,
        op_name=node.op.name,
        kernel="depthwise_conv2d" if depthwise else "conv2d",
        inputs=(x.index,),
        output=y.index,
        struct_type="conv2d",
        struct=struct,
        rows=Rows(in_h, out_h, stride_h, (kernel_h - 1) * dilation_h + 1, pad_top),
        batch=batch,
        macs=batch * out_h * out_w * out_c * taps,
        note=f"kernel {kernel_h}x{kernel_w}, stride {stride_h}x{stride_w}",
    )


def _fully_connected(node: Node) -> Layer:
    x, filter_tensor, y = node.input(0), node.input(1), node.output
    weights = node.constant(1, TensorType.INT8, "weights")
    in_scale, in_zero = node.int8(x)
    out_scale, out_zero = node.int8(y)
    if weights.ndim != 2 or node.options.scalar(1, "b") != 0:
        raise node.fail(f"weights {filter_tensor} must be a plain matrix", "convert again")
    out_n, in_n = weights.shape
    rows = x.elements // in_n
    if x.elements % in_n or y.elements != rows * out_n or not y.shape or y.shape[-1] != out_n:
        raise node.fail(f"weights {filter_tensor} do not fit {x} and {y}", "convert again")
    q = filter_tensor.quantisation
    if q is None or (q.scale.size > 1 and q.axis != 0):
        raise node.fail(f"weights {filter_tensor} have no usable scale", "convert again")
    bias = node.optional_input(2)
    if q.scale.size > 1:
        multipliers = _per_channel(node, filter_tensor, 0, out_n)
    else:
        # The reference multiplies these two scales in float32.
        product = float(np.float32(in_scale * q.scale[0]))
        if bias is not None and bias.quantisation is not None:
            off = abs(product - float(bias.quantisation.scale[0])) / float(out_scale)
            if off > 0.02:
                raise node.fail(f"the scale of bias {bias} does not fit", "convert again")
        multipliers = [node.multiplier(product / float(out_scale))] * out_n
    low, high = node.clamp(node.options.scalar(0, "b"), y)
    channels = channel_table(node, weights, x, filter_tensor, bias, multipliers=multipliers)
    return Layer(
        position=node.op.position,
        op_name=node.op.name,
        kernel="fully_connected",
        inputs=(x.index,),
        output=y.index,
        struct_type="fully_connected",
        struct={
            "rows": rows, "in_n": in_n, "out_n": out_n, "in_zero_point": in_zero,
            "out_zero_point": out_zero, "act_min": low, "act_max": high,
            "weights": Table("em_weight_t", pack_rows(weights), "weights"), "channels": channels,
        },
        macs=rows * in_n * out_n,
    )  # fmt: skip


def _pool(node: Node, kernel: str) -> Layer:
    x, y = node.input(0), node.output
    in_scale, in_zero = node.int8(x)
    out_scale, out_zero = node.int8(y)
    if abs(float(in_scale) - float(out_scale)) > 1e-6 or in_zero != out_zero:
        raise node.fail("input and output have different quantisation", "convert again")
    batch, in_h, in_w, channels = node.map4(x)
    o = node.options
    kind, stride_w, stride_h = o.scalar(0, "b"), o.scalar(1, "i"), o.scalar(2, "i")
    kernel_w, kernel_h = o.scalar(3, "i"), o.scalar(4, "i")
    out_h, pad_top = padding(node, kind, in_h, kernel=kernel_h, stride=stride_h)
    out_w, pad_left = padding(node, kind, in_w, kernel=kernel_w, stride=stride_w)
    node.expect_shape(y, (batch, out_h, out_w, channels))
    low, high = node.clamp(o.scalar(5, "b"), y)
    return Layer(
        position=node.op.position,
        op_name=node.op.name,
        kernel=kernel,
        inputs=(x.index,),
        output=y.index,
        struct_type="pool2d",
        struct={
            "in_h": in_h, "in_w": in_w, "channels": channels, "out_h": out_h, "out_w": out_w,
            "kernel_h": kernel_h, "kernel_w": kernel_w, "stride_h": stride_h,
            "stride_w": stride_w, "pad_top": pad_top, "pad_left": pad_left, "act_min": low,
            "act_max": high,
        },
        rows=Rows(in_h, out_h, stride_h, kernel_h, pad_top),
        batch=batch,
        note=f"window {kernel_h}x{kernel_w}, stride {stride_h}x{stride_w}",
    )  # fmt: skip


LOWER: dict[Op, Callable[[Node], Layer]] = {
    Op.CONV_2D: lambda node: _convolution(node, depthwise=False),
    Op.DEPTHWISE_CONV_2D: lambda node: _convolution(node, depthwise=True),
    Op.FULLY_CONNECTED: _fully_connected,
    Op.AVERAGE_POOL_2D: lambda node: _pool(node, "average_pool2d"),
    Op.MAX_POOL_2D: lambda node: _pool(node, "max_pool2d"),
}
