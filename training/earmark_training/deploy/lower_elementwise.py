"""Functions of single values: sums, products, means, tables, softmax, quantisation.

Integers follow the Prepare functions in tensorflow/lite/micro/kernels; note where those compute in
float32 (SUB, RELU, LEAKY_RELU) and where in double (ADD, MUL, QUANTIZE).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from earmark_training.deploy import quantmath as qm
from earmark_training.deploy.ir import Layer, Table
from earmark_training.deploy.tflite import Op, Tensor, TensorType

if TYPE_CHECKING:
    from collections.abc import Callable

    from earmark_training.deploy.node import Node

SOFTMAX_INTEGER_BITS = 5
LOGISTIC_INTEGER_BITS = 4
# The accumulator of the reference softmax has 12 integer bits.
SOFTMAX_MAX = 4096
# 9 bits of input shifted further left would overflow int32, where TFLM is undefined.
UNARY_SHIFT = 22


def merged_steps(
    a: tuple[int, ...], b: tuple[int, ...]
) -> tuple[tuple[int, ...], list[tuple[int, int, int]]] | None:
    """Broadcast two shapes.

    Returns
    -------
    tuple or None
        The broadcast shape and nested loops (size, step in a, step in b) from outer to inner,
        neighbours merged; None if the shapes do not broadcast.
    """
    rank = max(len(a), len(b))
    a, b = (1,) * (rank - len(a)) + a, (1,) * (rank - len(b)) + b
    if any(p != q and 1 not in (p, q) for p, q in zip(a, b, strict=True)):
        return None
    shape = tuple(max(p, q) for p, q in zip(a, b, strict=True))
    loops: list[tuple[int, int, int]] = []
    stride_a = stride_b = 1
    for p, q, n in reversed(list(zip(a, b, shape, strict=True))):
        step_a, step_b = (stride_a if p > 1 else 0), (stride_b if q > 1 else 0)
        stride_a, stride_b = stride_a * p, stride_b * q
        if n == 1:
            continue
        if loops:
            inner_n, inner_a, inner_b = loops[-1]
            if step_a == inner_a * inner_n and step_b == inner_b * inner_n:
                loops[-1] = (inner_n * n, inner_a, inner_b)
                continue
        loops.append((n, step_a, step_b))
    return shape, list(reversed(loops)) or [(1, 1, 1)]


def _binary(node: Node, kernel: str, struct: dict[str, int], fused: int) -> Layer:
    a, b, y = node.input(0), node.input(1), node.output
    broadcast = merged_steps(a.shape, b.shape)
    if broadcast is None or broadcast[0] != y.shape:
        raise node.fail(f"{a} and {b} do not broadcast to {y}", "convert again")
    low, high = node.clamp(fused, y)
    in_place = tuple(i for i, t in enumerate((a, b)) if t.shape == y.shape)
    return Layer(
        position=node.op.position,
        op_name=node.op.name,
        kernel=kernel,
        inputs=(a.index, b.index),
        output=y.index,
        struct_type=kernel,
        struct={**struct, "act_min": low, "act_max": high},
        scalars={"loops": tuple(n for loop in broadcast[1] for n in loop)},
        in_place=in_place,
    )


def _add(node: Node, sign: int) -> Layer:
    (a_scale, a_zero), (b_scale, b_zero) = node.int8(node.input(0)), node.int8(node.input(1))
    y_scale, y_zero = node.int8(node.output)
    if sign > 0:
        twice = 2 * float(max(a_scale, b_scale))
        ratios = float(a_scale) / twice, float(b_scale) / twice
        out = twice / ((1 << 20) * float(y_scale))
    else:  # SubPrepare computes these ratios in float32
        twice32 = np.float32(2) * max(a_scale, b_scale)
        ratios = float(a_scale / twice32), float(b_scale / twice32)
        out = float(twice32 / (np.float32(1 << 20) * y_scale))
    if not 0 < out < 1:
        raise node.fail("the output scale is far too small for the inputs", "convert again")
    (a_m, a_s), (b_m, b_s), (y_m, y_s) = map(node.multiplier, (*ratios, out))
    if max(a_s, b_s, y_s) > 0:
        raise node.fail("the scales of inputs and output do not fit together", "convert again")
    struct = {
        "a_zero_point": a_zero, "b_zero_point": b_zero, "out_zero_point": y_zero, "sign": sign,
        "a_multiplier": a_m, "b_multiplier": b_m, "out_multiplier": y_m,
        "a_shift": a_s, "b_shift": b_s, "out_shift": y_s,
    }  # fmt: skip
    return _binary(node, "add", struct, node.options.scalar(0, "b"))


def _mul(node: Node) -> Layer:
    (a_scale, a_zero), (b_scale, b_zero) = node.int8(node.input(0)), node.int8(node.input(1))
    y_scale, y_zero = node.int8(node.output)
    multiplier, shift = node.multiplier(float(a_scale) * float(b_scale) / float(y_scale))
    struct = {
        "a_zero_point": a_zero, "b_zero_point": b_zero, "out_zero_point": y_zero,
        "multiplier": multiplier, "shift": shift,
    }  # fmt: skip
    return _binary(node, "mul", struct, node.options.scalar(0, "b"))


def _axes(node: Node, rank: int) -> set[int]:
    raw = node.constant(1, TensorType.INT32, "axes").ravel()
    if raw.size > 8 or any(not -rank <= a < rank for a in raw):
        raise node.fail(f"axes {raw[:8].tolist()} for {rank} dimensions", "convert again")
    return {int(a) % rank for a in raw}


def _mean(node: Node) -> Layer:
    x, y = node.input(0), node.output
    (x_scale, x_zero), (y_scale, y_zero) = node.int8(x), node.int8(y)
    axes = _axes(node, len(x.shape))
    kept_shape = tuple(n for i, n in enumerate(x.shape) if i not in axes)
    kept_ones = tuple(1 if i in axes else n for i, n in enumerate(x.shape))
    if y.shape not in (kept_shape, kept_ones):
        raise node.fail(f"{y} should have shape {kept_shape}", "convert again")
    count = math.prod(x.shape[i] for i in axes)
    multiplier, shift = node.multiplier(float(x_scale) / float(y_scale))
    # The multiplier includes the division by `count`, as in reference_ops::QuantizedMeanOrSum.
    extra = min(count.bit_length() - 1, 32, 31 + shift)
    if extra < 0 or count * 255 > qm.INT32_MAX:
        raise node.fail("scales or sizes are out of range", "convert again")
    multiplier = (multiplier << extra) // count
    loops = _merge_axes(x.shape, axes)
    if any(len(group) > 3 for group in loops):
        raise node.fail(f"mean over axes {sorted(axes)} of {x}", "transpose first")
    fields: dict[str, int | float | tuple[int, ...] | Table] = {}
    for name, group in zip(("kept", "reduced"), loops, strict=True):
        padded = [(1, 0)] * (3 - len(group)) + group
        fields[name] = tuple(n for n, _ in padded)
        fields[f"{name}_stride"] = tuple(s for _, s in padded)
    fields |= {
        "in_zero_point_times_count": x_zero * count,
        "multiplier": multiplier,
        "shift": shift - extra,
        "out_zero_point": y_zero,
    }
    return Layer(
        position=node.op.position,
        op_name=node.op.name,
        kernel="mean",
        inputs=(x.index,),
        output=y.index,
        struct_type="mean",
        struct=fields,
        note=f"over {count} values",
    )


def _merge_axes(
    shape: tuple[int, ...], axes: set[int]
) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Kept and reduced loops (size, stride), neighbours merged."""
    groups: tuple[list[tuple[int, int]], list[tuple[int, int]]] = ([], [])
    stride, previous = 1, -1
    for i in range(len(shape) - 1, -1, -1):
        kind = int(i in axes)
        n = shape[i]
        if n > 1:
            group = groups[kind]
            if kind == previous:
                group[0] = (group[0][0] * n, group[0][1])
            else:
                group.insert(0, (n, stride))
            previous = kind
        stride *= n
    return groups


