"""Golden front-end features: the same sound in Python and C, and damaged tables are noticed."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from earmark_dsp.codegen import generate
from earmark_dsp.errors import EarmarkError
from earmark_dsp.native import extract
from earmark_dsp.reference import quantized
from earmark_dsp.spec import load_spec
from earmark_training.deploy import golden_features
from earmark_training.deploy.simulate import build_simulator
from firmware_kit import ROOT, evening, write_stand_in, write_wav
from tools import require_tool

SPECS = sorted(path.stem for path in (ROOT / "dsp/specs").glob("*.toml"))
PIPELINE = ROOT / "firmware/components/pipeline"


def build(spec, folder: Path) -> Path:
    generate(spec, folder)
    (folder / golden_features.SOURCE).write_text(golden_features.source(spec))
    command = [
        require_tool("cc", "gcc"), "-std=c11", "-O1", "-fsanitize=address,undefined",
        "-fno-sanitize-recover=all", f"-I{PIPELINE / 'include'}", f"-I{ROOT / 'dsp/c/include'}",
        f"-I{folder}", str(Path(__file__).parent / "golden_features_check.c"),
        str(PIPELINE / "src/golden_features.c"), *map(str, (ROOT / "dsp/c/src").glob("*.c")),
        *map(str, folder.glob("*.c")), "-lm", "-o", str(folder / "check"),
    ]  # fmt: skip
    subprocess.run(command, check=True)
    return folder / "check"


@pytest.mark.parametrize("name", SPECS)
def test_the_device_reproduces_the_rows_and_notices_damaged_tables(tmp_path, name):
    spec = load_spec(name)
    check = build(spec, tmp_path / "c")
    assert subprocess.run([check], check=False).returncode == 0
    if name == SPECS[0]:
        run = subprocess.run([check, "sound"], check=True, capture_output=True, text=True)
        samples = np.array(run.stdout.split(), np.int64)
        np.testing.assert_array_equal(samples, golden_features.sound(len(samples)))


def test_the_sound_reaches_every_band_and_level():
    """Otherwise a damaged table entry could hide."""
    sound = golden_features.sound(16000)
    chunks = sound[: 31 * 512].reshape(31, 512).astype(np.int64)
    assert {int(peak).bit_length() for peak in np.abs(chunks).max(axis=1)} >= set(range(16))
    rows = quantized(load_spec("logmel-64-20ms"), sound)
    assert (np.ptp(rows.astype(int), axis=0) > 100).all(), "each band moves over most of the range"


@pytest.mark.parametrize("name", SPECS)
def test_the_expected_rows_are_those_of_the_float64_oracle(name):
    spec = load_spec(name)
    sound = golden_features.sound(16000)
    difference = extract(spec, sound).astype(int) - quantized(spec, sound).astype(int)
    assert (np.abs(difference) <= 1).mean() > 0.9999


def health(simulator, wav):
    run = subprocess.run(
        [simulator, "--wav", wav, "--loopback"], check=True, capture_output=True, text=True
    )
    lines = [line.split("\t") for line in run.stdout.splitlines() if "/health" in line]
    return json.loads(lines[0][4])


def test_a_front_end_that_computes_something_else_is_a_fault(tmp_path, simulator):
    wav = write_wav(tmp_path / "a.wav", evening(1))
    assert "self_test" not in health(simulator, wav)["flags"]
    folder = write_stand_in(tmp_path / "c")
    source = folder / golden_features.SOURCE
    text, n = re.subn(
        r"fnv1a = 0x(\w)", lambda m: f"fnv1a = 0x{int(m[1], 16) ^ 1:x}", source.read_text()
    )
    assert n == 1
    source.write_text(text)
    told = health(build_simulator(folder, tmp_path / "build"), wav)
    assert "self_test" in told["flags"]


def test_a_bundle_from_before_the_golden_features_is_told_what_to_do(tmp_path):
    folder = write_stand_in(tmp_path / "c")
    (folder / golden_features.SOURCE).unlink()
    with pytest.raises(EarmarkError, match="write the bundle again"):
        build_simulator(folder, tmp_path / "build")
