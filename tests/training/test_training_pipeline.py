"""Shards, batches, targets, own networks, early stopping and the gallery."""

from __future__ import annotations

import re

import numpy as np
import pytest
from earmark_datasets import synth
from earmark_datasets.audio import to_int16, write_wav
from earmark_datasets.manifest import Clip, Manifest
from earmark_dsp.errors import EarmarkError
from earmark_dsp.native import extract
from earmark_dsp.spec import load_spec
from earmark_training import augment, early_stop, gallery, networks, pipeline, windows
from earmark_training.shards import Needs, Shards
from earmark_training.train import Recipe, train

RATE_HZ = 16000
LABELS = ("background", "co_alarm", "hiss", "smoke_alarm")
PLAN = windows.EpochPlan(2, 2, 2)
PLAIN = augment.Augmentation(room_probability=0)


@pytest.fixture(scope="module")
def spec():
    return load_spec("pcen-64-20ms")


def _clip(seed):
    noise = synth.coloured_noise(5 * RATE_HZ, 1, np.random.default_rng(seed))
    return windows.LabelledClip((0.1 * noise).astype(np.float32), 2)


def _shards(spec, groups, folder=None):
    return Shards(
        groups,
        labels=LABELS,
        spec=spec,
        plan=PLAN,
        options=PLAIN,
        needs=Needs(),
        folder=folder,
    )


def test_a_shard_of_a_fold_does_not_depend_on_the_other_folds(spec):
    a, b, c = ([_clip(seed)] for seed in (1, 2, 3))
    ab, ac = _shards(spec, {"1": a, "2": b}).get(0), _shards(spec, {"1": a, "3": c}).get(0)
    half = len(ab["targets"]) // 2
    assert np.array_equal(ab["windows"][:half], ac["windows"][:half])
    assert not np.array_equal(ab["windows"][half:], ac["windows"][half:])
    one = _shards(spec, {"1": a, "2": b})
    assert not np.array_equal(one.get(0)["windows"], one.get(1)["windows"])


def test_kept_shards_are_the_drawn_ones_and_belong_to_their_clips(spec, tmp_path):
    drawn = _shards(spec, {"1": [_clip(1)]}, tmp_path).get(3)
    files = sorted(tmp_path.iterdir())
    assert len(files) == 2
    again = _shards(spec, {"1": [_clip(1)]}, tmp_path).get(3)
    assert np.array_equal(drawn["windows"], again["windows"])
    assert sorted(tmp_path.iterdir()) == files
    _shards(spec, {"1": [_clip(2)]}, tmp_path).get(3)
    assert len(list(tmp_path.iterdir())) == 4


def test_the_second_front_end_ends_where_the_first_ends(spec):
    yamnet = load_spec("yamnet-64")
    silence = np.zeros(5 * RATE_HZ, np.float32)
    silence[3 * RATE_HZ :] = 0.3
    pcm = to_int16(silence * np.sin(np.arange(5 * RATE_HZ)))
    rows = extract(yamnet, pcm)
    for start in (0, 60, 99, 104, 150, 199):
        end_s = (start * 320 + 49 * 320 + 512) / RATE_HZ
        window = windows._aligned_window(rows, start, spec, yamnet)
        heard_s = np.count_nonzero(window.max(axis=1) > 0) * 0.01
        assert heard_s == pytest.approx(np.clip(end_s - 3, 0, 0.96), abs=0.03)


class _Fixed:
    labels = ("a", "b")

    def get(self, number):
        n = 12
        windows = np.zeros((n, 50, 64), np.int8)
        windows += np.arange(n, dtype=np.int8)[:, None, None] + np.int8(number % 2)
        return {
            "windows": windows,
            "targets": np.eye(2, dtype=np.float32)[np.arange(n) % 2],
            "embedding": np.ones((n, 1024), np.float16),
        }


def test_a_resumed_pipeline_goes_on_with_the_same_batches(spec):
    schedule = pipeline.Schedule(epochs=4, batch_size=4, seed=3)
    whole = [x.numpy() for x, *_ in pipeline.batches(_Fixed(), schedule, spec)]
    rest = [x.numpy() for x, *_ in pipeline.batches(_Fixed(), schedule, spec, first_epoch=2)]
    assert len(whole) == 12
    for left, right in zip(whole[6:], rest, strict=True):
        assert np.array_equal(left, right)
    # Epoch 3 visits the shard of epoch 1 in another order.
    assert not np.array_equal(whole[0], whole[6])


def test_targets_mix_labels_and_teacher(spec):
    schedule = pipeline.Schedule(1, 12, 1, label_smoothing=0.1, distillation=0.75)
    teacher = lambda e: np.tile(np.float32([0.2, 0.8]), (len(e), 1))  # noqa: E731
    _, y, embedding = next(iter(pipeline.batches(_Fixed(), schedule, spec, teacher=teacher)))
    assert embedding.shape == (12, 1024)
    rows = np.unique(np.round(y.numpy(), 5), axis=0)
    expected = 0.25 * np.array([[0.05, 0.95], [0.95, 0.05]]) + 0.75 * np.array([0.2, 0.8])
    assert rows == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("shape", [(64, 50, 64), (64, 12, 8, 5)])
