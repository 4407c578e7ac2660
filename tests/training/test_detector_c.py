"""Properties of the C detector: thresholds, hysteresis, durations, cadences."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
from earmark_dsp.errors import EarmarkError
from earmark_dsp.native import extract
from earmark_dsp.spec import load_spec
from earmark_training.detector import (
    Cadence,
    Detector,
    DetectorParams,
    LabelParams,
    Phase,
    StreamShape,
    default_params,
    smoothing_q15,
)
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))

import bundle_kit

PERIOD_US = 500_000
SHAPE = StreamShape(row_period_us=20_000, n_features=64, n_scores=1)


def run(label: LabelParams, scores: list[int]):
    params = DetectorParams(labels=(label,), hop_frames=25, min_contrast=0)
    detector = Detector(params, SHAPE)
    events = []
    for i, score in enumerate(scores, start=1):
        detector.scores(np.array([score - 128], np.int8), i * PERIOD_US)
        events += detector.events()
    return events


def test_hysteresis_gives_one_event_with_its_duration():
    label = LabelParams(name="dog", on_permille=600, off_permille=300, refractory_ms=0)
    # Dips to 0.4 stay above the off threshold: one event, not three.
    events = run(label, [0, 200, 100, 200, 100, 200, 20, 0])
    assert [e.phase for e in events] == [Phase.START, Phase.END]
    start, end = events
    assert start.event_id == end.event_id == 1
    assert start.duration_s == 0
    # Heard from the hop that ends at 1.0 s until the score fell at 3.5 s.
    assert (start.onset_s, end.duration_s) == (0.5, 3.0)
    assert start.confidence == pytest.approx(200 / 256, abs=1e-3)
    assert start.threshold == 0.6


def test_min_duration_refractory_and_once():
    label = LabelParams(name="dog", min_duration_ms=1500, refractory_ms=0)
    assert run(label, [200, 200, 0, 0]) == []
    assert [e.at_s for e in run(label, [200, 200, 200, 0])] == [1.5, 2.0]
    once = LabelParams(name="knock", once=True, refractory_ms=3000)
    events = run(once, [200, 0, 200, 0, 0, 0, 0, 200])
    assert [(e.phase, e.at_s) for e in events] == [(Phase.ONCE, 0.5), (Phase.ONCE, 4.0)]


def test_updates_and_unreported_labels():
    label = LabelParams(name="cry", update_ms=1000)
    phases = [e.phase for e in run(label, [200] * 6 + [0])]
    assert phases == [Phase.START, Phase.UPDATE, Phase.UPDATE, Phase.END]
    assert run(msgspec.structs.replace(label, reported=False), [200] * 6) == []


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 255), max_size=60), st.integers(1, 32767))
def test_smoothing_is_the_low_pass_it_claims_to_be(scores, alpha):
    params = DetectorParams(
        labels=(LabelParams(name="x", alpha_q15=alpha),), hop_frames=25, min_contrast=0
    )
    detector, expected = Detector(params, SHAPE), 0.0
    for i, score in enumerate(scores, start=1):
        detector.scores(np.array([score - 128], np.int8), i * PERIOD_US)
        expected += alpha / 32767 * (score / 256 - expected)
        # Rounded to thousandths; the integer state loses far less.
        assert detector.score(0) == pytest.approx(expected, abs=0.001)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 255), max_size=80))
def test_every_event_that_starts_ends_or_is_the_last(scores):
    events = run(LabelParams(name="x", refractory_ms=1000), scores)
    phases = [e.phase for e in events]
    assert phases[::2] == [Phase.START] * len(phases[::2])
    assert phases[1::2] == [Phase.END] * len(phases[1::2])
    assert [e.event_id for e in events] == [1 + i // 2 for i in range(len(events))]


def test_smoothing_constant():
    assert smoothing_q15(0, 0.5) == 32767
    # One time constant in one step: 1 - 1/e.
    assert smoothing_q15(0.5, 0.5) == round(32767 * (1 - np.exp(-1)))


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "Dog"},
        {"on_permille": 0},
        {"off_permille": 700},
        {"alpha_q15": 0},
        {"classes": (1,)},
        {"classes": ()},
    ],
)
def test_impossible_parameters_are_one_clear_error(changes):
    label = msgspec.structs.replace(LabelParams(name="dog"), **changes)
    with pytest.raises(EarmarkError):
        Detector(DetectorParams(labels=(label,), hop_frames=25, min_contrast=0), SHAPE)


def hear(pcm, spec_name):
    """Cadence alone: the network is not asked."""
    spec = load_spec(spec_name)
    params = default_params(("smoke_alarm", "co_alarm"), spec=spec, hop_frames=25)
    labels = tuple(msgspec.structs.replace(label, gate_permille=0) for label in params.labels)
    row_us = spec.hop_length * 1_000_000 // spec.sample_rate_hz
    detector = Detector(
        msgspec.structs.replace(params, labels=labels), StreamShape(row_us, spec.n_features, 2)
    )
    events = []
    for i, row in enumerate(extract(spec, pcm)):
        detector.row(row, 32_000 + i * row_us)
        events += detector.events()
    return [(e.label, e) for e in events if e.phase is Phase.START]


SPECS = ("pcen-64-20ms", "logmel-64-20ms", "yamnet-64")


@pytest.mark.parametrize("spec_name", SPECS)
@pytest.mark.parametrize("frequency_hz", [520.0, 3100.0, 4000.0])
@pytest.mark.parametrize("scale", [0.9, 1.0, 1.1])
def test_t3_and_t4_are_found_within_two_and_a_half_cycles(spec_name, frequency_hz, scale):
    for make, label, cycle_s in (
        (bundle_kit.t3, "smoke_alarm", 4.0),
        (bundle_kit.t4, "co_alarm", 5.7),
    ):
        pcm = bundle_kit.scene([(8, make(4, frequency_hz, scale), 0.1)], 40, seed=3)
        found = hear(pcm, spec_name)
        assert [name for name, _ in found] == [label]
        event = found[0][1]
        assert 8 < event.at_s < 8 + 2.5 * cycle_s * scale
        assert event.onset_s == pytest.approx(8, abs=0.25)


BEEPS = {
    "alarm clock": (((0.08, 0.08, 0.6)), 4),
    "reversing lorry": (((0.5, 0.5, 0.5)), 1),
    "microwave": (((0.5, 0.5, 30.0)), 3),
    "pager": (((0.12, 0.12, 1.0)), 3),
    "four long beeps": (((0.5, 0.5, 1.5)), 4),
    "ringing": (((1.0, 4.0, 4.0)), 1),
}


@pytest.mark.parametrize("spec_name", SPECS)
@pytest.mark.parametrize("name", BEEPS)
def test_other_beeps_are_no_alarm(spec_name, name):
    times_s, n_pulses = BEEPS[name]
    beeps = bundle_kit.pattern(times_s, n_pulses, 20, 3100.0)[: 50 * bundle_kit.RATE]
    assert hear(bundle_kit.scene([(5, beeps, 0.1)], 60, seed=1), spec_name) == []


@pytest.mark.parametrize("spec_name", SPECS)
@pytest.mark.parametrize("is_covered", [True, False])
def test_of_three_co_bursts_the_second_may_be_covered_not_missing(spec_name, is_covered):
    burst_s, cycle_s = 0.7, 5.7
    bursts = bundle_kit.t4(3)
    second = slice(round(cycle_s * bundle_kit.RATE), round((cycle_s + burst_s) * bundle_kit.RATE))
    bursts[second] = 0
    sounds = [(8, bursts, 0.05)]
    if is_covered:
        rattle = np.random.default_rng(4).standard_normal(round(1.2 * bundle_kit.RATE))
        sounds.append((8 + cycle_s - 0.2, rattle, 0.2))
    found = hear(bundle_kit.scene(sounds, 30, seed=3), spec_name)
    assert [name for name, _ in found] == (["co_alarm"] if is_covered else [])
    assert all(event.at_s < 8 + 2.5 * cycle_s for _, event in found)


def test_front_ends_without_bands_have_no_cadence():
    params = default_params(("smoke_alarm",), spec=load_spec("mfcc-13"), hop_frames=25)
    assert params.min_contrast == 0
    assert params.labels[0].cadence is Cadence.NONE


PATTERNS_NEAR_T4 = {
    "five pulses": ((0.1, 0.1, 5.0), 5),
    "six pulses": ((0.1, 0.1, 5.0), 6),
    "alarm clock": ((0.08, 0.08, 0.6), 4),
    "faster clock": ((0.0625, 0.0625, 0.56), 4),
    "four long beeps": ((0.5, 0.5, 1.5), 4),
    "oven": ((0.1, 0.1, 10.7), 4),
}


@pytest.mark.parametrize("spec_name", SPECS)
@pytest.mark.parametrize("name", PATTERNS_NEAR_T4)
def test_one_pulse_more_or_a_broken_pause_is_no_alarm(spec_name, name):
    times_s, n_pulses = PATTERNS_NEAR_T4[name]
    for scale in (0.9, 1.0, 1.1):
        stretched = tuple(scale * t for t in times_s)
        beeps = bundle_kit.pattern(stretched, n_pulses, 20, 3100.0)[: 50 * bundle_kit.RATE]
        assert hear(bundle_kit.scene([(5, beeps, 0.1)], 60, seed=1), spec_name) == [], scale
