"""Hypothesis strategy for random int8 networks over the compiler's whole operator list."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from tflite_micro.tensorflow.lite.micro.python import schema_py_generated as schema
from tflite_writer import FLOAT32, OPS, Network

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_ELEMENTS = 6000
ACTIVATIONS = (
    schema.ActivationFunctionType.NONE,
    schema.ActivationFunctionType.RELU,
    schema.ActivationFunctionType.RELU6,
    schema.ActivationFunctionType.RELU_N1_TO_1,
)


class _Builder:
    """Draws one network; `live` are tensors that later operators may read."""

    def __init__(self, draw: Callable) -> None:
        self.draw = draw
        self.net = Network()
        self.rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        self.live: list[int] = []

    def integer(self, low: int, high: int) -> int:
        return self.draw(st.integers(low, high))

    def choice(self, options: tuple) -> object:
        return self.draw(st.sampled_from(options))

    def quantised(self, shape: tuple[int, ...], scale: float | None = None) -> int:
        """New activation with a random zero point, corners included."""
        zero = self.choice((-128, 127, 0, int(self.rng.integers(-128, 128))))
        scale = scale or float(10 ** self.rng.uniform(-2.5, -0.5))
        return self.net.tensor(shape, scale, zero)

    def like(self, x: int, shape: tuple[int, ...]) -> int:
        """New activation with the quantisation of `x`."""
        return self.net.tensor(shape, self.net.scale(x), self.net.zero_point(x))

    def pick(self, rank: int | None = None) -> int | None:
        """A live tensor, recent ones preferred."""
        fitting = [t for t in self.live if rank is None or len(self.net.shape(t)) == rank]
        if not fitting:
            return None
        return fitting[-1] if self.integer(0, 2) else self.choice(tuple(fitting))

    # Each method below adds one operator and returns its output, or None if nothing fits.

    def conv(self) -> int | None:
        x = self.pick(4)
        if x is None:
            return None
        n, h, w, c = self.net.shape(x)
        groups = self.choice((1, 1, 1, max(1, c)))
        out_c = self.integer(1, 5) * groups if groups > 1 else self.integer(1, 18)
        kernel = self._window(h, w)
        if kernel is None:
            return None
        kh, kw, sh, sw, dh, dw, same, oh, ow = kernel
        if n * oh * ow * out_c > MAX_ELEMENTS:
            return None
        weights = self._weights((out_c, kh, kw, c // groups))
        y, tensors = self._filter(x, weights, 0, out_c, (n, oh, ow, out_c))
        o = schema.Conv2DOptionsT()
        o.padding, o.strideH, o.strideW = int(not same), sh, sw
        o.dilationHFactor, o.dilationWFactor = dh, dw
        o.fusedActivationFunction = self.choice(ACTIVATIONS)
        self.net.op(OPS.CONV_2D, [x, *tensors], [y], o)
        return y

    def depthwise(self) -> int | None:
        x = self.pick(4)
        if x is None:
            return None
        n, h, w, c = self.net.shape(x)
        multiplier = self.choice((1, 1, 1, 2, 3))
        kernel = self._window(h, w)
        if kernel is None:
            return None
        kh, kw, sh, sw, dh, dw, same, oh, ow = kernel
        out_c = c * multiplier
        if n * oh * ow * out_c > MAX_ELEMENTS:
            return None
        weights = self._weights((1, kh, kw, out_c))
        y, tensors = self._filter(x, weights, 3, out_c, (n, oh, ow, out_c))
        o = schema.DepthwiseConv2DOptionsT()
        o.padding, o.strideH, o.strideW, o.depthMultiplier = int(not same), sh, sw, multiplier
        o.dilationHFactor, o.dilationWFactor = dh, dw
        o.fusedActivationFunction = self.choice(ACTIVATIONS)
        self.net.op(OPS.DEPTHWISE_CONV_2D, [x, *tensors], [y], o)
        return y

    def _window(self, h: int, w: int) -> tuple[int, ...] | None:
        shapes = ((1, 1), (3, 3), (3, 3), (5, 5), (1, self.integer(1, 7)), (self.integer(1, 5), 1))
        kh, kw = self.choice((*shapes, (self.integer(1, 4), self.integer(1, 4))))
        sh, sw = self.choice(((1, 1), (1, 1), (2, 2), (2, 1), (1, 3)))
        dh, dw = self.choice(((1, 1), (1, 1), (1, 1), (2, 2), (1, 2)))
        same = self.draw(st.booleans())
        oh, ow = (
            -(-size // s) if same else (size + s - ((k - 1) * d + 1)) // s
            for size, k, s, d in ((h, kh, sh, dh), (w, kw, sw, dw))
        )
        return (kh, kw, sh, sw, dh, dw, same, oh, ow) if min(oh, ow) > 0 else None

    def _weights(self, shape: tuple[int, ...]) -> np.ndarray:
        return self.rng.integers(-127, 128, shape).astype(np.int8)

    def _filter(
        self, x: int, weights: np.ndarray, axis: int, n: int, out_shape: tuple[int, ...]
    ) -> tuple[int, list[int]]:
        """Weights and bias with scales that spread the output over most of the int8 range."""
        scales = 10 ** self.rng.uniform(-3.5, -1.5, n if self.draw(st.booleans()) else 1)
        if scales.size == 1:
            axis = 0
        taps = weights.size // n
        spread = self.net.scale(x) * scales.mean() * 75 * 75 * math.sqrt(taps)
        y = self.quantised(out_shape, float(spread / 60 * 2 ** self.rng.uniform(-1.5, 1.5)))
        f = self.net.tensor(weights.shape, list(scales), data=weights, axis=axis)
        if not self.integer(0, 4):
            return y, [f]
        bias = self.rng.integers(-20000, 20000, n).astype(np.int32)
        b = self.net.tensor((n,), [self.net.scale(x) * s for s in scales], data=bias)
        return y, [f, b]

    def fully_connected(self) -> int | None:
        x = self.pick()
        shape = self.net.shape(x)
        depth = shape[-1] if self.draw(st.booleans()) else math.prod(shape)
        if depth > 512:
            return None
        rows, out_n = math.prod(shape) // depth, self.integer(1, 20)
        y, tensors = self._filter(x, self._weights((out_n, depth)), 0, out_n, (rows, out_n))
        o = schema.FullyConnectedOptionsT()
        o.fusedActivationFunction = self.choice(ACTIVATIONS)
        self.net.op(OPS.FULLY_CONNECTED, [x, *tensors], [y], o)
        return y

    def pool(self) -> int | None:
        x = self.pick(4)
        if x is None:
            return None
        n, h, w, c = self.net.shape(x)
        kernel = self._window(h, w)
        if kernel is None or kernel[4:6] != (1, 1):
            return None
        kh, kw, sh, sw, _, _, same, oh, ow = kernel
        y = self.like(x, (n, oh, ow, c))
        o = schema.Pool2DOptionsT()
        o.padding, o.strideH, o.strideW = int(not same), sh, sw
        o.filterHeight, o.filterWidth = kh, kw
        o.fusedActivationFunction = self.choice(ACTIVATIONS)
        self.net.op(self.choice((OPS.AVERAGE_POOL_2D, OPS.MAX_POOL_2D)), [x], [y], o)
        return y

    def mean(self) -> int | None:
        x = self.pick()
        shape = self.net.shape(x)
        if not 2 <= len(shape) <= 4:
            return None
        axes = self.draw(st.sets(st.integers(0, len(shape) - 1), min_size=1, max_size=len(shape)))
        if len(shape) == 4 and self.integer(0, 1):
            axes = {1, 2}
        keep = self.draw(st.booleans())
        kept = tuple(1 if i in axes else n for i, n in enumerate(shape) if keep or i not in axes)
        y = self.quantised(kept, self.net.scale(x) * float(2 ** self.rng.uniform(-2, 1)))
        o = schema.ReducerOptionsT()
        o.keepDims = keep
        axis = np.array([a - (len(shape) if self.integer(0, 1) else 0) for a in axes], np.int32)
        self.net.op(OPS.MEAN, [x, self.net.constant(axis)], [y], o)
        return y

    def binary(self) -> int | None:
        a = self.pick()
        shape = self.net.shape(a)
        partners = [t for t in self.live if self.net.shape(t) == shape]
        kind = self.integer(0, 3)
        if kind:
            b = self.choice(tuple(partners))
        else:
            ones = tuple(n if self.integer(0, 1) else 1 for n in shape)
            other = ones[self.integer(0, len(ones) - 1) :] if self.integer(0, 1) else ones
            data = self.rng.integers(-128, 128, other).astype(np.int8)
            b = self.net.tensor(other, float(10 ** self.rng.uniform(-2.5, -0.5)), 5, data=data)
        operands = [a, b] if self.integer(0, 1) else [b, a]
        code = self.choice((OPS.ADD, OPS.MUL, OPS.SUB))
        sa, sb = self.net.scale(a), self.net.scale(b)
        spread = sa * sb * 60 if code == OPS.MUL else max(sa, sb) * 1.5
        y = self.quantised(shape, spread * float(2 ** self.rng.uniform(-1, 1)))
        o = {
            OPS.ADD: schema.AddOptionsT, OPS.MUL: schema.MulOptionsT, OPS.SUB: schema.SubOptionsT,
        }[code]()  # fmt: skip
        o.fusedActivationFunction = self.choice(ACTIVATIONS)
        self.net.op(code, operands, [y], o)
        return y

    def pad(self) -> int | None:
        x = self.pick()
        shape = self.net.shape(x)
        if len(shape) > 4:
            return None
        amounts = [[self.integer(0, 2), self.integer(0, 2)] for _ in shape]
        if len(shape) == 4 and self.integer(0, 2):
            amounts[0] = amounts[3] = [0, 0]
        out = tuple(n + lo + hi for n, (lo, hi) in zip(shape, amounts, strict=True))
        if math.prod(out) > MAX_ELEMENTS:
            return None
        y = self.like(x, out)
        paddings = self.net.constant(np.array(amounts, np.int32))
        if self.integer(0, 3):
            self.net.op(OPS.PAD, [x, paddings], [y], schema.PadOptionsT())
            return y
        value = np.array([self.rng.integers(-128, 128)], np.int8)
        fill = self.net.tensor((1,), self.net.scale(x), self.net.zero_point(x), data=value)
        self.net.op(OPS.PADV2, [x, paddings, fill], [y], schema.PadV2OptionsT())
        return y

    def expand_dims(self) -> int | None:
        x = self.pick()
        shape = self.net.shape(x)
        if len(shape) > 3:
            return None
        axis = self.integer(0, len(shape))
        y = self.like(x, (*shape[:axis], 1, *shape[axis:]))
        where = self.net.constant(np.array([axis], np.int32))
        self.net.op(OPS.EXPAND_DIMS, [x, where], [y], schema.ExpandDimsOptionsT())
        return y

    def concatenation(self) -> int | None:
        x = self.pick()
        shape = self.net.shape(x)
        axis = self.integer(0, len(shape) - 1)
        same = [
            t for t in self.live
            if self.net.scale(t) == self.net.scale(x)
            and self.net.zero_point(t) == self.net.zero_point(x)
            and len(self.net.shape(t)) == len(shape)
            and all(p == q for i, (p, q) in enumerate(zip(self.net.shape(t), shape, strict=True))
                    if i != axis)
        ]  # fmt: skip
        parts = [x, *(self.choice(tuple(same)) for _ in range(self.integer(0, 2)))]
        size = sum(self.net.shape(t)[axis] for t in parts)
        out = (*shape[:axis], size, *shape[axis + 1 :])
        if math.prod(out) > MAX_ELEMENTS:
            return None
        y = self.like(x, out)
        o = schema.ConcatenationOptionsT()
        o.axis = axis - (len(shape) if self.integer(0, 1) else 0)
        self.net.op(OPS.CONCATENATION, parts, [y], o)
        return y

    def reshape(self) -> int | None:
        x = self.pick()
        shape = self.net.shape(x)
        n = math.prod(shape)
        if 1 in shape[1:] and self.integer(0, 1):
            dims = [i for i, d in enumerate(shape) if d == 1 and i > 0]
            o = schema.SqueezeOptionsT()
            o.squeezeDims = dims
            y = self.like(x, tuple(d for i, d in enumerate(shape) if i not in dims))
            self.net.op(OPS.SQUEEZE, [x], [y], o)
            return y
        divisor = self.choice(tuple(d for d in range(1, min(n, 64) + 1) if n % d == 0))
        out = self.choice(((1, n), (divisor, n // divisor), (1, divisor, n // divisor, 1)))
        y = self.like(x, out)
        o = schema.ReshapeOptionsT()
        o.newShape = list(out)
        self.net.op(OPS.RESHAPE, [x, self.net.constant(np.array(out, np.int32))], [y], o)
        return y

    def transpose(self) -> int | None:
        x = self.pick()
        shape = self.net.shape(x)
        order = self.draw(st.permutations(range(len(shape))))
        y = self.like(x, tuple(shape[i] for i in order))
        perm = self.net.constant(np.array(order, np.int32))
        self.net.op(OPS.TRANSPOSE, [x, perm], [y], schema.TransposeOptionsT())
        return y

    def strided_slice(self) -> int | None:
        x = self.pick()
        shape = self.net.shape(x)
        if len(shape) > 4:
            return None
        begin, end, step, out = [], [], [], []
        shrink = begin_mask = end_mask = 0
        for i, n in enumerate(shape):
            s = self.choice((1, 1, 2, -1))
            first, last = sorted((self.integer(0, n - 1), self.integer(0, n - 1)))
            b, e = (first, last + 1) if s > 0 else (last, first - 1 if first else -n - 1)
            if self.integer(0, 3) == 0 and n > 1:
                begin_mask |= 1 << i
                b = 0 if s > 0 else n - 1
            length = -(-(e - b) // s) if s > 0 or e >= 0 else b + 1
            if s > 0 and self.integer(0, 3) == 0:
                end_mask |= 1 << i
                length = -(-(n - b) // s)
            if length < 1:
                return None
            if s > 0 and i == 1 and len(shape) == 4 and self.integer(0, 3) == 0:
                shrink |= 1 << i
                s, e = 1, b + 1
                begin_mask &= ~(1 << i)
            else:
                out.append(length)
            begin.append(b)
            end.append(e)
            step.append(s)
        y = self.like(x, tuple(out))
        o = schema.StridedSliceOptionsT()
        o.beginMask, o.endMask, o.shrinkAxisMask = begin_mask, end_mask, shrink
        constants = [self.net.constant(np.array(v, np.int32)) for v in (begin, end, step)]
        self.net.op(OPS.STRIDED_SLICE, [x, *constants], [y], o)
        return y

    def split(self) -> int | None:
        x = self.pick()
        shape = self.net.shape(x)
        axis = self.integer(0, len(shape) - 1)
        parts = self.choice(tuple(d for d in (1, 2, 3, 4) if shape[axis] % d == 0))
        out = (*shape[:axis], shape[axis] // parts, *shape[axis + 1 :])
        outputs = [self.like(x, out) for _ in range(parts)]
        o = schema.SplitOptionsT()
        o.numSplits = parts
        self.net.op(OPS.SPLIT, [self.net.constant(np.array(axis, np.int32)), x], outputs, o)
        self.live += outputs[:-1]
        return outputs[-1]

    def unary(self) -> int | None:
        x = self.pick()
        shape, scale = self.net.shape(x), self.net.scale(x)
        kind = self.choice(("RELU", "RELU6", "LEAKY_RELU", "LOGISTIC", "QUANTIZE", "SOFTMAX"))
        options: object | None = None
        if kind == "LOGISTIC":
            y = self.net.tensor(shape, 1 / 256, -128)
        elif kind == "SOFTMAX":
            y = self.net.tensor(shape, 1 / 256, -128)
            options = schema.SoftmaxOptionsT()
            options.beta = float(self.choice((1.0, 1.0, 0.5, 4.0)))
        elif kind == "RELU6":
            y = self.like(x, shape)
        else:
            y = self.quantised(shape, scale * float(2 ** self.rng.uniform(-1.5, 1.5)))
        if kind == "LEAKY_RELU":
            options = schema.LeakyReluOptionsT()
            options.alpha = float(self.choice((0.1, 0.3, 0.01, 1.5)))
        self.net.op(getattr(OPS, kind), [x], [y], options)
        return y

    METHODS = (
        conv, conv, conv, depthwise, depthwise, fully_connected, pool, mean, binary, binary,
        pad, concatenation, reshape, expand_dims, transpose, strided_slice, split, unary, unary,
    )  # fmt: skip

    def input(self) -> None:
        """A model input; sometimes float with a QUANTIZE behind it."""
        batch = self.choice((1, 1, 1, 2))
        shape = (batch, self.integer(1, 12), self.integer(1, 12), self.integer(1, 9))
        if self.integer(0, 4):
            x = self.quantised(shape)
            self.net.inputs.append(x)
        else:
            real = self.net.tensor(shape, dtype=FLOAT32)
            self.net.inputs.append(real)
            if not self.integer(0, 2):  # floats may be moved before they are quantised
                amounts = np.array([[0, 0], [1, 0], [0, 2], [0, 0]], np.int32)
                shape = tuple(n + int(a.sum()) for n, a in zip(shape, amounts, strict=True))
                padded = self.net.tensor(shape, dtype=FLOAT32)
                self.net.op(
                    OPS.PAD, [real, self.net.constant(amounts)], [padded], schema.PadOptionsT()
                )
                real = padded
            x = self.quantised(shape)
            self.net.op(OPS.QUANTIZE, [real], [x], schema.QuantizeOptionsT())
        self.live.append(x)

    def finish(self) -> bytes:
        """Choose outputs (the last tensor and some branches), sometimes as float."""
        outputs = [self.live[-1]]
        produced = {t for o in self.net.operators for t in o.outputs}
        branches = tuple(t for t in self.live[:-1] if t in produced)
        if branches and self.draw(st.booleans()):
            outputs.append(self.choice(branches))
        for i, x in enumerate(outputs):
            if not self.integer(0, 3):
                y = self.net.tensor(self.net.shape(x), dtype=FLOAT32)
                self.net.op(OPS.DEQUANTIZE, [x], [y], schema.DequantizeOptionsT())
                outputs[i] = y
        self.net.outputs = list(dict.fromkeys(outputs))
        return self.net.build()


@st.composite
def networks(draw: Callable) -> bytes:
    """A serialised network of 1 to 8 operators with 1 or 2 inputs."""
    builder = _Builder(draw)
    for _ in range(builder.choice((1, 1, 1, 2))):
        builder.input()
    for _ in range(builder.integer(1, 8)):
        output = builder.choice(_Builder.METHODS)(builder)
        # A scalar may be an output, but no further operator of ours takes it as input.
        if output is not None and builder.net.shape(output):
            builder.live.append(output)
    produced = {t for o in builder.net.operators for t in o.outputs}
    if not produced & set(builder.live):
        x = builder.live[-1]
        y = builder.like(x, builder.net.shape(x))
        builder.net.op(OPS.RELU, [x], [y])
        builder.live.append(y)
    return builder.finish()


def sample(n: int, number: int) -> list[bytes]:
    """Draw the same `n` networks on every run; another `number` gives others."""
    found: list[bytes] = []

    @seed(number)
    @settings(
        max_examples=n,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(networks())
    def collect(tflite: bytes) -> None:
        found.append(tflite)

    collect()
    return found
