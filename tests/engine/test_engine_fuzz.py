"""Mutated files end in C or in one message; the full run is `fuzz_tflite.py 100000`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

N_FILES = 20_000
MEMORY_LIMIT_MIB = 1024


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