def _unary(node: Node, values: list[int]) -> Layer:
    x, y = node.input(0), node.output
    if y.elements != x.elements:
        raise node.fail(f"{x} and {y} differ in size", "convert again")
    table = Table("int8_t", np.clip(np.array(values), -128, 127).astype(np.int8), "lookup")
    return Layer(
        position=node.op.position,
        op_name=node.op.name,
        kernel="lookup",
        inputs=(x.index,),
        output=y.index,
        scalars={"table": table},
        in_place=(0,),
    )


def _requantised(node: Node) -> Layer:
    x, y = node.input(0), node.output
    (x_scale, x_zero), (y_scale, y_zero) = node.int8(x), node.int8(y)
    m, s = node.multiplier(float(x_scale) / float(y_scale), largest_shift=UNARY_SHIFT)
    return _unary(
        node,
        [qm.multiply_by_quantized_multiplier(q - x_zero, m, s) + y_zero for q in range(-128, 128)],
    )


def _relu(node: Node) -> Layer:
    (x_scale, x_zero), (y_scale, y_zero) = node.int8(node.input(0)), node.int8(node.output)
    m, s = node.multiplier(float(x_scale / y_scale), largest_shift=UNARY_SHIFT)
    return _unary(
        node,
        [
            max(qm.multiply_by_quantized_multiplier(q - x_zero, m, s) + y_zero, y_zero)
            for q in range(-128, 128)
        ],
    )


def _relu6(node: Node) -> Layer:
    x_scale, x_zero = node.int8(node.input(0))
    node.int8(node.output)
    # TFLM's RELU6 clamps and never rescales.
    six = min(127, qm.round_half_away(float(np.float32(6) / x_scale)) + x_zero)
    return _unary(node, [min(max(q, x_zero), six) for q in range(-128, 128)])


