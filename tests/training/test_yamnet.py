"""YAMNet rebuilt in Keras against the public int8 file, and the networks cut from it."""

from __future__ import annotations

import numpy as np
import pytest
from earmark_datasets import synth
from earmark_datasets.audio import to_int16
from earmark_datasets.locate import find_model
from earmark_dsp.errors import EarmarkError
from earmark_dsp.native import extract
from earmark_dsp.spec import load_spec
from earmark_training import networks, yamnet

RATE_HZ = 16000


@pytest.fixture(scope="module")
def teacher():
    if find_model(yamnet.FILE_NAME) is None:
        pytest.skip("the public int8 YAMNet is not on this machine (EARMARK_DATA)")
    return yamnet.teacher_path()


@pytest.fixture(scope="module")
def windows():
    """Alarms, noise and a chirp: 1 s each."""
    spec = load_spec(yamnet.SPEC_NAME)
    rng = np.random.default_rng(1)
    sounds = [0.2 * synth.coloured_noise(16400, slope, rng) for slope in (0, 1, 2)]
    sounds += [0.5 * synth.alarm(cadence, 1.025, rng) for cadence in (synth.T3, synth.T4)]
    time_s = np.arange(16400) / RATE_HZ
    sounds.append(0.5 * np.sin(2 * np.pi * (300 + 2000 * time_s) * time_s))
    return np.stack([extract(spec, to_int16(sound))[:96] for sound in sounds])


def _real(windows):
    spec = load_spec(yamnet.SPEC_NAME)
    return (windows.astype(np.float32) - spec.output_zero_point) * np.float32(spec.output_scale)


def test_rebuilt_network_scores_like_the_int8_file(teacher, windows):
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    reference = Interpreter(str(teacher), experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
    reference.allocate_tensors()
    expected = []
    for window in _real(windows):
        reference.set_tensor(reference.get_input_details()[0]["index"], window[None])
        reference.invoke()
        expected.append(reference.get_tensor(reference.get_output_details()[0]["index"])[0])
    scores, _ = yamnet.load_weights(yamnet.whole(), teacher)(_real(windows), training=False)
    # The logits' step of 0.308 alone is up to 0.077 / 2 of a score at its steepest; layers add.
    assert np.abs(np.asarray(scores) - expected).max() < 0.1
    assert np.corrcoef(np.ravel(scores), np.ravel(expected))[0, 1] > 0.995


def test_frozen_layers_are_those_of_the_whole_network_at_eight_bits(teacher, windows):
    name = "block4_depthwise_relu"
    outputs = yamnet.Runner((name, yamnet.EMBEDDING)).run(windows)
    cut = yamnet.load_weights(networks.build("yamnet-256", (96, 64), 3), teacher)
    import keras

    part = keras.Model(cut.input, cut.get_layer(name).output)
    real = np.asarray(part(_real(windows), training=False))
    assert outputs[name].shape == (len(windows), 12, 8, 128)
    assert np.abs(outputs[name] * yamnet.ACTIVATION_SCALE - real).max() <= 0.51 * 6 / 255
    assert outputs[yamnet.EMBEDDING].shape == (len(windows), yamnet.N_EMBEDDING)


def test_another_file_is_refused(tmp_path, monkeypatch):
    (tmp_path / yamnet.FILE_NAME).write_bytes(b"not it")
    monkeypatch.setenv("EARMARK_DATA", str(tmp_path))
    monkeypatch.setattr("earmark_datasets.locate._neighbours", lambda _: [])
    with pytest.raises(EarmarkError, match="is not the public int8 YAMNet"):
        yamnet.teacher_path()


def test_sizes_are_those_promised():
    def n_params(preset, shape):
        model = networks.build(preset, shape, 13)
        return sum(int(np.prod(v.shape)) for v in model.trainable_variables)

    assert n_params("yamnet-256", (96, 64)) <= 160_000
    assert n_params("tiny", (50, 64)) <= 50_000
