"""The C front end called from Python: accuracy against the oracle, streaming, hard signals."""

from __future__ import annotations

import dataclasses
import importlib
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from dsp_cases import RATE_HZ, cases
from earmark_dsp import reference
from earmark_dsp.errors import EarmarkError
from earmark_dsp.mel import breakpoints_hz
from earmark_dsp.native import FrontEnd, extract, extract_q8
from earmark_dsp.spec import LogCompression, list_specs, load_spec
from hypothesis import given, settings
from hypothesis import strategies as st

SPECS = [load_spec(name) for name in list_specs()]
BY_NAME = {spec.name: spec for spec in SPECS}
BASE = BY_NAME["logmel-64-20ms"]
# Every code path of the C: FFT lengths with and without a radix-2 stage, spectra, norms, floor.
VARIANTS = {
    "64": {"fft_length": 64, "window_length": 64, "hop_length": 64, "n_mels": 8},
    "128": {"fft_length": 128, "window_length": 100, "hop_length": 50, "n_mels": 12},
    "256": {"fft_length": 256, "window_length": 256, "hop_length": 128, "n_mels": 24},
    "1024": {"fft_length": 1024, "window_length": 1024, "hop_length": 512, "n_mels": 80},
    "2048": {"fft_length": 2048, "window_length": 1600, "hop_length": 800, "n_mels": 96},
    "odd window": {"window_length": 401, "hop_length": 123},
    "slaney norm": {"mel_norm": "slaney", "compression": LogCompression(1e-9)},
    "floor": {"compression": LogCompression(0.0, floor=1e-6)},
    "decibel": {
        "compression": LogCompression(1e-7, unit="decibel"),
        "output_scale": 0.46875,
        "output_zero_point": 22,
    },
    "magnitude": {"spectrum": "magnitude", "compression": LogCompression(1e-3)},
    "pre-emphasis": {"preemphasis": 0.97},
    "rectangular": {"window": "rectangular"},
    "full band": {"fmin_hz": 0.0, "fmax_hz": 8000.0, "n_mels": 40},
}


def _difference(spec, pcm):
    fixed = extract(spec, pcm).astype(int)
    return np.abs(fixed - reference.quantized(spec, pcm))


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_hard_signals_stay_within_two_steps(spec):
    differences = []
    for name, pcm in cases().items():
        difference = _difference(spec, pcm)
        assert difference.max() <= 2, name
        differences.append(difference.ravel())
    assert (np.concatenate(differences) <= 1).mean() >= 0.999


@pytest.mark.parametrize("change", VARIANTS.values(), ids=VARIANTS)
def test_every_variant_stays_within_two_steps(change):
    spec = dataclasses.replace(BASE, **change)
    for name in ("white_noise", "clipped_speech", "square_full_scale", "whisper_noise", "chirp_up"):
        assert _difference(spec, cases()[name]).max() <= 2, name


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_real_recordings_at_falling_levels(spec):
    locate = pytest.importorskip("earmark_datasets.locate")
    audio = pytest.importorskip("earmark_dsp.audio")
    folder = locate.find_dataset("ESC-10")
    if folder is None:
        pytest.skip("ESC-10 is not on this machine")
    differences = []
    for path in audio.find_audio(folder / "audio")[::40]:
        pcm = audio.load_pcm(path, spec.sample_rate_hz)
        for gain_db in (0, -20, -40, -60):
            quiet = np.rint(pcm * 10 ** (gain_db / 20)).astype(np.int16)
            differences.append(_difference(spec, quiet).ravel())
    joined = np.concatenate(differences)
    assert joined.max() <= 2
    assert (joined <= 1).mean() >= 0.999


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
@settings(max_examples=15, deadline=None)
@given(cuts=st.lists(st.integers(0, 4000), max_size=12), seed=st.integers(0, 2**31))
def test_any_split_gives_the_same_rows(spec, cuts, seed):
    names = sorted(cases())
    pcm = cases()[names[seed % len(names)]]
    fe = FrontEnd(spec)
    parts = [fe.process(part) for part in np.split(pcm, sorted(cuts))]
    np.testing.assert_array_equal(np.concatenate(parts), extract(spec, pcm))


def test_single_samples_give_the_same_rows():
    spec = BY_NAME["pcen-64-20ms"]
    pcm = cases()["clipped_speech"][:1600]
    fe = FrontEnd(spec)
    parts = [fe.process(pcm[i : i + 1]) for i in range(pcm.size)]
    np.testing.assert_array_equal(np.concatenate(parts), extract(spec, pcm))


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_reset_forgets_everything(spec):
    fe = FrontEnd(spec)
    fe.process(cases()["square_full_scale"][:-77])
    fe.reset()
    pcm = cases()["clipped_speech"]
    np.testing.assert_array_equal(fe.process(pcm), extract(spec, pcm))


def test_row_count_and_q8_rows_agree():
    for spec in SPECS:
        for n_samples in (0, spec.window_length - 1, spec.window_length, 4000):
            pcm = cases()["white_noise"][:n_samples]
            rows = extract(spec, pcm)
            assert rows.shape == (spec.n_frames(n_samples), spec.n_features)
            fine = extract_q8(spec, pcm).astype(int)
            np.testing.assert_array_equal(np.clip((fine + 128) >> 8, -128, 127), rows)


def test_threads_do_not_disturb_each_other():
    spec = BY_NAME["pcen-64-20ms"]
    signals = [cases()[name] for name in sorted(cases())] * 4
    expected = [extract(spec, pcm) for pcm in signals]
    with ThreadPoolExecutor(4) as pool:
        for rows, wanted in zip(
            pool.map(lambda pcm: extract(spec, pcm), signals), expected, strict=True
        ):
            np.testing.assert_array_equal(rows, wanted)


