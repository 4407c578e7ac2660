"""Mel energies against the C front end, and the windows mixed from them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from earmark_datasets import synth
from earmark_datasets.audio import to_int16
from earmark_dsp.native import extract
from earmark_dsp.spec import list_specs, load_spec
from earmark_training import augment, energies, pipeline
from earmark_training.fresh import FreshWindows
from earmark_training.shards import Needs, Shards
from earmark_training.training_set import TrainingSet
from earmark_training.windows import EpochPlan, LabelledClip

RATE_HZ = 16000
LABELS = ("background", "co_alarm", "hiss", "hum", "smoke_alarm")
PLAN = EpochPlan(windows_per_clip=6, n_alarm_clips=3, n_background_clips=5)
PLAIN = augment.Augmentation(
    mix_probability=0, speed=0, room_probability=0, background_probability=0, eq_db=0
)


def _hiss(seed, n_s=5.0):
    samples = synth.coloured_noise(round(n_s * RATE_HZ), 1, np.random.default_rng(seed))
    return (0.1 * samples).astype(np.float32)


def _hum(seed):
    return (0.3 * synth.tone(synth.Voice(250 + seed), 5 * RATE_HZ)).astype(np.float32)


def _groups():
    return {
        str(fold): [LabelledClip(_hiss(fold), 2), LabelledClip(_hum(fold), 3)] for fold in (1, 2)
    }


def _fresh(spec, groups=None, *, seed=1, options=PLAIN, plan=PLAN, folder=None):
    return FreshWindows(
        groups or _groups(),
        labels=LABELS,
        spec=spec,
        plan=plan,
        options=options,
        seed=seed,
        folder=folder,
    )


@pytest.fixture(scope="module")
def spec():
    return load_spec("pcen-64-20ms")


@pytest.mark.parametrize("name", list_specs())
def test_energies_become_the_rows_of_the_c_front_end(name):
    spec = load_spec(name)
    rng = np.random.default_rng(3)
    sounds = {
        "hiss": _hiss(1),
        "hum": _hum(2),
        "quiet": 0.01 * _hiss(3),
        "clicks": np.where(rng.random(5 * RATE_HZ) < 1e-3, 0.8, 0.0).astype(np.float32),
        "alarm": 0.5 * synth.alarm(synth.T3, 5.0, rng).astype(np.float32),
    }
    for what, samples in sounds.items():
        by_c = extract(spec, to_int16(samples)).astype(int)
        powers = np.exp(energies.log_energies(energies.log_twin(spec), samples).astype(np.float32))
        smooth = energies.smoothed(spec, powers[None])
        rows = energies.compressed(spec, powers[None], smooth)[0].astype(int)
        apart = np.abs(rows - by_c)
        assert rows.shape == by_c.shape
        # What is left is the 16-bit float in which energies are kept.
        assert apart.max() <= 2, what
        assert np.mean(apart > 0) < 0.03, what


def test_powers_of_a_mixture_are_those_of_the_mixed_waveform(spec):
    twin = energies.log_twin(spec)
    power = lambda x: np.exp(energies.log_energies(twin, x).astype(np.float64))  # noqa: E731
    a, b = _hiss(1), 2 * _hiss(2)
    added, together = power(a) + power(b), power(a + b)
    # Independent sounds interfere from frame to frame, and not in the mean.
    assert added.mean(axis=0) == pytest.approx(together.mean(axis=0), rel=0.15)


def test_epochs_repeat_by_seed_and_number(spec, tmp_path):
    options = augment.Augmentation()
    drawn = _fresh(spec, options=options, folder=tmp_path)
    files = sorted(tmp_path.iterdir())
    assert len(files) == 2
    again = _fresh(spec, options=options, folder=tmp_path)
    anew = _fresh(spec, options=options)
    assert sorted(tmp_path.iterdir()) == files
    assert drawn.fingerprint == again.fingerprint == anew.fingerprint
    other = _fresh(spec, options=options, seed=2, folder=tmp_path)
    assert other.fingerprint != drawn.fingerprint
    for number in (0, 7):
        epoch = drawn.get(number)
        for source in (again, anew):
            assert all(np.array_equal(epoch[k], v) for k, v in source.get(number).items())
        assert not np.array_equal(epoch["windows"], other.get(number)["windows"])
    assert not np.array_equal(drawn.get(0)["windows"], drawn.get(1)["windows"])


def test_windows_are_labelled_by_what_sounds_in_them(spec):
    late = np.zeros(5 * RATE_HZ, np.float32)
    late[3 * RATE_HZ :] = _hiss(1, 2.0)
    plan = dataclasses.replace(PLAN, windows_per_clip=200, n_alarm_clips=2, n_background_clips=1)
    epoch = _fresh(spec, {"1": [LabelledClip(late, 2)]}, plan=plan).get(0)
    assert epoch["windows"].shape == (200 * (1 + 4 + 1), spec.context_frames, spec.n_features)
    assert epoch["windows"].dtype == np.int8
    assert np.allclose(epoch["targets"].sum(axis=1), 1)
    first = epoch["targets"][:200]
    # A silent window is drawn again, once; so some stay, and count as background.
    assert 0 < first[:, 0].sum() < 120
    assert first[:, 0].sum() + first[:, 2].sum() == 200
    is_hiss = first[:, 2] == 1
    energy = epoch["windows"][:200].astype(int).max(axis=(1, 2))
    assert energy[is_hiss].min() > energy[~is_hiss].max() - 40
    alarms = epoch["targets"][200:1000].sum(axis=0)
    # T4 is silent for 5 of 5.7 s.
    assert alarms[4] > alarms[1] > 0


def test_mixtures_have_two_labels_and_levels_follow_the_options():
    loud = dataclasses.replace(
        PLAIN, mix_probability=1, gain_db=(-6.0, -6.0), noise_floor_dbfs=(-100.0, -100.0)
    )
    quiet = dataclasses.replace(loud, gain_db=(-46.0, -46.0))
    n = 4 * PLAN.windows_per_clip
    twin = load_spec("logmel-64-20ms")
    means = []
    for options in (loud, quiet):
        epoch = _fresh(twin, options=options).get(0)
        targets = epoch["targets"][:n]
        two = np.count_nonzero(targets[:, 2:4], axis=1) == 2
        assert two.any()
        assert targets[two].max(axis=1).min() >= 0.5
        rows = (epoch["windows"][:n].astype(float) - twin.output_zero_point) * twin.output_scale
        means.append(np.quantile(rows, 0.95))
    assert (means[0] - means[1]) * 10 / np.log(10) == pytest.approx(40, abs=1.5)


@pytest.mark.parametrize("kept", [False, True], ids=["fresh", "shards"])
def test_a_sound_over_a_background_is_that_sound(spec, kept):
    options = dataclasses.replace(PLAIN, mix_probability=1)
    groups = {"1": [LabelledClip(_hiss(1), 0), LabelledClip(_hum(1), 3)]}
    plan = dataclasses.replace(PLAN, n_alarm_clips=1, n_background_clips=1)
    if kept:
        arguments = {"labels": LABELS, "spec": spec, "plan": plan, "options": options}
        source = Shards(groups, needs=Needs(), **arguments)
    else:
        source = _fresh(spec, groups, options=options, plan=plan)
    targets = np.concatenate([source.get(number)["targets"] for number in range(20)])
    assert set(targets[:, [0, 3]].ravel()) == {0, 1}, "no mixture of sound and background"
    n = plan.windows_per_clip
    assert targets[:, 3].sum() == 20 * n
    assert targets[:, 0].sum() >= 20 * n


def test_fresh_windows_beside_shards_have_no_teacher(spec):
    groups = _groups()
    shards = Shards(
        groups, labels=LABELS, spec=spec, plan=EpochPlan(1, 2, 2), options=PLAIN, needs=Needs()
    )
    fresh = _fresh(spec, groups)
    both = TrainingSet(shards, 2, fresh)
    n = len(shards.get(0)["targets"])
    epoch = both.get(3)
    assert np.array_equal(epoch["windows"][:n], shards.get(1)["windows"])
    assert np.array_equal(epoch["windows"][n:], fresh.get(3)["windows"])
    assert TrainingSet(None, 0, fresh).get(3).keys() == {"windows", "targets"}


def test_the_teacher_sets_targets_only_where_its_embedding_is_known(spec):
    class Half:
        labels = LABELS

        def get(self, number):
            embedding = np.zeros((8, 1024), np.float16)
            embedding[:4] = 1 + number
            targets = np.tile(np.float32([1, 0, 0, 0, 0]), (8, 1))
            return {
                "windows": np.zeros((8, 50, 64), np.int8),
                "targets": targets,
                "embedding": embedding,
            }

    teacher = lambda e: np.tile(np.float32([0, 0, 0, 0, 1]), (len(e), 1))  # noqa: E731
    schedule = pipeline.Schedule(1, 8, 1, distillation=0.75)
    _, targets, embedding = next(iter(pipeline.batches(Half(), schedule, spec, teacher=teacher)))
    known = embedding.numpy().any(axis=1)
    assert known.sum() == 4
    assert targets.numpy()[known] == pytest.approx(np.tile([0.25, 0, 0, 0, 0.75], (4, 1)))
    assert targets.numpy()[~known] == pytest.approx(np.tile([1, 0, 0, 0, 0], (4, 1)))
