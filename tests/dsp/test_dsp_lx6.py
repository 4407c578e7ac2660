"""The Xtensa LX6, in emulation, computes the integers that Python computes, at a bounded cost."""

from __future__ import annotations

import numpy as np
import pytest
from dsp_cases import cases
from earmark_dsp.native import extract, extract_q8
from earmark_dsp.spec import list_specs, load_spec
from tools import require_tool

MAX_INSTRUCTIONS = 45_000
CASE_SAMPLES = 900


@pytest.fixture(scope="module")
def lx6():
    for tool in ("clang-22", "llc-22", "llvm-mc-22", "xtensa-lx106-elf-ld", "qemu-system-xtensa"):
        require_tool(tool)
    return pytest.importorskip("earmark_training.bench.lx6_frontend")


def _real_clips():
    locate = pytest.importorskip("earmark_datasets.locate")
    folder = locate.find_dataset("ESC-10")
    if folder is None:
        return []
    audio = pytest.importorskip("earmark_dsp.audio")
    paths = audio.find_audio(folder / "audio")[20::200]
    return [audio.load_pcm(path, 16000)[8000:11200] for path in paths]


@pytest.mark.parametrize("name", list_specs())
def test_rows_are_bit_exact_and_cheap(lx6, name):
    spec = load_spec(name)
    synthetic = [pcm[1500 : 1500 + CASE_SAMPLES] for pcm in cases().values()]
    pcm = np.concatenate([*synthetic, *_real_clips()])
    result = lx6.run_frontend(spec, pcm)
    rows = np.frombuffer(result.files["rows.raw"], np.int8).reshape(-1, 3 * spec.n_features)
    np.testing.assert_array_equal(rows[:, : spec.n_features], extract(spec, pcm))
    fine = np.ascontiguousarray(rows[:, spec.n_features :]).view("<i2")
    np.testing.assert_array_equal(fine, extract_q8(spec, pcm))
    frame = result.regions["frame"]
    assert frame.instructions / frame.calls <= MAX_INSTRUCTIONS


def test_optimisation_levels_agree_on_the_lx6(lx6):
    spec = load_spec("pcen-64-20ms")
    pcm = cases()["clipped_speech"]
    unoptimised = lx6.run_frontend(spec, pcm, level="-O0")
    optimised = lx6.run_frontend(spec, pcm, level="-O3")
    assert unoptimised.files["rows.raw"] == optimised.files["rows.raw"]
    assert len(optimised.files["rows.raw"]) == 3 * extract(spec, pcm).size
