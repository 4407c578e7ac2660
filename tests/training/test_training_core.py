"""Augmentation, epochs, training, quantisation and voting."""

from __future__ import annotations

import numpy as np
import pytest
from earmark_datasets import synth
from earmark_datasets.audio import to_int16, write_wav
from earmark_datasets.manifest import Clip, Manifest
from earmark_dsp.errors import EarmarkError
from earmark_dsp.native import extract
from earmark_dsp.spec import load_spec
from earmark_training import augment, evaluate, networks, windows
from earmark_training.quantize import check_input_quantisation, quantize
from earmark_training.train import Recipe, all_labels, train
from hypothesis import given, settings
from hypothesis import strategies as st

RATE_HZ = 16000


@pytest.fixture(scope="module")
def spec():
    return load_spec("pcen-64-20ms")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two kinds of sound that any network can tell apart, four clips each."""
    folder = tmp_path_factory.mktemp("sounds")
    clips = []
    for number in range(4):
        rng = np.random.default_rng(number)
        tone = synth.tone(synth.Voice(500 + 20 * number), 3 * RATE_HZ)
        noise = synth.coloured_noise(3 * RATE_HZ, 1, rng)
        for label, samples in (("hum", 0.3 * tone), ("hiss", 0.1 * noise)):
            path = folder / f"{label}{number}.wav"
            write_wav(path, to_int16(samples))
            clips.append(Clip(path, label, fold=number % 2, group=f"{label}{number}"))
    return Manifest(tuple(clips))


@given(st.floats(1e-4, 1), st.floats(1e-4, 1), st.floats(0.05, 0.95))
def test_a_mixture_is_heard_in_the_share_it_is_labelled_with(level_a, level_b, share):
    weight = augment.mix_ratio(level_a, level_b, share)
    heard_a, heard_b = weight * level_a, (1 - weight) * level_b
    assert heard_a / (heard_a + heard_b) == pytest.approx(share, rel=1e-6)


@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(0, 9))
def test_fitting_only_cuts_or_pads(n_in, n_out, seed):
    samples = np.arange(1, n_in + 1)
    out = augment.fit(samples, n_out, np.random.default_rng(seed))
    assert len(out) == n_out
    kept = out[out > 0]
    assert len(kept) == min(n_in, n_out)
    assert np.all(np.diff(kept) == 1)


@given(st.integers(0, 50))
@settings(max_examples=20, deadline=None)
def test_padding_carries_the_floor(seed):
    rng = np.random.default_rng(seed)
    padded = np.concatenate([np.zeros(RATE_HZ), 0.5 * rng.standard_normal(RATE_HZ)])
    options = augment.Augmentation(noise_floor_dbfs=(-75.0, -50.0))
    pcm = augment.finish(padded, rng, options, RATE_HZ)
    assert pcm.dtype == np.int16
    assert np.count_nonzero(pcm[:RATE_HZ]) > RATE_HZ // 2


@given(st.sampled_from((0, 0.5, 1, 2)), st.integers(0, 5))
@settings(max_examples=12, deadline=None)
def test_noise_falls_as_told(exponent, seed):
    cut = augment.noise(4 * RATE_HZ, exponent, np.random.default_rng(seed), RATE_HZ)
    power = np.abs(np.fft.rfft(cut)) ** 2
    per_octave = [power[4 * f : 8 * f].mean() for f in (250, 500, 1000, 2000)]
    slopes_db = -np.diff(10 * np.log10(per_octave))
    assert slopes_db == pytest.approx(10 * np.log10(2) * exponent, abs=0.6)
    assert np.sqrt(np.mean(cut**2)) == pytest.approx(1, abs=0.5 if exponent == 2 else 0.1)


def test_rooms_and_microphones_keep_the_time_and_change_the_sound():
    pulse = np.zeros(2 * RATE_HZ, np.float32)
    pulse[RATE_HZ] = 1
    options = augment.Augmentation(room_probability=1, eq_db=0)
    heard = augment.place(pulse, np.random.default_rng(3), options, RATE_HZ)
    # Simulated responses start within their interpolation filter of the direct sound.
    assert np.abs(heard[: RATE_HZ - 100]).max() < 1e-3
    tail = np.sum(heard[RATE_HZ + 800 :] ** 2) / np.sum(heard**2)
    assert tail > 0.01
    dry = augment.place(
        pulse, np.random.default_rng(3), augment.Augmentation(room_probability=0, eq_db=0), RATE_HZ
    )
    assert dry == pytest.approx(pulse, abs=1e-5)


@given(st.integers(0, 20))
@settings(max_examples=10, deadline=None)
def test_speed_changes_length_and_pitch_together(seed):
    time_s = np.arange(RATE_HZ) / RATE_HZ
    tone = np.sin(2 * np.pi * 440 * time_s).astype(np.float32)
    out = augment.change_speed(tone, np.random.default_rng(seed), 0.2)
    peak_hz = np.abs(np.fft.rfft(out, 16 * RATE_HZ)).argmax() / 16
    assert peak_hz * len(out) / RATE_HZ == pytest.approx(440, rel=0.01)


def test_an_epoch_labels_windows_by_what_sounds_in_them(spec):
    labels = ("background", "co_alarm", "dog", "smoke_alarm")
    rng = np.random.default_rng(1)
    half_silent = np.zeros(5 * RATE_HZ, np.float32)
    half_silent[: 2 * RATE_HZ] = 0.3 * rng.standard_normal(2 * RATE_HZ)
    plan = windows.EpochPlan(windows_per_clip=40, n_alarm_clips=2, n_background_clips=3)
    drawn = windows.make_epoch(
        [windows.LabelledClip(half_silent, 2)],
        labels=labels,
        spec=spec,
        plan=plan,
        options=augment.Augmentation(mix_probability=0, speed=0, room_probability=0),
        rng=rng,
    )
    assert drawn.windows.shape == (8 * 40, spec.context_frames, spec.n_features)
    assert drawn.windows.dtype == np.int8
    assert np.allclose(drawn.targets.sum(1), 1)
    share = drawn.targets.mean(0) * 8
    # A window hears something in 2 of the 4 s of possible starts; others are drawn again, once.
    assert share[2] == pytest.approx(1 - 0.5**2, abs=0.2)
    assert 1 < share[3] <= 2
    # T4 is silent for 5 of 5.7 s.
    assert share[1] < share[3]
    assert share.sum() == pytest.approx(8)


def test_epochs_are_the_device_integers_and_repeat_by_seed(spec):
    clip = windows.LabelledClip(np.full(5 * RATE_HZ, 0.1, np.float32), 1)
    draw = lambda seed: windows.make_epoch(  # noqa: E731
        [clip],
        labels=("background", "co_alarm", "smoke_alarm"),
        spec=spec,
        plan=windows.EpochPlan(2, 1, 1),
        options=augment.Augmentation(),
        rng=np.random.default_rng(seed),
    )
    first, again, other = draw(3), draw(3), draw(4)
    assert np.array_equal(first.windows, again.windows)
    assert np.array_equal(first.targets, again.targets)
    assert not np.array_equal(first.windows, other.windows)


def test_presets_are_named():
    with pytest.raises(EarmarkError, match="choose one of tiny"):
        networks.build("huge", (50, 64), 3)


@given(st.integers(1, 6), st.integers(0, 3))
def test_background_windows_never_decide_a_vote(n_windows, winner):
    labels = ("a", "b", "background", "c")
    scores = np.zeros((n_windows, 4))
    scores[:, 2] = 0.99
    scores[0, winner] += 0.005
    vote = evaluate.vote(scores, labels)
    assert vote != 2
    assert vote == (winner if winner != 2 else 0)


def test_a_single_differing_integer_is_found():
    a = [np.zeros((3, 2), np.int8), np.zeros((2, 2), np.int8)]
    assert evaluate.require_identical(a, [x.copy() for x in a]) == 5
    b = [a[0], np.array([[0, 0], [0, 1]], np.int8)]
    with pytest.raises(EarmarkError, match="clip 1, window 1"):
        evaluate.require_identical(a, b)


@pytest.fixture(scope="module")
def trained(spec, data, tmp_path_factory):
    recipe = Recipe(
        epochs=8,
        plan=windows.EpochPlan(6, 6, 12),
        seed=7,
        n_shards=6,
        fresh=windows.EpochPlan(2, 3, 4),
    )
    folder = tmp_path_factory.mktemp("work")
    return recipe, train(data, spec=spec, recipe=recipe, work_dir=folder)


@pytest.mark.slow
def test_training_learns_and_repeats_bit_by_bit(spec, data, trained, tmp_path):
    recipe, result = trained
    assert result.labels == all_labels(data) == ("background", "co_alarm", "hiss", "hum",
                                                 "smoke_alarm")  # fmt: skip
    assert result.losses[-1] < 0.8 * result.losses[0]

    # Interrupted two epochs after a checkpoint, then resumed from it: the same weights.
    class StopError(Exception):
        pass

    def stop(epoch, *_):
        if epoch == 7:
            raise StopError

    with pytest.raises(StopError):
        train(data, spec=spec, recipe=recipe, work_dir=tmp_path, progress=stop)
    again = train(data, spec=spec, recipe=recipe, work_dir=tmp_path)
    for left, right in zip(result.model.get_weights(), again.model.get_weights(), strict=True):
        assert np.array_equal(left, right)

    # The file too, whatever the process built before.
    networks.build("tiny", (spec.context_frames, spec.n_features), 3)
    assert quantize(again.model, _cut(spec), spec) == quantize(result.model, _cut(spec), spec)


def _cut(spec):
    pcm = to_int16(0.2 * synth.coloured_noise(8 * RATE_HZ, 1, np.random.default_rng(2)))
    rows = extract(spec, pcm)
    return np.stack([rows[i : i + spec.context_frames] for i in range(0, 300, 10)])


@pytest.mark.slow
def test_quantised_input_is_the_front_end_output(spec, trained):
    _, result = trained
    tflite = quantize(result.model, _cut(spec), spec)
    check_input_quantisation(tflite, spec)
    with pytest.raises(EarmarkError, match="front end logmel-64-20ms gives"):
        check_input_quantisation(tflite, load_spec("logmel-64-20ms"))


class _Table:
    """A network that looks its outputs up; remembers what it was asked."""

    def __init__(self, outputs):
        self.outputs = np.asarray(outputs, np.int8)
        self.asked = []

    def invoke(self, batch):
        self.asked += batch[:, 0, 0].tolist()
        return self.outputs[batch[:, 0, 0]]


def test_tflm_decides_wherever_the_faster_kernels_and_c_differ():
    cut = np.arange(4, dtype=np.int8)[:, None, None]
    by_tflm = _Table([[1, 2], [3, 4], [5, 6], [7, 8]])
    reference = _Table([[1, 2], [3, 5], [5, 6], [7, 8]])
    found, n = evaluate.judged_by_tflm(by_tflm, reference, cut, by_tflm.outputs, always=[0])
    assert np.array_equal(found, by_tflm.outputs)
    assert n == 2
    assert by_tflm.asked == [0, 1]
    # A defect of C is not covered up: TFLM's integers are returned, not C's.
    wrong = by_tflm.outputs.copy()
    wrong[2, 0] = 0
    found, _ = evaluate.judged_by_tflm(by_tflm, reference, cut, wrong, always=[])
    with pytest.raises(EarmarkError, match="window 2"):
        evaluate.require_identical([found], [wrong])