@pytest.mark.parametrize(
    "pcm", [np.zeros(600), np.zeros((600, 2), np.int16), np.zeros(600, np.int32)]
)
def test_other_arrays_are_refused(pcm):
    with pytest.raises(EarmarkError, match="int16 samples of one channel"):
        extract(BASE, pcm)


def test_strided_arrays_are_accepted():
    stereo = np.stack([cases()["chirp_up"], cases()["chirp_down"]], axis=1)
    np.testing.assert_array_equal(extract(BASE, stereo[:, 0]), extract(BASE, cases()["chirp_up"]))


def _total_energy(name):
    """Total mel energy per row, from the fixed-point log features."""
    fine = extract_q8(BASE, cases()[name]).astype(float)
    values = BASE.output_scale * (fine / 256 - BASE.output_zero_point)
    return np.exp(values).sum(axis=1)


@pytest.mark.parametrize("edge", ["centre", "edge"])
def test_sine_and_cosine_give_equal_mel_energy(edge):
    sine, cosine = _total_energy(f"sine_bin_{edge}"), _total_energy(f"cosine_bin_{edge}")
    np.testing.assert_allclose(sine, cosine, rtol=0.005)


def test_a_whisper_keeps_its_features():
    """Noise at -70 dBFS has the spectrum shape of the same noise 50 dB louder."""
    noise = np.random.default_rng(5).standard_normal(RATE_HZ)
    coloured = np.convolve(noise, np.hanning(9) / np.linalg.norm(np.hanning(9)), mode="same")
    scale = 32768 * 10 ** (-70 / 20)
    whisper = extract(BASE, np.rint(scale * coloured).astype(np.int16)).astype(float)
    loud = extract(BASE, np.rint(scale * 316 * coloured).astype(np.int16)).astype(float)
    shift = (loud - whisper) * BASE.output_scale
    strong = loud.mean(axis=0) > np.median(loud.mean(axis=0))
    expected = 2 * np.log(316)
    assert abs(shift[:, strong].mean() - expected) < 0.2
    assert np.corrcoef(whisper[:, strong].ravel(), loud[:, strong].ravel())[0, 1] > 0.95


@pytest.mark.parametrize(
    ("name", "frequency_hz"), [("tone_minus_80_dbfs", 3100), ("tone_minus_80_dbfs_low", 440)]
)
def test_a_tone_at_minus_80_dbfs_shows_in_its_band(name, frequency_hz):
    rows = extract(BASE, cases()[name]).astype(int)
    edges = breakpoints_hz(BASE)
    band = int(np.argmin(np.abs(edges[1:-1] - frequency_hz)))
    assert (np.abs(rows.argmax(axis=1) - band) <= 1).all()
    others = np.delete(rows, range(band - 3, band + 4), axis=1)
    assert (rows.max(axis=1) > others.max(axis=1) + 20).all()


@pytest.mark.parametrize("frequency_hz", [520, 3100, 4000])
def test_a_steady_alarm_tone_survives_pcen(frequency_hz):
    """After half a minute the smoother has learnt the tone, and the tone still stands out."""
    spec = BY_NAME["pcen-64-20ms"]
    t = np.arange(30 * RATE_HZ) / RATE_HZ
    noise = 30 * np.random.default_rng(6).standard_normal(t.size)
    pcm = np.rint(3000 * np.sin(2 * np.pi * frequency_hz * t) + noise).astype(np.int16)
    last = extract(spec, pcm)[-50:].astype(int)
    band = int(np.argmin(np.abs(breakpoints_hz(spec)[1:-1] - frequency_hz)))
    near = slice(max(0, band - 1), band + 2)
    tone = last[:, near].max(axis=1)
    others = np.delete(last, range(band - 4, band + 5), axis=1)
    assert tone.min() > others.mean() + 4 * others.std()
    assert tone.std() < 1


def test_pcen_state_runs_on_and_starts_settled():
    spec = BY_NAME["pcen-64-20ms"]
    steady = np.tile(cases()["square_half_nyquist"], 4)
    rows = extract(spec, steady).astype(int)
    assert np.abs(rows - rows[0]).max() <= 1  # no start-up transient
    fe = FrontEnd(spec)
    fe.process(steady)
    after = fe.process(cases()["white_noise"])
    assert not np.array_equal(after[2:], extract(spec, cases()["white_noise"])[: len(after) - 2])


@pytest.mark.parametrize("scale", [2.0**-12, 2.0**9])
@pytest.mark.parametrize("name", ["logmel-64-20ms", "pcen-64-20ms", "mfcc-13"])
def test_extreme_output_scales(name, scale):
    spec = dataclasses.replace(BY_NAME[name], output_scale=scale)
    oracle = reference.quantized(spec, cases()["clipped_speech"]).astype(int)
    fixed = extract(spec, cases()["clipped_speech"]).astype(int)
    # The finest scale resolves 1/4096: finer than the tables of logarithm and window.
    tolerance = 2 if scale > 1 else 40
    inside = np.abs(oracle) < 127
    assert np.abs(fixed - oracle)[inside].max(initial=0) <= tolerance
    np.testing.assert_array_equal(np.sign(fixed[~inside]), np.sign(oracle[~inside]))


def test_without_the_compiled_code_there_is_an_error_and_no_fallback(monkeypatch):
    monkeypatch.setitem(sys.modules, "earmark_dsp._native", None)
    monkeypatch.delitem(sys.modules, "earmark_dsp.native")
    with pytest.raises(EarmarkError, match="compiled front end is missing"):
        importlib.import_module("earmark_dsp.native")


def test_state_and_scratch_fit_8_kib():
    for spec in SPECS:
        assert FrontEnd(spec).state_bytes <= 8192
