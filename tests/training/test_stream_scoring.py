"""Matching, intervals, and the choice of operating points."""

from __future__ import annotations

import pytest
from earmark_training.calibrate import apply_choice, choose, choose_all
from earmark_training.detector import (
    NEVER_PERMILLE,
    Cadence,
    DetectorParams,
    Event,
    LabelParams,
    Phase,
)
from earmark_training.stream import (
    LabelResult,
    SoundEvent,
    binomial_interval,
    match_events,
    poisson_interval,
)
from scipy.stats import binom, poisson


def told(label, at_s, phase=Phase.START):
    return Event(label, phase, at_s, at_s, 0.0, 0.9, 0.5, 1)


def test_matching_counts_found_repeated_and_false():
    played = [SoundEvent("dog", 10, 12), SoundEvent("dog", 30, 31), SoundEvent("cat", 50, 51)]
    events = [
        told("dog", 11), told("dog", 14), told("dog", 16), told("cat", 10.5),
        told("dog", 13, Phase.END), told("dog", 29.9),
    ]  # fmt: skip
    results = match_events(events, played, ("dog", "cat"), audio_s=100)
    dog, cat = results["dog"], results["cat"]
    # 11 finds the first, 14 repeats it (3 s late still counts), 16 and 29.9 belong to nothing.
    assert (dog.n_played, dog.n_found, dog.n_repeated, dog.n_false) == (2, 1, 1, 2)
    assert dog.latencies_s == [1]
    assert dog.negative_s == 97
    assert (cat.n_found, cat.n_false) == (0, 1)


@pytest.mark.parametrize("count", [1, 2, 7, 40])
def test_poisson_interval_is_exact(count):
    low, high = poisson_interval(count)
    assert poisson.sf(count - 1, low) == pytest.approx(0.025)
    assert poisson.cdf(count, high) == pytest.approx(0.025)


def test_nothing_in_72_hours_bounds_the_rate_at_one_a_day():
    low, high = poisson_interval(0)
    assert low == 0
    assert 24 * high / 72 == pytest.approx(1.0, abs=0.002)


@pytest.mark.parametrize(("found", "played"), [(1, 5), (99, 100), (3, 7)])
def test_binomial_interval_is_exact(found, played):
    low, high = binomial_interval(found, played)
    assert binom.sf(found - 1, played, low) == pytest.approx(0.025)
    assert binom.cdf(found, played, high) == pytest.approx(0.025)
    assert binomial_interval(0, 0) == (0.0, 1.0)


def point(n_found, n_false, n_played=10):
    return LabelResult(
        "x", n_played=n_played, n_found=n_found, n_false=n_false, negative_s=24 * 3600
    )


def test_choice_keeps_the_bound_and_gives_a_fifth_of_the_recall_for_margin():
    curve = {
        300: point(10, 9), 400: point(10, 1), 500: point(9, 0), 600: point(8, 0), 700: point(7, 0)
    }  # fmt: skip
    assert choose(curve, 1.0) == 600
    assert choose(curve, 0.0) == 600
    assert choose(curve, 1.0, keep=420) == 400
    assert choose(curve, 0.0, keep=420) == 500
    # A threshold that never finds the sound is no operating point.
    assert choose({900: point(0, 0)}, 1.0) is None
    assert choose({300: point(10, 9)}, 1.0) is None


def test_labels_that_cannot_keep_the_bound_are_silent_but_alarms_and_unheard_ones_stay():
    labels = (
        LabelParams(name="cry"),
        LabelParams(name="dog"),
        LabelParams(name="co_alarm", cadence=Cadence.T4, cadence_permille=560),
        LabelParams(name="cat"),
    )
    params = DetectorParams(labels=labels, hop_frames=25)
    curves = {
        "cry": {500: point(9, 9)},
        "dog": {500: point(9, 0), 600: point(8, 0)},
        "co_alarm": {500: point(9, 9), 560: point(9, 9)},
        "cat": {500: point(0, 0, n_played=0)},
    }
    chosen = choose_all(curves, params, 1.0)
    assert chosen == {"cry": NEVER_PERMILLE, "dog": 600, "co_alarm": None, "cat": None}
    cry, dog, co_alarm, cat = apply_choice(params, chosen).labels
    assert (cry.on_permille, dog.on_permille) == (NEVER_PERMILLE, 600)
    assert (co_alarm, cat) == labels[2:]
