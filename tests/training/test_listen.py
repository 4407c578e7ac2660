"""`earmark listen`: the same events as the streaming evaluation, however the audio arrives."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import soundfile
from earmark_datasets import microphone
from earmark_dsp.errors import EarmarkError
from earmark_training import listen, listen_cli
from earmark_training.detector import Event, Phase
from earmark_training.stream import run_bundle
from rich.console import Console
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parent))

import bundle_kit


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return bundle_kit.make_bundle(tmp_path_factory.mktemp("listen") / "bundle")


@pytest.fixture(scope="module")
def evening():
    return bundle_kit.evening()[0]


@pytest.mark.parametrize("n_chunk", [160, 1777, 16000])
def test_events_do_not_depend_on_the_chunks(bundle, evening, n_chunk):
    listener = listen.Listener(bundle)
    heard = [listener.process(evening[i : i + n_chunk]) for i in range(0, len(evening), n_chunk)]
    events = [event for one in heard for event in one.events]
    assert events == run_bundle(bundle, evening)
    assert {e.label for e in events} == {"smoke_alarm", "co_alarm", "hum"}
    assert heard[-1].at_s == pytest.approx(len(evening) / bundle_kit.RATE)


def test_level_is_the_rms_relative_to_full_scale():
    sine = np.rint(32767 * np.sin(2 * np.pi * np.arange(1600) / 16)).astype(np.int16)
    assert microphone.level_dbfs(sine) == pytest.approx(-3.01, abs=0.02)
    assert microphone.level_dbfs(np.zeros(100, np.int16)) == microphone.SILENCE_DBFS
    assert microphone.level_dbfs(np.zeros(0, np.int16)) == microphone.SILENCE_DBFS


def run(*arguments):
    return CliRunner().invoke(listen_cli.app, [str(a) for a in arguments])


def test_a_stereo_recording_at_another_rate_prints_the_events(bundle, evening, tmp_path):
    wav = tmp_path / "küche 1.flac"
    soundfile.write(wav, np.repeat(evening, 3).repeat(2).reshape(-1, 2), 48000)
    result = run(bundle.path, "--wav", wav, "--fast", "--json")
    assert result.exit_code == 0, result.output
    told = [json.loads(line) for line in result.stdout.splitlines()]
    starts = [(e["event"], e["onset_s"]) for e in told if e["phase"] == "start"]
    assert [label for label, _ in starts] == ["hum", "smoke_alarm", "co_alarm"]
    assert dict(starts)["smoke_alarm"] == pytest.approx(15, abs=0.3)
    assert "3 events" not in result.stdout
    stopped = run(bundle.path, "--wav", wav, "--fast", "--json", "--seconds", "12")
    assert {json.loads(line)["event"] for line in stopped.stdout.splitlines()} == {"hum"}


def test_without_json_people_read_lines(bundle, evening, tmp_path):
    wav = tmp_path / "a.wav"
    soundfile.write(wav, evening, bundle_kit.RATE)
    result = run(bundle.path, "--wav", wav, "--fast")
    assert result.exit_code == 0
    assert "smoke_alarm  confidence" in result.stdout
    assert result.stdout.splitlines()[-1] == f"{len(run_bundle(bundle, evening))} events"


def test_the_screen_shows_level_leading_labels_and_events():
    console = Console(width=100, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    scores = {f"label_{i}": i / 10 for i in range(9)}
    event = Event("label_8", Phase.START, 3.0, 2.5, 0.0, 0.8, 0.5, 1)
    console.print(listen_cli.screen("a.wav", listen.Heard(3.0, -20.0, scores, []), [event]))
    text = console.export_text()
    assert "-20 dBFS" in text
    assert [name for name in scores if f"{name} " in text] == [f"label_{i}" for i in range(4, 9)]
    assert "3.00 s  start   label_8" in text


class _PortAudioError(Exception):
    pass


def fake_sounddevice(blocks=(), error=None):
    """PortAudio as far as `listen` uses it; the callback comes while the stream is opened."""

    class InputStream:
        def __init__(self, **options):
            assert (options["channels"], options["dtype"]) == (1, "int16")
            if error:
                raise _PortAudioError(error)
            self.options = options

        def __enter__(self):
            for block in blocks:
                self.options["callback"](block[:, None], len(block), None, None)
            return self

        def __exit__(self, *_):
            pass

    return types.SimpleNamespace(InputStream=InputStream, PortAudioError=_PortAudioError)


def test_a_microphone_gives_its_blocks_and_says_when_it_stops(monkeypatch):
    blocks = [np.full(1600, i, np.int16) for i in range(3)]
    monkeypatch.setattr(microphone, "sounddevice_module", lambda: fake_sounddevice(blocks))
    monkeypatch.setattr(microphone, "QUEUE_S", 0.5)
    chunks = microphone.microphone_chunks(16000)
    for block in blocks:
        assert np.array_equal(next(chunks), block)
    with pytest.raises(EarmarkError, match="has stopped"):
        next(chunks)


def test_without_a_microphone_there_is_one_message(bundle, monkeypatch):
    fake = fake_sounddevice(error="Error querying device -1")
    monkeypatch.setattr(microphone, "sounddevice_module", lambda: fake)
    result = run(bundle.path, "--json")
    assert isinstance(result.exception, EarmarkError)
    assert "no microphone can be opened: Error querying device -1" in str(result.exception)
    assert "--wav" in str(result.exception)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(EarmarkError, match=r"earmark\[live\]"):
        microphone.sounddevice_module()
