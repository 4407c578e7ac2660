"""A small bundle without training: a matched filter per label, and sounds that it knows."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from earmark_dsp.spec import load_spec
from earmark_training.deploy.bundle import DataSource, write_bundle
from earmark_training.detector import default_params

sys.path.insert(0, str(Path(__file__).parents[1] / "engine"))

from tflite_writer import OPS, Network, schema

RATE = 16000
WEIGHT_SCALE = 8e-4
LABELS = ("smoke_alarm", "co_alarm", "hum", "background")
# Mel bands that speak for each label (pcen-64-20ms): around 3.1 kHz, 4 kHz, and 250 Hz.
BANDS = ((42, 45), (48, 52), (2, 7), (0, 0))


def matched_filter(spec, labels=LABELS, bands=BANDS) -> bytes:
    """Reshape, fully connected, softmax: logit = mean of a label's bands minus mean of the rest."""
    n_inputs = spec.context_frames * spec.n_features
    weights = np.zeros((len(labels), spec.context_frames, spec.n_features), np.int8)
    for i, (first, last) in enumerate(bands):
        if last > first:
            weights[i] = -round(100 * (last - first) / (spec.n_features - last + first))
            weights[i, :, first:last] = 100
    net = Network()
    x = net.tensor(
        (1, spec.context_frames, spec.n_features, 1), spec.output_scale, spec.output_zero_point
    )
    flat = net.tensor((1, n_inputs), spec.output_scale, spec.output_zero_point)
    w = net.tensor(
        (len(labels), n_inputs), WEIGHT_SCALE, 0, data=weights.reshape(len(labels), n_inputs)
    )
    bias = np.zeros(len(labels), np.int32)
    bias[-1] = round(3.0 / (spec.output_scale * WEIGHT_SCALE))
    b = net.tensor((len(labels),), spec.output_scale * WEIGHT_SCALE, 0, data=bias)
    logits = net.tensor((1, len(labels)), 0.125, 0)
    scores = net.tensor((1, len(labels)), 1 / 256, -128)
    shape = net.constant(np.array([1, n_inputs], np.int32))
    net.op(OPS.RESHAPE, [x, shape], [flat], schema.ReshapeOptionsT())
    net.op(OPS.FULLY_CONNECTED, [flat, w, b], [logits], schema.FullyConnectedOptionsT())
    softmax = schema.SoftmaxOptionsT()
    softmax.beta = 1.0
    net.op(OPS.SOFTMAX, [logits], [scores], softmax)
    net.inputs, net.outputs = [x], [scores]
    return net.build()


def make_bundle(out_dir, *, labels=LABELS, hop_frames=25, spec_name="pcen-64-20ms", **changes):
    """Write the bundle; keyword arguments go to `write_bundle`."""
    spec = load_spec(spec_name)
    arguments = {
        "tflite_model": matched_filter(spec, labels),
        "spec": spec,
        "class_names": labels,
        "detector_params": default_params(labels, spec=spec, hop_frames=hop_frames),
        "metrics": {},
        "data_licences": [DataSource(name="synthetic", licence="CC0-1.0", real=False)],
    }
    return write_bundle(out_dir, **{**arguments, **changes})


def tone(frequency_hz, seconds):
    """Sine of amplitude 1 with 5 ms ramps."""
    t = np.arange(round(seconds * RATE)) / RATE
    ramp = np.minimum(1, np.minimum(t, t[-1] - t) / 0.005)
    return np.sin(2 * np.pi * frequency_hz * t) * ramp


def pattern(times_s, n_pulses, n_cycles, frequency_hz):
    """Alarm signal from its definition: pulse, gap and pause in seconds."""
    pulse_s, gap_s, pause_s = times_s
    parts = []
    for _ in range(n_cycles):
        for pulse in range(n_pulses):
            rest = gap_s if pulse < n_pulses - 1 else pause_s
            parts += [tone(frequency_hz, pulse_s), np.zeros(round(rest * RATE))]
    return np.concatenate(parts)


def t3(n_cycles=4, frequency_hz=3100.0, scale=1.0):
    """NFPA 72 / ISO 8201."""
    return pattern((0.5 * scale, 0.5 * scale, 1.5 * scale), 3, n_cycles, frequency_hz)


def t4(n_cycles=4, frequency_hz=3100.0, scale=1.0):
    """UL 2034."""
    return pattern((0.1 * scale, 0.1 * scale, 5.0 * scale), 4, n_cycles, frequency_hz)


def scene(sounds, seconds, *, noise_rms=0.003, seed=0):
    """Place (onset_s, samples, gain) over white noise; int16."""
    x = np.random.default_rng(seed).standard_normal(round(seconds * RATE)) * noise_rms
    for onset_s, samples, gain in sounds:
        start = round(onset_s * RATE)
        end = min(len(x), start + len(samples))
        x[start:end] += gain * samples[: end - start]
    return np.clip(np.rint(x * 32768), -32768, 32767).astype(np.int16)


def evening():
    """Two alarms, a hum and noise; what was played as (label, onset_s, offset_s)."""
    smoke, co, hum = t3(3), t4(3, 4000.0), tone(250, 4)
    pcm = scene([(5, hum, 0.3), (15, smoke, 0.2), (40, co, 0.2)], 70)
    played = [
        ("hum", 5.0, 9.0),
        ("smoke_alarm", 15.0, 15.0 + len(smoke) / RATE),
        ("co_alarm", 40.0, 40.0 + len(co) / RATE),
    ]
    return pcm, played
