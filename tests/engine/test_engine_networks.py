"""Random networks: generated C under sanitizers equals TFLM's interpreter, byte for byte."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from earmark_training.deploy.golden import random_inputs
from earmark_training.tflm import TflmModel
from hypothesis import HealthCheck, given, settings
from random_networks import networks
from sanitized import build_kernels, run_both_forms

N_NETWORKS = 300
N_INPUTS = 3


@pytest.fixture(scope="module")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return build_kernels(tmp_path_factory.mktemp("kernels"))


@pytest.mark.slow
@settings(
    max_examples=N_NETWORKS,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
@given(tflite=networks())
def test_random_networks_equal_tflm_under_sanitizers(tflite: bytes, kernels: list[Path]) -> None:
    oracle = TflmModel(tflite)
    rng = np.random.default_rng(len(tflite))
    inputs = [random_inputs(oracle.model, rng) for _ in range(N_INPUTS)]
    expected = [oracle.invoke_many(arrays) for arrays in inputs]
    with tempfile.TemporaryDirectory() as directory:
        whole, banded = run_both_forms(tflite, inputs, kernels, Path(directory))
    for form in (whole, banded):
        for got, want in zip(form, expected, strict=True):
            for a, b in zip(got, want, strict=True):
                np.testing.assert_array_equal(a, b.reshape(a.shape))