def _leaky_relu(node: Node) -> Layer:
    (x_scale, x_zero), (y_scale, y_zero) = node.int8(node.input(0)), node.int8(node.output)
    alpha = np.float32(node.options.float32(0))
    if not np.isfinite(alpha):
        raise node.fail(f"slope {alpha}", "train with a finite slope")
    slope = abs(float(x_scale * alpha / y_scale))
    am, a_s = node.multiplier(slope, largest_shift=UNARY_SHIFT)
    im, i_s = node.multiplier(float(x_scale / y_scale), largest_shift=UNARY_SHIFT)
    sign = -1 if alpha < 0 else 1
    values = []
    for q in range(-128, 128):
        v = q - x_zero
        if v >= 0:
            values.append(y_zero + qm.multiply_by_quantized_multiplier(v, im, i_s))
        else:
            values.append(y_zero + sign * qm.multiply_by_quantized_multiplier(v, am, a_s))
    return _unary(node, values)


def _logistic(node: Node) -> Layer:
    (scale, zero), (_, y_zero) = node.int8(node.input(0)), node.int8(node.output)
    if y_zero != -128:
        raise node.fail("the output's zero point is not -128", "convert again")
    fraction, shift = math.frexp(float(scale) * (1 << (31 - LOGISTIC_INTEGER_BITS)))
    multiplier = qm.round_half_away(fraction * (1 << 31))
    if not 0 <= shift <= 62 or multiplier > qm.INT32_MAX:
        raise node.fail(f"input scale {scale}", "quantise with representative data")
    radius = qm.input_radius(LOGISTIC_INTEGER_BITS, shift)
    values = []
    for q in range(-128, 128):
        v = q - zero
        if abs(v) >= radius:
            values.append(127 if v > 0 else -128)
            continue
        scaled = qm.multiply_by_quantized_multiplier(v, multiplier, shift)
        values.append(qm.rounding_shift(qm.logistic(scaled, LOGISTIC_INTEGER_BITS), 23) - 128)
    return _unary(node, values)


def _softmax(node: Node) -> Layer:
    x, y = node.input(0), node.output
    (scale, _), (y_scale, y_zero) = node.int8(x), node.int8(y)
    if y_zero != -128 or float(y_scale) != 1 / 256:
        raise node.fail("the output is not quantised as scale 1/256, zero point -128", "convert")
    if not x.shape or x.shape != y.shape or x.shape[-1] > SOFTMAX_MAX:
        raise node.fail(f"{x} must have 1..{SOFTMAX_MAX} classes", "reshape it")
    beta = node.options.float32(0)
    real = min(beta * float(scale) * (1 << (31 - SOFTMAX_INTEGER_BITS)), float((1 << 31) - 1))
    if not real > 1.0:
        raise node.fail(f"beta {beta} with input scale {scale}", "quantise again")
    multiplier, shift = qm.quantize_multiplier(real)
    smallest = -qm.input_radius(SOFTMAX_INTEGER_BITS, shift)
    table = [
        0
        if -d < smallest
        else qm.exp_on_negative_values(
            qm.high_mul(qm.wrap32(-d << shift), multiplier), SOFTMAX_INTEGER_BITS
        )
        for d in range(256)
    ]
    return Layer(
        position=node.op.position,
        op_name=node.op.name,
        kernel="softmax",
        inputs=(x.index,),
        output=y.index,
        scalars={
            "table": Table("int32_t", np.array(table), "exponentials"),
            "rows": x.elements // x.shape[-1],
            "n": x.shape[-1],
        },
        in_place=(0,),
    )


def _float_border(node: Node, kernel: str, quantised: Tensor) -> Layer:
    x, y = node.input(0), node.output
    scale, zero = node.int8(quantised)
    if x.elements != y.elements:
        raise node.fail(f"{x} and {y} differ in size", "convert again")
    return Layer(
        position=node.op.position,
        op_name=node.op.name,
        kernel=kernel,
        inputs=(x.index,),
        output=y.index,
        scalars={"scale": float(scale), "zero_point": zero},
        in_place=(0,) if kernel == "quantize" else (),
    )


def _quantize(node: Node) -> Layer:
    if node.input(0).dtype is TensorType.FLOAT32:
        return _float_border(node, "quantize", node.output)
    return _requantised(node)


def _dequantize(node: Node) -> Layer:
    if node.output.dtype is not TensorType.FLOAT32:
        raise node.fail(f"{node.output} is not float32", "convert again")
    return _float_border(node, "dequantize", node.input(0))


LOWER: dict[Op, Callable[[Node], Layer]] = {
    Op.ADD: lambda node: _add(node, 1),
    Op.SUB: lambda node: _add(node, -1),
    Op.MUL: _mul,
    Op.MEAN: _mean,
    Op.RELU: _relu,
    Op.RELU6: _relu6,
    Op.LEAKY_RELU: _leaky_relu,
    Op.LOGISTIC: _logistic,
    Op.SOFTMAX: _softmax,
    Op.QUANTIZE: _quantize,
    Op.DEQUANTIZE: _dequantize,
}
