"""`earmark simulate`: what it says about input that cannot work, and how it prepares audio."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile as sf
from earmark_dsp.errors import EarmarkError
from earmark_training.cli import main
from earmark_training.deploy.simulate_cli import _prepare_wav, _split_address
from firmware_kit import evening, write_wav


def run(capsys, *arguments: object) -> tuple[int, str]:
    with pytest.raises(SystemExit) as stop:
        main(["simulate", *map(str, arguments)])
    return int(stop.value.code), capsys.readouterr().err


@pytest.mark.parametrize("address", ["localhost", "localhost:", ":1883", "h:x", "h:0", "h:70000"])
def test_an_address_that_is_none_is_refused(address):
    with pytest.raises(EarmarkError, match="is not HOST:PORT"):
        _split_address(address)


def test_a_missing_bundle_is_one_message(capsys, tmp_path, evening_wav):
    status, text = run(capsys, tmp_path / "none", "--wav", evening_wav)
    assert status == 1
    assert "is not a model bundle" in text
    assert "Traceback" not in text


def test_fitting_audio_is_used_as_it_is(tmp_path):
    wav = write_wav(tmp_path / "a.wav", evening(1))
    assert _prepare_wav(wav, 16000, tmp_path) == wav


def test_other_rates_and_channels_are_converted_with_a_note(tmp_path, capsys):
    """A 1 kHz tone in stereo at 44.1 kHz keeps its pitch, length and level."""
    t = np.arange(44100) / 44100
    tone = 0.5 * np.sin(2 * np.pi * 1000 * t)
    source = tmp_path / "stereo.flac"
    sf.write(source, np.stack([tone, tone], axis=1), 44100)
    target = _prepare_wav(source, 16000, tmp_path)
    pcm, rate = sf.read(target, dtype="int16")
    assert rate == 16000
    assert abs(len(pcm) - 16000) <= 1
    spectrum = np.abs(np.fft.rfft(pcm[:16000] * np.hanning(len(pcm[:16000]))))
    assert np.argmax(spectrum) == 1000
    assert np.abs(pcm[2000:-2000]).max() == pytest.approx(0.5 * 32768, rel=0.01)
    assert "converted from 44100 Hz" in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"", b"not audio at all"])
def test_unreadable_audio_is_one_message(tmp_path, content):
    path = tmp_path / "x.wav"
    path.write_bytes(content)
    with pytest.raises(EarmarkError, match="cannot be read as audio"):
        _prepare_wav(path, 16000, tmp_path)


def test_audio_without_samples_is_refused(tmp_path):
    path = write_wav(tmp_path / "empty.wav", np.zeros(0, "<i2"))
    with pytest.raises(EarmarkError, match="holds no audio"):
        _prepare_wav(path, 16000, tmp_path)
