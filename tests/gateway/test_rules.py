"""Who is told what, when: routing, quiet hours, grouping, escalation, as timetables."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from earmark_gateway import escalation, rules
from earmark_gateway.clock import local, next_at, to_ms
from earmark_gateway.config import Config, load_config
from earmark_gateway.errors import GatewayError
from earmark_gateway.explain import explain, warnings
from earmark_gateway.rules import Sound
from earmark_gateway.store.sqlite import SqliteStore
from gwkit import START_MS, Bench, FakeClock, config, health_fields

BERLIN = {"gateway": {"timezone": "Europe/Berlin"}}
CRITICAL = [
    {
        "labels": ["smoke_alarm"],
        "severity": "critical",
        "steps": [{"after_s": 0, "to": ["primary"]}, {"after_s": 120, "to": ["backup"]}],
        "repeat_s": 300,
    }
]


@pytest.fixture
def make(tmp_path):
    stores = []

    def create(clock=None, **sections):
        store = SqliteStore(str(tmp_path / f"{len(stores)}.db"))
        stores.append(store)
        return Bench(store, clock, **sections)

    yield create
    for store in stores:
        store.close()


def at(text, zone="Europe/Berlin"):
    from zoneinfo import ZoneInfo

    return to_ms(dt.datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)))


def sound(label="dog", room="kitchen", occurred_ms=START_MS, received_ms=None):
    return Sound(label, "demo", room, "Marta", occurred_ms, received_ms or occurred_ms)


# --- routing ---------------------------------------------------------------------------------


def test_the_first_matching_rule_decides_by_label_room_and_time():
    c = config(
        **BERLIN,
        rules=[
            {"name": "night", "labels": ["dog"], "between": "22:00-06:00", "severity": "log"},
            {"name": "bed", "labels": ["*"], "rooms": ["bedroom"], "severity": "alert"},
            {"name": "rest", "labels": ["*"], "severity": "notice"},
        ],
    )
    night, day = at("2026-11-21T23:30"), at("2026-11-21T12:00")
    assert rules.route(c, sound(occurred_ms=night)).rule.name == "night"
    assert rules.route(c, sound(room="bedroom", occurred_ms=day)).rule.name == "bed"
    assert rules.route(c, sound(occurred_ms=day)).rule.name == "rest"


def test_a_star_never_softens_a_critical_sound():
    c = config(rules=[{"labels": ["*"], "severity": "log"}])
    assert rules.route(c, sound("smoke_alarm")).severity == "critical"
    named = config(rules=[{"labels": ["smoke_alarm"], "severity": "log"}])
    assert rules.route(named, sound("smoke_alarm")).severity == "log"
    assert "less than critical" in " ".join(warnings(named))


@pytest.mark.parametrize(
    ("age_s", "label", "severity"),
    [
        (899, "dog", "alert"),
        (901, "dog", "notice"),
        (86_401, "dog", "log"),
        (86_401, "smoke_alarm", "critical"),
    ],
)
def test_lateness_softens_all_but_critical_sounds(age_s, label, severity):
    c = config(rules=[{"labels": ["dog"], "severity": "alert"}])
    heard = sound(label, occurred_ms=START_MS - age_s * 1000, received_ms=START_MS)
    assert rules.route(c, heard).severity == severity


def test_a_role_that_nobody_fills_does_not_swallow_the_first_step():
    c = config(people=[{"id": "ben", "name": "B", "role": "backup", "channels": ["x://"]}])
    assert [p.id for p in rules.recipients(c, ["primary"])] == ["ben"]


# --- quiet hours -----------------------------------------------------------------------------


def quiet_config(quiet="22:00-07:00"):
    anna = {"id": "anna", "name": "Anna", "role": "primary", "channels": ["x://"], "quiet": quiet}
    return config(**BERLIN, people=[anna])


@pytest.mark.parametrize(
    ("now", "until"),
    [
        ("2026-11-21T21:59:59", "2026-11-21T21:59:59"),
        ("2026-11-21T22:00:00", "2026-11-22T07:00:00"),
        ("2026-11-22T06:59:59", "2026-11-22T07:00:00"),
        # The night the clocks go back has an hour more.
        ("2026-10-24T23:00:00", "2026-10-25T07:00:00"),
    ],
)
def test_quiet_hours_hold_back_until_morning(now, until):
    c = quiet_config()
    assert rules.deliver_at(c, c.people[0], "alert", at(now)) == at(until)
    assert rules.deliver_at(c, c.people[0], "critical", at(now)) == at(now)


def test_next_at_is_always_ahead():
    zone = config(**BERLIN).zone
    for hour in range(48):
        now = START_MS + hour * 1_800_000
        due = next_at(now, dt.time(3, 0), zone)
        assert now < due <= now + 25 * 3_600_000
        assert local(due, zone).time() == dt.time(3, 0)


# --- escalation ------------------------------------------------------------------------------


def test_a_critical_alert_climbs_and_starts_over_until_answered(make):
    bench = make(rules=CRITICAL)
    bench.event(event_type="smoke_alarm")
    assert [r.recipient for r in bench.deliver()] == ["anna"]
    sent = bench.run(1000)
    assert [(s, who) for s, who, _ in sent] == [
        (120, "ben"),
        (420, "anna"),
        (540, "ben"),
        (840, "anna"),
        (960, "ben"),
    ]
    (alert,) = bench.alerts()
    with bench.store.write() as tx:
        now = bench.clock.now_ms()
        assert escalation.acknowledge(tx, bench.config, alert.id, by="ben", how="web", now_ms=now)
        assert not escalation.acknowledge(
            tx, bench.config, alert.id, by="anna", how="web", now_ms=now
        )
    # The other one hears who has answered, and nobody anything more.
    assert [(w, t) for _, w, t in bench.run(2000)] == [("anna", "Answered: Smoke alarm - kitchen")]


def test_an_ordinary_alert_gives_up_after_its_last_step(make):
    rule = {"labels": ["dog"], "steps": [{"to": ["primary"]}, {"after_s": 60, "to": ["backup"]}]}
    bench = make(rules=[rule])
    bench.event(event_type="dog")
    bench.deliver()
    assert [(s, w) for s, w, _ in bench.run(4000, step_s=10)] == [(60, "ben")]
    assert bench.alerts()[0].state == "unanswered"


def test_a_notice_is_told_once(make):
    bench = make(rules=[{"labels": ["dog"], "severity": "notice"}])
    bench.event(event_type="dog")
    assert len(bench.deliver()) == 1
    assert bench.run(5000, step_s=10) == []


def test_grouping_counts_and_tells_the_rest(make):
    bench = make(rules=[{"labels": ["dog"], "severity": "notice", "group_s": 60}])
    for seq in range(1, 7):
        bench.event(event_type="dog", seq=seq, eid=f"5b1e-{seq}")
    assert len(bench.deliver()) == 1
    assert [(s, t) for s, _, t in bench.run(300)] == [(60, "+5 more: Dog - kitchen")]
    assert bench.alerts()[0].count == 6


def test_grouping_is_per_device_and_label(make):
    devices = [{"id": "demo", "room": "kitchen"}, {"id": "other", "room": "hall"}]
    bench = make(rules=[{"labels": ["*"], "severity": "notice"}], devices=devices)
    bench.event("demo", event_type="dog")
    bench.event("other", event_type="dog")
    bench.event("demo", event_type="cough", seq=2, eid="5b1e-2")
    assert len(bench.deliver()) == 3


def test_critical_sounds_are_never_capped(make):
    bench = make(rules=CRITICAL)
    for seq in range(1, 6):
        bench.event(event_type="smoke_alarm", seq=seq, eid=f"5b1e-{seq}")
    titles = [row.payload["title"] for row in bench.deliver()]
    assert len(titles) == 5
    assert titles[-1] == "Again (5x): Smoke alarm - kitchen"
    assert len(bench.alerts()) == 1


def test_a_critical_sound_after_an_answer_is_a_new_alert(make):
    bench = make(rules=CRITICAL)
    bench.event(event_type="smoke_alarm")
    with bench.store.write() as tx:
        escalation.acknowledge(
            tx, bench.config, bench.alerts()[0].id, by="anna", how="web", now_ms=START_MS
        )
    bench.event(event_type="smoke_alarm", seq=2, eid="5b1e-2")
    assert len(bench.alerts()) == 2


def test_snooze_holds_ordinary_sounds_and_starts_no_group(make):
    from earmark_gateway.model import Snooze

    bench = make(rules=[{"labels": ["dog"], "severity": "notice", "group_s": 600}, *CRITICAL])
    with bench.store.write() as tx:
        until = START_MS + 60_000
        tx.insert_snooze(
            Snooze(id=0, label="", device_id="", room="kitchen", until_ms=until, by="anna")
        )
    bench.event(event_type="dog")
    assert bench.deliver() == []
    bench.event(event_type="smoke_alarm", seq=2, eid="5b1e-2")
    assert len(bench.deliver()) == 1
    bench.clock.advance(61)
    # Had the held sound started a group, this one would be swallowed.
    bench.event(event_type="dog", seq=3, eid="5b1e-3")
    assert "Dog - kitchen" in [row.payload["title"] for row in bench.deliver()]


def test_false_alarm_is_recorded_and_ends_the_escalation(make):
    bench = make(rules=CRITICAL)
    bench.event(event_type="smoke_alarm")
    (alert,) = bench.alerts()
    with bench.store.write() as tx:
        assert escalation.false_alarm(
            tx, bench.config, alert.id, by="anna", note="toast", now_ms=START_MS
        )
        assert not escalation.false_alarm(
            tx, bench.config, 999, by="anna", note="", now_ms=START_MS
        )
    (alert,) = bench.alerts()
    assert (alert.false_alarm, alert.note, alert.state) == (True, "toast", "acknowledged")
    assert bench.run(1000) == []


# --- what happens without a sound ------------------------------------------------------------


def test_offline_is_decided_by_the_age_of_the_heartbeat(make):
    bench = make(watch={"offline_after_s": 180})
    bench.send("status", b"online")
    for _ in range(4):
        bench.run(60)
        bench.send("health", health_fields())
    assert bench.alerts() == []
    sent = bench.run(300)
    assert [(w, t) for _, w, t in sent] == [("anna", "Listening device offline - kitchen")]
    assert 180 <= sent[0][0] <= 190
    bench.send("status", b"online")
    assert [t for _, _, t in bench.run(10)] == ["Over: Listening device offline - kitchen"]


def test_a_late_will_of_a_replaced_connection_is_only_a_hint(make):
    bench = make()
    bench.send("status", b"online")
    bench.clock.advance(1)
    bench.send("status", b"offline")
    bench.run(40)
    bench.send("status", b"online")
    assert bench.run(120) == []
    bench.send("status", b"offline")
    assert [t for _, _, t in bench.run(95)] == ["Listening device offline - kitchen"]


def test_no_activity_by_ten(make):
    entry = {"resident": "Marta", "by": "10:00", "since": "05:00"}
    clock = FakeClock(at("2026-11-21T09:59:00"))
    bench = make(clock, **BERLIN, no_activity=[entry])
    bench.scheduler.begin()
    assert [t for _, _, t in bench.run(120)] == ["No activity"]
    clock = FakeClock(at("2026-11-21T09:58:00"))
    bench = make(clock, **BERLIN, no_activity=[entry])
    bench.scheduler.begin()
    bench.event(event_type="cough")
    assert bench.run(180) == []


def test_no_activity_tells_whom_its_entry_names(make):
    clock = FakeClock(at("2026-11-21T09:59:00"))
    entries = [
        {"resident": "Marta", "by": "10:00", "since": "05:00", "to": ["ben"]},
        {"resident": "Otto", "by": "10:00", "since": "05:00", "to": ["primary"]},
    ]
    bench = make(clock, **BERLIN, no_activity=entries)
    bench.scheduler.begin()
    bench.run(120)
    with bench.store.read() as tx:
        told = {
            (alert.resident, row.recipient)
            for alert in tx.alerts()
            for row in tx.outbox_of_alert(alert.id)
        }
        (row, *_) = tx.outbox_of_alert(tx.alerts()[0].id)
    assert told == {("Marta", "ben"), ("Otto", "anna")}
    assert row.payload["body"].startswith("Noticed at")


@pytest.mark.parametrize("named", [False, True])
def test_a_gap_is_shown_and_told_if_a_rule_says_so(make, named):
    rules = [{"labels": ["events_missing"], "severity": "alert"}] if named else []
    bench = make(rules=rules)
    bench.event(seq=1, event_type="dog")
    bench.event(seq=3, event_type="dog", eid="5b1e-3")
    titles = [title for _, _, title in bench.run(200)]
    with bench.store.read() as tx:
        assert [problem.kind for problem in tx.problems("demo")] == ["events_missing"]
    assert titles == (["Sounds were lost on the way - kitchen"] if named else [])
    bench.event(seq=2, event_type="dog", eid="5b1e-2")
    titles = [title for _, _, title in bench.run(20)]
    with bench.store.read() as tx:
        assert tx.problems("demo") == []
    assert titles == (["Over: Sounds were lost on the way - kitchen"] if named else [])


def test_digest_and_self_test_come_at_their_time(make):
    people = [
        {"id": "anna", "name": "A", "role": "primary", "channels": ["x://"], "digest": True},
        {"id": "ben", "name": "B", "role": "backup", "channels": ["y://"]},
    ]
    clock = FakeClock(at("2026-11-30T20:00:00"))
    bench = make(clock, **BERLIN, people=people, watch={"offline_after_s": 10**6})
    bench.scheduler.begin()
    bench.event(event_type="cough")
    sent = bench.run(16 * 3600, step_s=60)
    assert [(w, t) for _, w, t in sent] == [("anna", "Summary of 2026-11-30")]
    assert bench.self_tests == 1
    with bench.store.read() as tx:
        assert tx.digest("2026-11-30") == {("Marta", "cough"): 1}


def test_what_fell_due_while_the_gateway_was_off_is_made_up_for(make):
    people = [{"id": "anna", "name": "A", "role": "primary", "channels": ["x://"], "digest": True}]
    entry = {"resident": "Marta", "by": "10:00", "since": "05:00"}
    clock = FakeClock(at("2026-11-21T07:30:00"))
    bench = make(clock, **BERLIN, people=people, no_activity=[entry])
    bench.scheduler.begin()
    clock.advance(4 * 3600)
    bench.scheduler.begin()
    titles = [row.payload["title"] for row in bench.deliver()]
    titles += [title for _, _, title in bench.run(5)]
    assert titles == ["Gateway was off", "Summary of 2026-11-20"]
    # Sounds of the morning arrive after the start: no false "no activity".
    bench.event(event_type="cough", late=True, ts=at("2026-11-21T09:00:00"), sync=True)
    assert bench.run(600) == []
    with bench.store.read() as tx:
        assert {t.key for t in tx.timers()} >= {"no_activity:0", "digest:"}


def test_a_break_of_the_gateway_is_reported_at_its_next_start(make):
    bench = make()
    bench.scheduler.begin()
    bench.clock.advance(300)
    bench.scheduler.begin()
    assert bench.deliver() == []
    bench.clock.advance(7200)
    bench.scheduler.begin()
    assert [row.payload["title"] for row in bench.deliver()] == ["Gateway was off"]


# --- configuration ---------------------------------------------------------------------------


def test_check_says_it_in_one_sentence():
    c = config(**BERLIN, rules=CRITICAL)
    lines = explain(c, "smoke_alarm", at=dt.time(3), room="kitchen", now_ms=START_MS)
    assert lines[0] == "smoke_alarm at 03:00 in the kitchen: Anna now, Ben after 2 min"
    assert "starts over after 5 min" in lines[2]


def test_check_predicts_what_happens(make):
    """The explanation and the machine agree, over labels and hours."""
    people = [
        {
            "id": "anna",
            "name": "Anna",
            "role": "primary",
            "channels": ["x://"],
            "quiet": "22:00-07:00",
        },
        {"id": "ben", "name": "Ben", "role": "backup", "channels": ["y://"]},
    ]
    some = [
        *CRITICAL,
        {"labels": ["dog"], "steps": [{"to": ["primary"]}, {"after_s": 60, "to": ["ben"]}]},
    ]
    for hour in (3, 12):
        for label in ("smoke_alarm", "dog", "cough"):
            clock = FakeClock(at(f"2026-11-21T{hour:02}:00:00"))
            bench = make(clock, **BERLIN, people=people, rules=some)
            line = explain(
                bench.config, label, at=dt.time(hour), room="kitchen", now_ms=clock.now_ms()
            )[0]
            bench.event(event_type=label)
            told = [row.recipient for row in bench.deliver()]
            told += [who for s, who, _ in bench.run(200) if s < 200]
            expected = [n for n in ("anna", "ben") if f"{n.title()} now" in line]
            expected += [n for n in ("anna", "ben") if f"{n.title()} after" in line]
            assert told == expected, line


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[mqtt]\nport = 99999", "mqtt.port"),
        ("[mqtt]\nprot = 1", "mqtt.prot"),
        ("[gateway]\ntimezone = 'Mars'", "time zone"),
        ("[[rules]]\nlabels = ['Dog']", "not a label"),
        ("[[rules]]\nlabels = ['dog']\nsteps = [{to = ['nobody']}]", "neither a role"),
        (
            "[[rules]]\nlabels=['dog']\nsteps=[{after_s=9,to=['primary']},{to=['backup']}]",
            "ascending",
        ),
        ("[[rules]]\nlabels = ['dog']\nbetween = '9-10'", "22:00-07:00"),
        ("[[devices]]\nid = 'A'", "device id"),
        ("[[devices]]\nid = 'a'\n[[devices]]\nid = 'a'", "twice"),
        ("[web]\nhost = '0.0.0.0'\nlogin = false", "loopback"),
        ("nonsense", "Expected"),
    ],
)
def test_mistakes_in_the_file_are_one_clear_message(tmp_path, text, message):
    path = tmp_path / "c.toml"
    path.write_text(text)
    with pytest.raises(GatewayError, match=message) as caught:
        load_config(path)
    assert str(path) in str(caught.value)


def test_environment_overrides_single_values(tmp_path, monkeypatch):
    path = tmp_path / "c.toml"
    path.write_text("[mqtt]\nhost = 'broker'\nport = 1234\npassword_file = 'pw'\n")
    (tmp_path / "pw").write_text("secret\n")
    monkeypatch.setenv("EARMARK_GATEWAY__MQTT__PORT", "4321")
    loaded = load_config(path)
    assert (loaded.mqtt.host, loaded.mqtt.port) == ("broker", 4321)
    assert loaded.mqtt.password.get_secret_value() == "secret"
    assert "secret" not in repr(loaded)


def test_a_missing_file_says_what_to_do():
    with pytest.raises(GatewayError, match="no configuration"):
        load_config(Path("does-not-exist.toml"))


def test_the_default_configuration_is_valid():
    assert Config().rules == ()
