"""Words of the page: times, devices, and the table of who is told what."""

from __future__ import annotations

from collections import Counter
from datetime import time
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from earmark_gateway import explain, model
from earmark_gateway.config import Config, Window
from earmark_gateway.web import words
from gwkit import START_MS, health_fields
from hypothesis import given, settings
from hypothesis import strategies as st
from webkit import sections

HOUR_MS = 3_600_000


def plain(text):
    return text.replace("\N{NO-BREAK SPACE}", " ")


@pytest.mark.parametrize(
    ("ms", "text"),
    [(None, ""), (0, "0.0 s"), (1250, "1.2 s"), (9_960, "10.0 s"), (30_400, "30 s"),
     (59_700, "1 min"), (60_000, "1 min"), (125_000, "2 min 5 s"), (600_000, "10 min")],
)  # fmt: skip
def test_durations(ms, text):
    assert plain(words.duration(ms)) == text


@pytest.mark.parametrize(
    ("ms", "text"),
    [(-5, "just now"), (4_999, "just now"), (5_000, "5 s ago"), (119_000, "1 min ago"),
     (HOUR_MS, "1 hour ago"), (47 * HOUR_MS, "1 day ago"), (48 * HOUR_MS, "2 days ago")],
)  # fmt: skip
def test_ages(ms, text):
    assert plain(words.ago(ms)) == text


@given(st.integers(0, 10**12), st.integers(0, 10**12))
def test_a_longer_time_never_sounds_shorter(a, b):
    unit = {"s": 1, "min": 60, "hour": 3600, "hours": 3600, "day": 86400, "days": 86400}

    def seconds(ms):
        number, name = plain(words.span(ms)).split(" ")
        return int(number) * unit[name]

    low, high = sorted((a, b))
    assert seconds(low) <= seconds(high) <= high / 1000


def test_days_are_named_in_the_house_s_zone():
    zone = ZoneInfo("Europe/Berlin")  # START_MS is 03:23 on a Saturday there
    names = [words.day_name(START_MS - h * HOUR_MS, START_MS, zone) for h in (3, 4, 28, 24 * 330)]
    assert names == ["Today", "Yesterday", "Thursday 19 November", "Friday 26 December 2025"]


def device(**changes):
    known = {"id": "a1b2c3d4e5f6", "state": "approved", "room": "kitchen",
             "last_seen_ms": START_MS - 30_000, "health": health_fields()}  # fmt: skip
    return model.Device(**(known | changes))


@pytest.mark.parametrize(
    ("changes", "state", "headline"),
    [
        ({}, "good", "Listening"),
        ({"last_seen_ms": 0, "health": None}, "new", "Not heard from yet"),
        ({"offline_since_ms": START_MS - 2 * HOUR_MS}, "bad", "Offline for 2 hours"),
        ({"health": health_fields(mic_ok=False, flags=["mic_silent"])}, "bad", "does not work"),
        ({"health": health_fields(mic_ok=False, flags=["muted"])}, "warn", "Switched off"),
        ({"health": health_fields(flags=["self_test"])}, "warn", "needs a look"),
        ({"health": health_fields(rssi=None, noise_dbfs=None)}, "good", "Listening"),
    ],
)
def test_a_device_in_one_sentence(changes, state, headline):
    described = words.describe(device(**changes), [], START_MS)
    assert described.state == state
    assert headline in plain(described.headline)
    # Only what hears is called listening, and only for such a device may the page be green.
    assert (state == "good") == (described.headline == "Listening")
    assert all(text and "_" not in text for _, text in described.facts)


def test_missing_events_are_a_reason_to_look():
    problem = model.Problem(
        device_id="a1b2c3d4e5f6", kind="events_missing", since_ms=START_MS,
        detail="3 numbered events never arrived",
    )  # fmt: skip
    described = words.describe(device(), [problem], START_MS)
    assert described.state == "warn"
    assert described.advice == ("3 numbered events never arrived.",)


@pytest.mark.parametrize(
    ("rssi", "word"), [(-40, "strong"), (-61, "good"), (-71, "weak"), (-90, "very weak")]
)
def test_the_radio_link_in_a_word(rssi, word):
    assert words.wifi(rssi).startswith(word)


