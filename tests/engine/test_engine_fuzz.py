"""Mutated files end in C or in one message; the full run is `fuzz_tflite.py 100000`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from earmark_training.deploy.golden import random_inputs
from earmark_training.deploy.tflite import parse_model
from fuzz_tflite import compile_once, mutate
from random_networks import sample
from sanitized import build_kernels, run_both_forms

N_FILES = 20_000
MEMORY_LIMIT_MIB = 1024
N_SURVIVORS = 30
MAX_IO_BYTES = 1 << 20


@pytest.mark.slow
def test_mutated_files_are_compiled_or_refused() -> None:
    script = Path(__file__).parent / "fuzz_tflite.py"
    # Warnings are findings too: an overflow in numpy would be an integer that TFLM does not have.
    command = [sys.executable, "-W", "error", str(script), str(N_FILES), "--seed", "7"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=550)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    words = done.stdout.split()
    compiled, refused = int(words[2]), int(words[4])
    assert compiled + refused == N_FILES
    assert min(compiled, refused) > N_FILES // 20
    assert int(words[-2]) < MEMORY_LIMIT_MIB


@pytest.mark.slow
def test_surviving_mutations_run_clean_under_sanitizers(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    originals = sample(60, 3)
    survivors: list[bytes] = []
    while len(survivors) < N_SURVIVORS:
        tflite = mutate(originals[int(rng.integers(0, len(originals)))], rng)
        if tflite in originals or compile_once(tflite) != "compiled":
            continue
        model = parse_model(tflite)
        if sum(model.tensors[i].n_bytes for i in (*model.inputs, *model.outputs)) < MAX_IO_BYTES:
            survivors.append(tflite)
    inputs = [[random_inputs(parse_model(t), rng)] for t in survivors]
    kernels = build_kernels(tmp_path)
    results = run_both_forms(survivors, inputs, kernels, tmp_path / "survivors")
    for whole, banded in results:
        for a, b in zip(whole[0], banded[0], strict=True):
            np.testing.assert_array_equal(a, b)
