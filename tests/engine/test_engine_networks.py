"""Random networks: generated C under sanitizers equals TFLM's interpreter, byte for byte."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from earmark_training.deploy.golden import random_inputs
from earmark_training.deploy.lower import supported_operators
from earmark_training.deploy.tflite import parse_model
from earmark_training.tflm import TflmModel
from random_networks import sample
from sanitized import build_kernels, run_both_forms

if TYPE_CHECKING:
    from pathlib import Path

N_PARTS = 3
NETWORKS_PER_PART = 100
# One executable for several networks: linking the sanitizers costs more than compiling one.
BATCH = 20
N_INPUTS = 3


@pytest.fixture(scope="module")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return build_kernels(tmp_path_factory.mktemp("kernels"))


@pytest.mark.slow
@pytest.mark.parametrize("part", range(N_PARTS))
def test_random_networks_equal_tflm_under_sanitizers(
    part: int, kernels: list[Path], tmp_path: Path
) -> None:
    networks = sample(NETWORKS_PER_PART, part)
    assert len(networks) == NETWORKS_PER_PART
    for start in range(0, len(networks), BATCH):
        batch = networks[start : start + BATCH]
        oracles = [TflmModel(tflite) for tflite in batch]
        rng = np.random.default_rng(start)
        inputs = [[random_inputs(o.model, rng) for _ in range(N_INPUTS)] for o in oracles]
        results = run_both_forms(batch, inputs, kernels, tmp_path / str(start))
        for tflite, oracle, sets, forms in zip(batch, oracles, inputs, results, strict=True):
            expected = [oracle.invoke_many(arrays) for arrays in sets]
            for form in forms:
                check(tflite, form, expected)


def check(tflite: bytes, got: list[list[np.ndarray]], expected: list[list[np.ndarray]]) -> None:
    """Compare all outputs for all inputs; the failing file is in the message."""
    for arrays, wanted in zip(got, expected, strict=True):
        for a, b in zip(arrays, wanted, strict=True):
            np.testing.assert_array_equal(a, b.reshape(a.shape), err_msg=tflite.hex())


def test_sample_covers_every_operator() -> None:
    seen = {
        operator.code
        for part in range(N_PARTS)
        for tflite in sample(NETWORKS_PER_PART, part)
        for operator in parse_model(tflite).operators
    }
    assert seen == set(supported_operators())