def test_the_table_says_for_every_sound_what_the_rules_do(tmp_path):
    config = Config(**sections(tmp_path))
    known = {"smoke_alarm", "dog", "cough", "doorbell", "glass_break"}
    rows = explain.table(config, known, START_MS)
    anywhere = Counter(label for row in rows if not row.where for label in row.labels)
    assert set(anywhere) == known | {"co_alarm", "device_offline"}
    assert set(anywhere.values()) == {1}, "every sound has one row"
    assert [row.labels for row in rows if row.where == "in the bedroom"] == [("cough",)]
    smoke = next(row for row in rows if "smoke_alarm" in row.labels)
    assert smoke.severity == rows[0].severity == "critical"
    (whole_day,) = smoke.periods
    assert whole_day.name == "at any time"
    assert whole_day.plan.summary == "Anna now, Ben after 2 min"
    bell = next(row for row in rows if "doorbell" in row.labels)
    assert [(period.name, period.plan.summary) for period in bell.periods] == [
        ("07:00 to 22:00", "Anna now"),
        ("22:00 to 07:00", "Anna at 07:00 (quiet hours)"),
    ]


SCHEDULES = st.lists(
    st.tuples(st.times(), st.times()).map(
        lambda span: f"{span[0]:%H:%M}-{span[1]:%H:%M}",
    ),
    min_size=3,
    max_size=3,
)


@settings(max_examples=25, deadline=None)
@given(SCHEDULES, st.sampled_from([0, 120, 3600]), st.lists(st.times(), min_size=20, max_size=20))
def test_the_table_is_right_at_every_moment_of_the_day(spans, after_s, moments):
    """Rule hours, two people's quiet hours and a delay into them, against the rules themselves."""
    quiet_anna, quiet_ben, between = spans
    config = Config(
        gateway={"timezone": "Europe/Berlin"},
        people=[
            {"id": "anna", "name": "Anna", "role": "primary", "channels": ["console:"],
             "quiet": quiet_anna},
            {"id": "ben", "name": "Ben", "role": "backup", "channels": ["console:"],
             "quiet": quiet_ben},
        ],
        rules=[
            {"labels": ["dog"], "between": between, "severity": "log"},
            {"labels": ["dog"], "severity": "alert",
             "steps": [{"after_s": 0, "to": ["primary"]}, {"after_s": after_s, "to": ["backup"]}]},
        ],
    )  # fmt: skip
    for label in ("dog", "device_offline", "smoke_alarm"):
        periods = explain.periods(config, label, now_ms=START_MS)
        for one, following in pairwise((*periods, periods[0])):
            assert one.end == following.start
            assert len(periods) == 1 or one.plan != following.plan
        for at in moments:
            (shown,) = [
                p
                for p in periods
                if p.start == p.end or Window(start=p.start, end=p.end).contains(at)
            ]
            assert shown.plan == explain.plan(config, label, at=at, now_ms=START_MS), (label, at)


def test_a_later_step_changes_before_the_quiet_hours_begin():
    people = [
        {"id": "anna", "name": "Anna", "role": "primary", "channels": ["console:"]},
        {"id": "ben", "name": "Ben", "role": "backup", "channels": ["console:"],
         "quiet": "22:00-07:00"},
    ]  # fmt: skip
    steps = [{"after_s": 0, "to": ["primary"]}, {"after_s": 90, "to": ["backup"]}]
    config = Config(people=people, rules=[{"labels": ["dog"], "steps": steps}])
    periods = explain.periods(config, "dog", now_ms=START_MS)
    assert [(period.name, period.plan.summary) for period in periods] == [
        ("06:58:30 to 21:58:30", "Anna now, Ben after 90 s"),
        ("21:58:30 to 06:58:30", "Anna now, Ben at 07:00 (quiet hours)"),
    ]
    lines = explain.summary(config, START_MS)
    assert "dog, 06:58:30 to 21:58:30: Anna now, Ben after 90 s" in lines


def test_people_told_at_the_same_time_share_the_time():
    config = Config(
        people=[
            {"id": name, "name": name.title(), "role": "primary", "channels": ["console:"]}
            for name in ("anna", "ben")
        ]
    )
    plan = explain.plan(config, "smoke_alarm", at=time(3), now_ms=START_MS)
    assert plan.summary.startswith("Anna and Ben now")
