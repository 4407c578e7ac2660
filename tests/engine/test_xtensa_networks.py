"""Random networks in MAC16 assembly on the emulated LX6 equal TFLM's interpreter, byte for byte."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

import numpy as np
import pytest
from earmark_training.deploy.compile import compile_model
from earmark_training.deploy.emulator import run_model
from earmark_training.deploy.golden import random_inputs
from earmark_training.deploy.lx6_toolchain import TOOLS
from earmark_training.tflm import TflmModel
from hypothesis import HealthCheck, Phase, given, settings
from random_networks import networks
from tflite_micro.tensorflow.lite.micro.python import schema_py_generated as schema
from tflite_writer import OPS, Network
from tools import require_tool

N_NETWORKS = 300
NONE, RELU, RELU6 = (
    schema.ActivationFunctionType.NONE,
    schema.ActivationFunctionType.RELU,
    schema.ActivationFunctionType.RELU6,
)


@pytest.fixture(autouse=True)
def _tools():
    for tool in TOOLS:
        require_tool(tool)


def _check(tflite: bytes, *, ram_limit: int | None, n_inputs: int = 1) -> None:
    oracle = TflmModel(tflite)
    rng = np.random.default_rng(len(tflite))
    inputs = [random_inputs(oracle.model, rng) for _ in range(n_inputs)]
    expected = [oracle.invoke_many(arrays) for arrays in inputs]
    with tempfile.TemporaryDirectory() as folder:
        compile_model(tflite, Path(folder) / "c", ram_limit=ram_limit, golden=False)
        result = run_model(Path(folder) / "c", "model", inputs)
    for got, want in zip(result.outputs, expected, strict=True):
        for a, b in zip(got, want, strict=True):
            np.testing.assert_array_equal(a, b.reshape(a.shape))


class _Branches:
    """One input, one layer per output: many shapes in one program."""

    def __init__(self, shape: tuple[int, int, int], seed: int, zero_point: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.net = Network()
        self.x = self.net.tensor((1, *shape), 0.05, zero_point)
        self.net.inputs = [self.x]

    def _constants(self, weights: np.ndarray, axis: int, n: int) -> tuple[list[int], float]:
        scales = 10 ** self.rng.uniform(-3, -2, n)
        filters = self.net.tensor(weights.shape, list(scales), data=weights, axis=axis)
        bias = self.rng.integers(-9000, 9000, n).astype(np.int32)
        tensor = self.net.tensor((n,), [0.05 * s for s in scales], data=bias)
        spread = 0.05 * scales.mean() * 75 * 75 * math.sqrt(weights.size // n)
        return [filters, tensor], spread / 60

    def add(self, kind, kernel, stride=(1, 1), out_c=8, act=RELU6, zero=-128, same=True):  # noqa: PLR0917
        _, h, w, c = self.net.shape(self.x)
        depthwise = kind == OPS.DEPTHWISE_CONV_2D
        out_c = c if depthwise else out_c
        shape = (1, *kernel, c) if depthwise else (out_c, *kernel, c)
        weights = self.rng.integers(-127, 128, shape).astype(np.int8)
        tensors, scale = self._constants(weights, 3 if depthwise else 0, out_c)
        oh, ow = (
            -(-n // s) if same else (n - k) // s + 1
            for n, s, k in zip((h, w), stride, kernel, strict=True)
        )
        y = self.net.tensor((1, oh, ow, out_c), scale, zero)
        o = schema.DepthwiseConv2DOptionsT() if depthwise else schema.Conv2DOptionsT()
        o.padding, (o.strideH, o.strideW), o.fusedActivationFunction = int(not same), stride, act
        if depthwise:
            o.depthMultiplier = 1
        self.net.op(kind, [self.x, *tensors], [y], o)
        self.net.outputs.append(y)

    def fully_connected(self, out_n: int, act: int) -> None:
        depth = math.prod(self.net.shape(self.x))
        weights = self.rng.integers(-127, 128, (out_n, depth)).astype(np.int8)
        filters = self.net.tensor(weights.shape, 0.004, data=weights)
        bias = self.rng.integers(-9000, 9000, out_n).astype(np.int32)
        tensors = [filters, self.net.tensor((out_n,), 0.05 * 0.004, data=bias)]
        y = self.net.tensor((1, out_n), 0.05 * 0.004 * 75 * 75 * math.sqrt(depth) / 60, -3)
        o = schema.FullyConnectedOptionsT()
        o.fusedActivationFunction = act
        self.net.op(OPS.FULLY_CONNECTED, [self.x, *tensors], [y], o)
        self.net.outputs.append(y)


@pytest.mark.parametrize(
    ("shape", "zero_point"),
    [((9, 8, 8), -128), ((7, 9, 12), 5), ((12, 33, 1), 127), ((5, 6, 24), -128), ((3, 4, 64), -7)],
    ids=str,
)
def test_every_kernel_shape_equals_tflm(shape: tuple[int, int, int], zero_point: int) -> None:
    """Each assembly routine: even and odd widths, both strides, with and without fused ReLU."""
    b = _Branches(shape, seed=sum(shape), zero_point=zero_point)
    conv, depthwise = OPS.CONV_2D, OPS.DEPTHWISE_CONV_2D
    b.add(conv, (1, 1), out_c=10)
    b.add(conv, (1, 1), out_c=5, act=NONE, zero=3)
    b.add(conv, (3, 3), (2, 2), out_c=9)
    b.add(conv, (3, 3), out_c=4, act=NONE, zero=-20)
    b.add(conv, (3, 3), (1, 2), out_c=6, act=RELU, zero=-100)
    b.add(depthwise, (3, 3))
    b.add(depthwise, (3, 3), act=NONE, zero=11)
    b.add(depthwise, (3, 3), (2, 2))
    b.add(depthwise, (3, 3), (2, 2), act=NONE, zero=-9)
    b.add(depthwise, (3, 3), same=False)
    b.add(depthwise, (5, 5))
    b.add(depthwise, (1, 4), act=NONE, zero=0)
    b.fully_connected(7, NONE)
    b.fully_connected(3, RELU)
    _check(b.net.build(), ram_limit=None, n_inputs=2)


@pytest.mark.slow
@pytest.mark.parametrize("ram_limit", [None, 0], ids=["whole", "banded"])
@settings(
    max_examples=N_NETWORKS // 2,
    deadline=None,
    database=None,
    phases=(Phase.generate,),  # shrinking would compile thousands of programs
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
@given(tflite=networks())
def test_random_networks_equal_tflm(tflite: bytes, ram_limit: int | None) -> None:
    _check(tflite, ram_limit=ram_limit)