def test_spec_augment_hides_stripes_behind_the_mean(shape):
    x = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    out = pipeline.spec_augment(x, np.array([1, 2], np.int32)).numpy()
    mean = x.mean(axis=(1, 2), keepdims=True)
    changed = (out != x).reshape(*shape[:3], -1).all(axis=3)
    assert np.allclose(out[out != x], np.broadcast_to(mean, shape)[out != x])
    widths = changed.all(axis=2).sum(axis=1), changed.all(axis=1).sum(axis=1)
    for width, size, share in zip(
        widths, shape[1:3], (pipeline.TIME_STRIPE, pipeline.FREQUENCY_STRIPE), strict=True
    ):
        assert width.max() == round(size * share)
        assert width.min() == 0


OWN = """
import keras
from keras import layers

def build(input_shape, n_classes):
    inputs = keras.Input(input_shape)
    x = layers.GlobalAveragePooling1D()(layers.Conv1D(8, 3, strides=2)(inputs))
    return keras.Model(inputs, layers.Dense(n_classes, activation="softmax")(x))
"""


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("x = 1", "has no attribute 'build'"),
        (OWN.replace("n_classes, a", "7, a"), r"gives \(None, 7\)"),
        ("def build(:", "SyntaxError"),
    ],
)
def test_a_network_of_ones_own_that_does_not_fit_is_explained(tmp_path, text, match):
    path = tmp_path / "my.py"
    path.write_text(text)
    with pytest.raises(EarmarkError, match=match):
        networks.build(str(path), (50, 64), 3)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sounds")
    clips = []
    for number in range(6):
        rng = np.random.default_rng(number)
        tone = 0.3 * synth.tone(synth.Voice(500 + 20 * number), 2 * RATE_HZ)
        noise = 0.1 * synth.coloured_noise(2 * RATE_HZ, 1, rng)
        for label, samples in (("hum", tone), ("hiss", noise)):
            path = folder / f"{label}{number}.wav"
            write_wav(path, to_int16(samples))
            clips.append(Clip(path, label, fold=number % 3, group=f"{label}{number}"))
    return Manifest(tuple(clips))


@pytest.mark.slow
def test_own_network_with_early_stop_and_logs(spec, data, tmp_path, monkeypatch):
    own = tmp_path / "my.py"
    own.write_text(OWN)
    monkeypatch.setattr(early_stop, "PATIENCE", 2)
    recipe = Recipe(str(own), epochs=40, plan=PLAN, n_shards=2, batch_size=8, augmentation=PLAIN)
    train_clips, _ = data.split(2)
    result = train(
        train_clips,
        spec=spec,
        recipe=recipe,
        work_dir=tmp_path / "work",
        log_dir=tmp_path / "logs",
        inner_fold=1,
    )
    assert len(result.losses) <= 40
    assert result.losses[-1] < result.losses[0]
    assert list((tmp_path / "logs").glob("events.out.tfevents*"))
    again = train(train_clips, spec=spec, recipe=recipe, work_dir=tmp_path / "work", inner_fold=1)
    for left, right in zip(result.model.get_weights(), again.model.get_weights(), strict=True):
        assert np.array_equal(left, right)


def test_clip_loss_is_the_share_of_the_right_label():
    scores = [np.array([[0.5, 0.3, 0.2], [0.9, 0.06, 0.04]])]
    assert early_stop.clip_loss(scores, [1], ("background", "a", "b")) == pytest.approx(
        -np.log(0.36 / 0.6)
    )


def test_gallery_shows_every_stage_and_asks_the_network_for_nothing(tmp_path):
    rng = np.random.default_rng(1)
    dog = np.zeros(3 * RATE_HZ, np.float32)
    dog[RATE_HZ : 2 * RATE_HZ] = 0.2 * synth.coloured_noise(RATE_HZ, 0, rng)
    path = tmp_path / "new" / "gallery.html"
    gallery.write_gallery(
        path, dog, dog[::-1].copy(), spec=load_spec("logmel-64-20ms"), title="<dog>"
    )
    page = path.read_text()
    assert "&lt;dog&gt;" in page
    for name in (*augment.STAGES, "SpecAugment"):
        assert f"<h2>{name}</h2>" in page
    sources = re.findall(r"src=[\"'](.{10})", page)
    assert len(sources) == 2 * (1 + 3 * 8)
    assert all(source.startswith("data:") for source in sources)
    pictures = re.findall(r'<img alt="noise floor[^>]*src="([^"]*)"', page)
    assert len(set(pictures)) == 3
