"""Operators that move values without computing: reshape, pad, slice, transpose, concatenate."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from earmark_training.deploy.ir import Layer
from earmark_training.deploy.tflite import DTYPES, Op, Tensor, TensorType

if TYPE_CHECKING:
    from collections.abc import Callable

    from earmark_training.deploy.ir import FieldValue
    from earmark_training.deploy.node import Node

COPY_DIMS = 6
# The limit in concatenation.cc.
MAX_CONCATENATED = 10


def _movable(node: Node, *tensors: Tensor) -> int:
    """Bytes per element; only the types that activations can have."""
    for tensor in tensors:
        if tensor.dtype not in (TensorType.INT8, TensorType.FLOAT32):
            raise node.fail(f"{tensor} is neither int8 nor float32", "quantise to int8")
        if tensor.dtype is not tensors[0].dtype:
            raise node.fail(f"{tensor} and {tensors[0]} differ in type", "convert again")
    return DTYPES[tensors[0].dtype].itemsize


def strides(shape: tuple[int, ...], item: int) -> list[int]:
    """Row-major strides in bytes."""
    result = [item] * len(shape)
    for i in range(len(shape) - 2, -1, -1):
        result[i] = result[i + 1] * shape[i + 1]
    return result


def copy_fields(
    dims: tuple[int, ...],
    src: list[int],
    dst: list[int],
    offsets: tuple[int, int],
    item: int,
) -> dict[str, FieldValue]:
    """Parameters of em_copy with contiguous inner dimensions merged into one block."""
    loops = [(n, s, d) for n, s, d in zip(dims, src, dst, strict=True) if n > 1]
    block = item
    while loops and loops[-1][1] == loops[-1][2] == block:
        block *= loops.pop()[0]
    padded = [(1, 0, 0)] * (COPY_DIMS - len(loops)) + loops
    return {
        "dims": tuple(n for n, _, _ in padded),
        "src_stride": tuple(s for _, s, _ in padded),
        "dst_stride": tuple(d for _, _, d in padded),
        "src_offset": offsets[0],
        "dst_offset": offsets[1],
        "block_bytes": block,
    }


def _copy(node: Node, inputs: tuple[int, ...], copies: dict[str, FieldValue], note: str) -> Layer:
    return Layer(
        position=node.op.position,
        op_name=node.op.name,
        kernel="copy",
        inputs=inputs,
        output=node.output.index,
        struct_type="copy",
        struct=copies,
        note=note,
    )


def _reshape(node: Node) -> Layer:
    x, y = node.input(0), node.output
    _movable(node, x, y)
    if x.elements != y.elements:
        raise node.fail(
            f"{x} and {y} differ in size",
            "fix the batch size before converting (keras.Input(shape, batch_size=1))",
        )
    return Layer(node.op.position, node.op.name, "alias", (x.index,), y.index)


def _transpose(node: Node) -> Layer:
    x, y = node.input(0), node.output
    item = _movable(node, x, y)
    order = [int(i) for i in node.constant(1, TensorType.INT32, "permutation").ravel()[:8]]
    if sorted(order) != list(range(len(x.shape))):
        raise node.fail(f"permutation {order} of {len(x.shape)} dimensions", "convert again")
    node.expect_shape(y, tuple(x.shape[i] for i in order))
    source = strides(x.shape, item)
    fields = copy_fields(y.shape, [source[i] for i in order], strides(y.shape, item), (0, 0), item)
    return _copy(node, (x.index,), fields, f"order {order}")


def _strided_slice(node: Node) -> Layer:
    x, y = node.input(0), node.output
    item = _movable(node, x, y)
    rank = len(x.shape)
    begin, end, step = (
        [int(v) for v in node.constant(i, TensorType.INT32, what).ravel()[:8]]
        for i, what in ((1, "begin"), (2, "end"), (3, "strides"))
    )
    o = node.options
    begin_mask, end_mask, shrink_mask = (o.scalar(i, "i") for i in (0, 1, 4))
    if not 1 <= rank <= 4 or not len(begin) == len(end) == len(step) == rank:
        raise node.fail(f"slice of {rank} dimensions", "slice all of 1 to 4 dimensions")
    if o.scalar(2, "i") or o.scalar(3, "i") or o.scalar(5, "?") or 0 in step:
        raise node.fail("ellipsis, new axis, offset or a step of 0", "write the slice in full")
    starts, counts = [], []
    for axis in range(rank):
        bit = 1 << axis
        start, count = _slice_axis(
            x.shape[axis], begin[axis], end[axis], step[axis],
            open_begin=bool(begin_mask & bit), open_end=bool(end_mask & bit),
            shrink=bool(shrink_mask & bit),
        )  # fmt: skip
        if count < 1 or not 0 <= start < x.shape[axis]:
            raise node.fail(f"the slice along axis {axis} is empty", "correct the slice")
        starts.append(start)
        counts.append(count)
    node.expect_shape(y, tuple(n for i, n in enumerate(counts) if not shrink_mask & (1 << i)))
    source = strides(x.shape, item)
    offset = sum(start * s for start, s in zip(starts, source, strict=True))
    steps = [s * k for s, k in zip(source, step, strict=True)]
    fields = copy_fields(tuple(counts), steps, strides(tuple(counts), item), (offset, 0), item)
    return _copy(node, (x.index,), fields, f"from {starts}, steps {step}")


def _slice_axis(
    size: int, begin: int, end: int, step: int, *, open_begin: bool, open_end: bool, shrink: bool
) -> tuple[int, int]:
    """First index and number of elements (strided_slice_logic.h)."""
    low, high = (0, size) if step > 0 else (-1, size - 1)
    start = begin + size if begin < 0 else begin
    start = min(max(start, low), high)
    if open_begin:
        start = 0 if step > 0 else size - 1
    if shrink:
        return start, 1
    stop = end + size if end < 0 else end
    stop = min(max(stop, low), high)
    if open_end:
        stop = size if step > 0 else -1
    return start, max(0, -(-(stop - start) // step))


def _pad(node: Node) -> Layer:
    x, y = node.input(0), node.output
    item = _movable(node, x, y)
    rank = len(x.shape)
    amounts = node.constant(1, TensorType.INT32, "paddings")
    if amounts.shape != (rank, 2) or (amounts < 0).any() or not 1 <= rank <= 5:
        raise node.fail("paddings must be pairs of numbers not below 0", "convert again")
    node.expect_shape(
        y, tuple(n + int(lo) + int(hi) for n, (lo, hi) in zip(x.shape, amounts, strict=True))
    )
    fill = 0
    if x.dtype is TensorType.INT8:
        _, fill = node.int8(y)
    if node.optional_input(2) is not None:
        fill = _fill_value(node, y)
    target = strides(y.shape, item)
    offset = sum(int(lo) * s for (lo, _), s in zip(amounts, target, strict=True))
    fields = copy_fields(x.shape, strides(x.shape, item), target, (0, offset), item)
    layer = _copy(node, (x.index,), fields, f"by {amounts.tolist()}")
    layer.kernel = "pad"
    layer.scalars = {"fill": fill, "paddings": tuple(int(v) for v in amounts.ravel())}
    return layer


def _fill_value(node: Node, y: Tensor) -> int:
    constant = node.constant(2, y.dtype, "the padding value")
    if constant.size != 1:
        raise node.fail("the padding value is not a single number", "convert again")
    if y.dtype is TensorType.FLOAT32:
        if constant.ravel()[0] != 0.0:
            raise node.fail("float padding with a value other than 0", "pad after QUANTIZE")
        return 0
    if node.int8(node.input(2)) != node.int8(y):
        raise node.fail("the padding value is quantised differently", "convert again")
    return int(constant.ravel()[0])


def _concatenation(node: Node) -> Layer:
    tensors = [node.input(i) for i in range(len(node.op.inputs))]
    y = node.output
    if not 1 <= len(tensors) <= MAX_CONCATENATED:
        raise node.fail(f"{len(tensors)} inputs", f"join at most {MAX_CONCATENATED} at a time")
    item = _movable(node, y, *tensors)
    rank = len(y.shape)
    axis = node.options.scalar(0, "i")
    if not -rank <= axis < rank or node.options.scalar(1, "b") != 0:
        raise node.fail(f"axis {axis} or a fused activation", "convert again")
    axis %= rank
    for t in tensors:
        same = len(t.shape) == rank and all(
            a == b for i, (a, b) in enumerate(zip(t.shape, y.shape, strict=True)) if i != axis
        )
        if not same or (y.dtype is TensorType.INT8 and node.int8(t) != node.int8(y)):
            raise node.fail(f"{t} does not fit {y}", "use one quantisation for all inputs")
    if sum(t.shape[axis] for t in tensors) != y.shape[axis]:
        raise node.fail(f"the inputs do not add up to {y}", "convert again")
    blocks = tuple(math.prod(t.shape[axis:]) * item for t in tensors)
    return Layer(
        position=node.op.position,
        op_name=node.op.name,
        kernel="concatenation",
        inputs=tuple(t.index for t in tensors),
        output=y.index,
        scalars={"blocks": blocks, "outer": math.prod(y.shape[:axis])},
        note=f"axis {axis}",
    )


def _split(node: Node) -> list[Layer]:
    x = node.input(1)
    axis_values = node.constant(0, TensorType.INT32, "axis").ravel()
    outputs = [node.model.tensors[i] for i in node.op.outputs]
    rank = len(x.shape)
    if axis_values.size != 1 or not -rank <= axis_values[0] < rank or not outputs:
        raise node.fail("the axis must be one constant number", "convert again")
    axis = int(axis_values[0]) % rank
    part = x.shape[axis] // len(outputs)
    shape = (*x.shape[:axis], part, *x.shape[axis + 1 :])
    item = _movable(node, x, *outputs)
    for y in outputs:
        node.expect_shape(y, shape)
    if part * len(outputs) != x.shape[axis]:
        raise node.fail(f"{x} does not split into {len(outputs)} equal parts", "convert again")
    if len(outputs) == 1:
        return [Layer(node.op.position, node.op.name, "alias", (x.index,), outputs[0].index)]
    source = strides(x.shape, item)
    return [
        Layer(
            position=node.op.position,
            op_name=node.op.name,
            kernel="copy",
            inputs=(x.index,),
            output=y.index,
            struct_type="copy",
            struct=copy_fields(
                shape, source, strides(shape, item), (i * part * source[axis], 0), item
            ),
            note=f"part {i + 1} of {len(outputs)} along axis {axis}",
        )
        for i, y in enumerate(outputs)
    ]


LOWER: dict[Op, Callable[[Node], Layer]] = {
    Op.RESHAPE: _reshape,
    Op.SQUEEZE: _reshape,
    Op.EXPAND_DIMS: _reshape,
    Op.TRANSPOSE: _transpose,
    Op.STRIDED_SLICE: _strided_slice,
    Op.PAD: _pad,
    Op.PADV2: _pad,
    Op.CONCATENATION: _concatenation,
}

LOWER_MANY: dict[Op, Callable[[Node], list[Layer]]] = {Op.SPLIT: _split}
