"""The TFLM engine's checks at load, against a stand-in for TFLM's interface.

The real interpreter is compared with everywhere else through the `tflite-micro` wheel; this covers
the C++ around it, which only ESP-IDF builds against TFLM itself.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from sanitized import COMPONENTS, INCLUDES
from tools import require_tool

HERE = Path(__file__).parent


def test_each_check_at_load_has_its_status(tmp_path: Path) -> None:
    compiler = require_tool("g++", "clang++", "clang++-22")
    command = [
        compiler, "-std=c++20", "-fno-exceptions", "-fno-rtti", "-Wall", "-Wextra", "-Werror",
        "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-DEM_ENGINE_TFLM",
        f"-I{HERE / 'tflm_stub'}", *INCLUDES,
        str(HERE / "tflm_checks.cc"), str(COMPONENTS / "engine" / "src" / "engine_tflm.cc"),
        "-o", str(tmp_path / "checks"),
    ]  # fmt: skip
    subprocess.run(command, check=True)
    assert subprocess.run([tmp_path / "checks"], check=False).returncode == 0
