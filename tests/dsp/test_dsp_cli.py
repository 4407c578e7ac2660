"""`earmark dsp`: files written, work resumed, mistakes answered with one message."""

from __future__ import annotations

import wave

import numpy as np
import pytest
from dsp_cases import RATE_HZ, cases
from earmark_dsp import batch
from earmark_dsp.autotune import fit_output, propose
from earmark_dsp.cli import app
from earmark_dsp.errors import EarmarkError
from earmark_dsp.native import extract
from earmark_dsp.spec import load_spec
from typer.testing import CliRunner

pytest.importorskip("soundfile", reason="reading audio files needs the training extra")


def _write_wav(path, pcm, rate_hz=RATE_HZ):
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(pcm.tobytes())


def _run(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)))


def _refused(*arguments):
    result = _run(*arguments)
    assert isinstance(result.exception, EarmarkError), result.output
    return result.exception


@pytest.fixture
def recordings(tmp_path):
    folder = tmp_path / "recordings"
    _write_wav(folder / "a" / "noise.wav", cases()["white_noise"])
    _write_wav(folder / "b" / "chirp.wav", cases()["chirp_up"])
    return folder


def test_extract_writes_the_rows_of_the_c_code_and_resumes(recordings, tmp_path):
    out = tmp_path / "features"
    assert _run("extract", "pcen-64-20ms", recordings, "-o", out, "--jobs", "2").exit_code == 0
    spec = load_spec("pcen-64-20ms")
    rows = np.load(out / "a" / "noise.wav.npy")
    np.testing.assert_array_equal(rows, extract(spec, cases()["white_noise"]))
    assert load_spec(out / "frontend.toml") == spec
    (out / "b" / "chirp.wav.npy").unlink()
    kept = (out / "a" / "noise.wav.npy").stat().st_mtime_ns
    result = _run("extract", "pcen-64-20ms", recordings, "-o", out)
    assert "1 files written" in result.output
    assert "1 kept" in result.output
    assert (out / "a" / "noise.wav.npy").stat().st_mtime_ns == kept
    assert (out / "b" / "chirp.wav.npy").exists()


def test_extract_refuses_to_mix_front_ends(recordings, tmp_path):
    out = tmp_path / "features"
    assert _run("extract", "pcen-64-20ms", recordings, "-o", out).exit_code == 0
    assert "another front end" in _refused("extract", "mfcc-13", recordings, "-o", out).what


def test_extract_names_unreadable_files_and_keeps_the_others(recordings, tmp_path):
    (recordings / "broken.wav").write_bytes(b"not audio")
    out = tmp_path / "features"
    assert "broken.wav" in _refused("extract", "mfcc-13", recordings, "-o", out).what
    assert len(list(out.rglob("*.npy"))) == 2


def test_an_interrupted_file_is_not_taken_for_complete(recordings, tmp_path, monkeypatch):
    def interrupted(file, rows):
        file.write(rows.tobytes()[:10])
        raise KeyboardInterrupt

    monkeypatch.setattr(batch.np, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        batch.extract_folder(load_spec("mfcc-13"), recordings, tmp_path / "out", jobs=1)
    assert not list((tmp_path / "out").rglob("*.npy"))


def test_other_sample_rates_are_resampled(tmp_path):
    tone = np.rint(8000 * np.sin(2 * np.pi * 1000 * np.arange(44100) / 44100)).astype(np.int16)
    _write_wav(tmp_path / "in" / "tone.wav", tone, 44100)
    assert _run("extract", "logmel-64-20ms", tmp_path / "in", "-o", tmp_path / "out").exit_code == 0
    rows = np.load(tmp_path / "out" / "tone.wav.npy")
    assert len(rows) == load_spec("logmel-64-20ms").n_frames(RATE_HZ)


def test_missing_folders_and_empty_folders(tmp_path):
    assert "not a folder" in _refused("extract", "mfcc-13", tmp_path / "no", "-o", tmp_path).what
    (tmp_path / "empty").mkdir()
    assert "no audio" in _refused("autotune", tmp_path / "empty").what
    assert "no front end is called" in _refused("show", "nothing").what


def test_generate_writes_a_folder_that_compiles_alone(tmp_path):
    import subprocess

    from tools import require_tool

    compiler = require_tool("gcc", "cc", "clang")
    result = _run("generate", "yamnet-64", "-o", tmp_path / "c")
    assert result.exit_code == 0
    assert load_spec("yamnet-64").hash_hex in result.output
    sources = sorted(str(path) for path in (tmp_path / "c").glob("*.c"))
    assert len(sources) == 5
    subprocess.run(
        [compiler, "-std=c11", "-Wall", "-Werror", "-fsyntax-only", "-I", tmp_path / "c", *sources],
        check=True,
    )


@pytest.mark.parametrize("name", ["yamnet-64", "mfcc-13"])
def test_show_draws_and_reports_the_agreement(name, recordings, tmp_path):
    pytest.importorskip("matplotlib")
    picture = tmp_path / "out" / "picture.png"
    result = _run("show", name, "--audio", recordings / "a" / "noise.wav", "-o", picture)
    assert result.exit_code == 0, result.output
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert load_spec(name).hash_hex in result.output
    assert "within 1 int8 step" in result.output


def test_list_names_every_front_end():
    assert "yamnet-64" in _run("list").output


def test_autotune_writes_a_valid_spec_with_its_reasons(recordings, tmp_path):
    out = tmp_path / "mine.toml"
    result = _run("autotune", recordings, "-o", out)
    assert result.exit_code == 0, result.output
    assert load_spec(out).name == "autotuned"
    assert "# bands from" in out.read_text()


def _bursts(frequency_hz, seed, amplitude):
    rng = np.random.default_rng(seed)
    t = np.arange(RATE_HZ) / RATE_HZ
    burst = np.sin(2 * np.pi * frequency_hz * t) * (t % 0.25 < 0.1)
    return np.rint(amplitude * (burst + 0.05 * rng.standard_normal(t.size))).astype(np.int16)


def test_autotune_follows_the_material():
    low = [_bursts(400 + 40 * i, i, 5000) for i in range(6)]
    high = [_bursts(3000 + 100 * i, i, 5000) for i in range(6)]
    narrow = propose(low).spec
    assert narrow.fmax_hz >= propose(high).spec.fmin_hz
    labels = ["low"] * 6 + ["high"] * 6
    labelled = propose([*low, *high], labels=labels)
    assert max(labelled.scores.values()) > 0.9
    assert len(labelled.reasons) == 4
    loudness = [_bursts(1000, i, 20 * 4**i) for i in range(5)]
    assert "pcen" in " ".join(propose(loudness).reasons)
    equal = [_bursts(1000, i, 5000) for i in range(5)]
    assert "log, 64 bands" in " ".join(propose(equal).reasons)


def test_fitted_output_uses_int8_and_float32():
    signals = [cases()[name] for name in ("white_noise", "clipped_speech", "silence")]
    spec = fit_output(load_spec("logmel-64-20ms"), signals)
    rows = np.concatenate([extract(spec, pcm) for pcm in signals])
    assert rows.min() == -128
    assert rows.max() > 115
    assert (rows == 127).mean() < 0.002
    assert np.float32(spec.output_scale) == spec.output_scale
