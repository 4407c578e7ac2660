"""The preset without training: label maps, and scores that are the largest of their classes."""

from __future__ import annotations

import numpy as np
import pytest
from earmark_datasets.locate import find_model
from earmark_datasets.manifest import Clip, Manifest
from earmark_dsp.errors import EarmarkError
from earmark_dsp.spec import load_spec
from earmark_training import yamnet, yamnet521
from earmark_training.detector import Cadence

CLASSES = ("Speech", "Dog", "Bark", "Cough")


def _map(tmp_path, text):
    path = tmp_path / "map.toml"
    path.write_text(text)
    return path


def test_a_map_groups_classes_in_its_own_order(tmp_path):
    path = _map(tmp_path, 'dog = ["Bark", "Dog"]\ncough = ["Cough"]\n')
    assert yamnet521.read_label_map(path, CLASSES) == {"dog": (2, 1), "cough": (3,)}
    assert list(yamnet521.read_label_map(path, CLASSES)) == ["dog", "cough"]


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ('dog = ["Wolf"]\ncough = ["Cough"]', "'Wolf', which YAMNet does not know"),
        ('Dog = ["Dog"]\ncough = ["Cough"]', "is not an identifier"),
        ('dog = "Dog"\ncough = ["Cough"]', "needs a list"),
        ('dog = ["Dog"]', "has 1 labels"),
        ("dog = [", "cannot read the label map"),
    ],
)
def test_a_bad_map_is_one_clear_error(tmp_path, text, match):
    with pytest.raises(EarmarkError, match=match):
        yamnet521.read_label_map(_map(tmp_path, text), CLASSES)


def test_clips_without_a_known_label_are_left_out_or_refused(tmp_path):
    clips = Manifest(tuple(Clip(tmp_path / f"{n}.wav", n) for n in ("dog", "owl")))
    assert [c.label for c in yamnet521.known_clips(clips, ("dog", "cat")).clips] == ["dog"]
    with pytest.raises(EarmarkError, match="the clips have dog, owl"):
        yamnet521.known_clips(clips, ("cat",))


def test_alarms_still_need_their_cadence():
    params = yamnet521.detector(("dog", "smoke_alarm"), load_spec(yamnet.SPEC_NAME))
    dog, smoke = params.labels
    assert dog.on_permille == yamnet521.ON_PERMILLE
    assert smoke.cadence is Cadence.T3
    assert smoke.on_permille > 1000


def test_scores_are_the_largest_of_their_classes():
    if find_model(yamnet.FILE_NAME) is None or find_model(yamnet.CLASS_MAP_NAME) is None:
        pytest.skip("the public int8 YAMNet and its class map are not on this machine")
    classes = yamnet521.read_label_map(yamnet521.LABEL_MAP, yamnet.class_names())
    model = yamnet521.build(classes)
    x = np.random.default_rng(0).uniform(-6, 4, (3, 96, 64)).astype(np.float32)
    x[1] = np.linspace(-6, 3, 64)
    scores, _ = yamnet.load_weights(yamnet.whole(), yamnet.teacher_path())(x, training=False)
    expected = np.stack([np.asarray(scores)[:, list(s)].max(1) for s in classes.values()], axis=1)
    assert np.asarray(model(x, training=False)) == pytest.approx(expected, abs=1e-5)
