"""Manifests, decoding, alarm signals and scenes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import soundfile
from earmark_datasets import audio, esc, locate, mix, synth
from earmark_datasets.manifest import Clip, Manifest, load_manifest, save_manifest
from earmark_dsp.errors import EarmarkError
from hypothesis import given, settings
from hypothesis import strategies as st

RATE_HZ = 16000


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EARMARK_CACHE", str(tmp_path / "cache"))


def write(path, samples, rate_hz=RATE_HZ, **kwargs):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate_hz, **kwargs)
    return path


def test_a_manifest_survives_a_round_trip(tmp_path):
    path = write(tmp_path / "Tür und Tor" / "hüsteln 1.wav", np.zeros(100))
    manifest = Manifest(
        (Clip(path, "cough", 2, "g1", "mine", "CC0", "me, myself", 0.5, 1.25), Clip(path, "dog"))
    )
    save_manifest(manifest, tmp_path / "manifest.csv")
    loaded = load_manifest(tmp_path / "manifest.csv")
    assert [c.path.resolve() for c in loaded.clips] == [path.resolve()] * 2
    assert loaded.clips[0] == replace(manifest.clips[0], path=loaded.clips[0].path)
    assert loaded.labels == ("cough", "dog")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a manifest"),
        ("name,label\na.wav,dog\n", "not a manifest"),
        ("path,label\na.wav,Dog Bark\n", "line 2.*'Dog Bark'"),
        ("path,label,fold\na.wav,dog,one\n", "line 2.*'one'"),
        ("path,label,onset_s,offset_s\na.wav,dog,2,1\n", "before it starts"),
        ("path,label,onset_s\na.wav,dog,nan\n", "not a time"),
        ("path,label\nnowhere.wav,dog\n", "1 of 1 files are missing: .*nowhere.wav"),
    ],
)
def test_a_bad_manifest_is_one_message(tmp_path, text, message):
    path = tmp_path / "m.csv"
    path.write_text(text)
    with pytest.raises(EarmarkError, match=message):
        load_manifest(path)


def test_a_split_never_divides_a_group():
    clips = [Clip(None, "dog", 1, "a"), Clip(None, "dog", 2, "b")]
    train, test = Manifest(tuple(clips)).split(2)
    assert (len(train.clips), test.clips[0].group) == (1, "b")
    with pytest.raises(EarmarkError, match="both sides"):
        Manifest((*clips, Clip(None, "dog", 2, "a"))).split(2)
    with pytest.raises(EarmarkError, match="fold 7 holds no clip"):
        Manifest(tuple(clips)).split(7)


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT", "PCM_U8"])
def test_any_sample_format_becomes_int16(tmp_path, subtype):
    wave = 0.5 * np.sin(2 * np.pi * 440 * np.arange(RATE_HZ) / RATE_HZ)
    pcm = audio.read_pcm(write(tmp_path / "a.wav", wave, subtype=subtype))
    assert pcm.dtype == np.int16
    assert np.abs(pcm / 32768 - wave).max() < (0.01 if subtype == "PCM_U8" else 1e-4)


def test_stereo_at_another_rate_is_converted_with_a_note(tmp_path):
    time_s = np.arange(44100) / 44100
    wave = np.stack([np.sin(2 * np.pi * 440 * time_s), np.zeros(44100)], axis=1)
    with pytest.warns(audio.AudioNote, match="2 channels averaged, resampled from 44100 to 16000"):
        pcm = audio.read_pcm(write(tmp_path / "a.wav", wave, 44100))
    spectrum = np.abs(np.fft.rfft(pcm[:16000]))
    assert abs(len(pcm) - 16000) <= 1
    assert spectrum.argmax() == 440


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "does not exist"), (b"", "cannot be read"), (b"RIFF nonsense" * 9, "cannot be read")],
)
def test_unreadable_audio_is_one_message(tmp_path, content, message):
    path = tmp_path / "bad.wav"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(EarmarkError, match=message):
        audio.read_pcm(path)


def test_empty_audio_is_one_message(tmp_path):
    with pytest.raises(EarmarkError, match="holds no audio"):
        audio.read_pcm(write(tmp_path / "empty.wav", np.zeros(0)))


def test_the_cache_notices_a_changed_file_and_a_damaged_entry(tmp_path):
    path = write(tmp_path / "a.wav", np.full(1000, 0.25))
    first = audio.read_pcm_cached(path)
    assert np.array_equal(audio.read_pcm_cached(path), first)
    (entry,) = (tmp_path / "cache").glob("pcm/*/*.npy")
    entry.write_bytes(entry.read_bytes()[:40])
    assert np.array_equal(audio.read_pcm_cached(path), first)
    write(path, np.full(2000, 0.5))
    assert len(audio.read_pcm_cached(path)) == 2000


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.touch()
    monkeypatch.setenv("EARMARK_CACHE", str(blocked / "below"))
    assert len(audio.read_pcm_cached(write(tmp_path / "a.wav", np.full(10, 0.1)))) == 10


def pulses(signal, rate_hz=RATE_HZ):
    """Onsets and durations in seconds of what sounds, gaps under 20 ms closed."""
    on = np.convolve(np.abs(signal) > 0.05, np.ones(rate_hz // 50), "same") > 0
    edges = np.flatnonzero(np.diff(np.pad(on.astype(int), 1)))
    return edges[::2] / rate_hz, (edges[1::2] - edges[::2]) / rate_hz


@pytest.mark.parametrize(
    ("cadence", "onsets_s", "pulse_s", "cycle_s"),
    [(synth.T3, [0, 1, 2], 0.5, 4.0), (synth.T4, [0, 0.2, 0.4, 0.6], 0.1, 5.7)],
)
def test_alarms_follow_their_standard(cadence, onsets_s, pulse_s, cycle_s):
    signal = synth.alarm(
        cadence, 2 * cycle_s, np.random.default_rng(1), voice=synth.Voice(3100), exact=True
    )
    onsets, durations = pulses(signal)
    assert cadence.cycle_s == pytest.approx(cycle_s)
    expected = [start + cycle * cycle_s for cycle in range(2) for start in onsets_s]
    assert onsets == pytest.approx(expected, abs=0.02)
    assert durations == pytest.approx([pulse_s] * len(expected), abs=0.03)


@given(st.integers(0, 1000), st.sampled_from([synth.T3, synth.T4]))
@settings(max_examples=25, deadline=None)
def test_drawn_alarms_stay_within_tolerance(seed, cadence):
    signal = synth.alarm(cadence, 20.0, np.random.default_rng(seed))
    assert np.abs(signal).max() <= 1.3
    onsets, durations = pulses(signal)
    whole = durations[1:-1]
    assert np.all(whole > 0.85 * cadence.pulse_s)
    assert np.all(whole < 1.15 * cadence.pulse_s + 0.03)
    assert len(onsets) >= 3 * cadence.n_pulses - 1


@given(st.floats(0, 2), st.integers(0, 99))
@settings(max_examples=15, deadline=None)
def test_coloured_noise_has_its_slope_and_level(exponent, seed):
    noise = synth.coloured_noise(1 << 16, exponent, np.random.default_rng(seed))
    power = np.abs(np.fft.rfft(noise)) ** 2
    frequency_hz = np.fft.rfftfreq(len(noise), 1 / RATE_HZ)
    low = power[(frequency_hz > 100) & (frequency_hz < 200)].mean()
    high = power[(frequency_hz > 3200) & (frequency_hz < 6400)].mean()
    assert mix.rms(noise) == pytest.approx(1, rel=1e-6)
    assert np.log2(low / high) / 5 == pytest.approx(exponent, abs=0.15)


def test_a_scene_places_sounds_at_their_onset_and_level():
    rng = np.random.default_rng(3)
    burst = np.concatenate([np.zeros(5000), rng.standard_normal(16000), np.zeros(9000)])
    scene = mix.mix_scene(
        duration_s=10,
        background=synth.coloured_noise(RATE_HZ, 0, rng),
        sounds=[(6.0, mix.Sound(burst, "dog", "x", 20)), (2.0, mix.Sound(burst, "cough", "y", 30))],
        rng=rng,
    )
    assert len(scene.pcm) == 10 * RATE_HZ
    assert [(e.label, e.onset_s) for e in scene.events] == [("cough", 2.0), ("dog", 6.0)]

    def level_db(begin_s, end_s):
        part = scene.pcm[round(begin_s * RATE_HZ) : round(end_s * RATE_HZ)]
        return 20 * np.log10(mix.rms(part / 32768))

    assert level_db(0, 2) == pytest.approx(-50, abs=0.5)
    assert level_db(6.1, 6.9) == pytest.approx(-30, abs=0.7)
    assert level_db(2.1, 2.9) == pytest.approx(-20, abs=0.7)
    assert scene.events[1].offset_s - 6.0 == pytest.approx(1.0, abs=0.05)


def test_a_sound_that_does_not_fit_is_refused():
    with pytest.raises(EarmarkError, match="does not fit"):
        mix.mix_scene(
            duration_s=1,
            background=np.ones(100),
            sounds=[(0.5, mix.Sound(np.ones(RATE_HZ), "dog"))],
            rng=np.random.default_rng(0),
        )


def test_a_room_keeps_the_direct_sound():
    response = mix.room_response(np.random.default_rng(5))
    assert response[0] == 1
    assert np.abs(response).max() == 1
    assert len(response) > RATE_HZ // 20


@given(st.integers(0, 99))
@settings(max_examples=15, deadline=None)
def test_a_microphone_is_smooth_and_neutral_at_1_khz(seed):
    response = mix.microphone_response(np.random.default_rng(seed))
    level_db = 20 * np.log10(np.abs(np.fft.rfft(response, 1600)))  # every 10 Hz
    assert level_db[100] == pytest.approx(0, abs=0.6)
    assert np.abs(level_db[30:700]).max() < 7
    assert level_db[0] < level_db[12]
    assert response == pytest.approx(response[::-1])


def test_a_scene_through_a_microphone_keeps_its_onsets():
    impulse = np.concatenate([[1.0], np.zeros(400)])
    arguments = {
        "duration_s": 2,
        "background": np.random.default_rng(1).standard_normal(RATE_HZ),
        "sounds": [(1.0, mix.Sound(impulse, "click", snr_db=60))],
        "background_dbfs": -70.0,
    }
    microphone = mix.microphone_response(np.random.default_rng(2))
    plain = mix.mix_scene(rng=np.random.default_rng(3), **arguments)
    heard = mix.mix_scene(rng=np.random.default_rng(3), microphone=microphone, **arguments)
    assert len(heard.pcm) == len(plain.pcm)
    assert np.abs(heard.pcm).argmax() == pytest.approx(np.abs(plain.pcm).argmax(), abs=2)
    assert not np.array_equal(heard.pcm, plain.pcm)


def test_esc10_is_read_whole_with_its_folds():
    root = locate.find_dataset("ESC-10")
    if root is None:
        pytest.skip("ESC-10 is not on this machine")
    manifest = esc.load_esc10(root)
    assert len(manifest.clips) == 400
    per_fold = {f: sum(c.fold == f for c in manifest.clips) for f in manifest.folds}
    assert per_fold == dict.fromkeys(range(1, 6), 80)
    assert all(c.licence for c in manifest.clips)
    for fold in manifest.folds:
        manifest.split(fold)


def test_esc10_with_changed_folds_is_refused(tmp_path):
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta/esc50.csv").write_text(
        "filename,fold,target,category,esc10,src_file,take\n1-1-A-0.wav,2,0,dog,True,1,A\n"
    )
    with pytest.raises(EarmarkError, match="official folds"):
        esc.load_esc10(tmp_path)


def test_a_named_data_folder_that_does_not_exist_is_an_error(monkeypatch, tmp_path):
    monkeypatch.setenv("EARMARK_DATA", str(tmp_path / "typo"))
    with pytest.raises(EarmarkError, match="EARMARK_DATA"):
        locate.find_dataset("ESC-10")
