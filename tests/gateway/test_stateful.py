"""Whatever happens in whatever order: an open critical alert is never forgotten."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from earmark_gateway import escalation
from earmark_gateway.model import Snooze
from earmark_gateway.store.sqlite import SqliteStore
from gwkit import Bench
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

RULES = [
    {
        "labels": ["smoke_alarm"],
        "severity": "critical",
        "steps": [{"to": ["primary"]}, {"after_s": 60, "to": ["backup"]}],
        "repeat_s": 120,
    },
    {"labels": ["dog"], "steps": [{"to": ["primary"]}, {"after_s": 90, "to": ["ben"]}]},
    {"labels": ["cough"], "severity": "notice", "group_s": 60},
]
QUIET = [
    {"id": "anna", "name": "A", "role": "primary", "channels": ["x://"], "quiet": "21:00-09:00"},
    {"id": "ben", "name": "B", "role": "backup", "channels": ["y://", "z://"]},
]


class Escalation(RuleBasedStateMachine):
    """Sounds, time, clock jumps, deliveries of every outcome, answers, restarts."""

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="earmark-"))
        self.seq = 0
        self.bench = None
        self.open()

    def open(self):
        clock = self.bench.clock if self.bench else None
        store = SqliteStore(str(self.folder / "s.db"))
        store.take_over()
        self.bench = Bench(store, clock, rules=RULES, people=QUIET)
        self.bench.scheduler.begin()

    def teardown(self):
        self.bench.store.close()
        shutil.rmtree(self.folder)

    @rule(label=st.sampled_from(["smoke_alarm", "dog", "cough"]), n=st.integers(1, 3))
    def sounds(self, label, n):
        for _ in range(n):
            self.seq += 1
            self.bench.event(event_type=label, seq=self.seq, eid=f"5b1e-{self.seq}")

    @rule(seconds=st.sampled_from([1, 30, 59, 61, 119, 400]))
    def time_passes(self, seconds):
        self.bench.clock.advance(seconds)
        self.bench.scheduler.tick()

    @rule(seconds=st.sampled_from([-3600, -30, 30, 3600]))
    def the_clock_is_set(self, seconds):
        self.bench.clock.jump(seconds)
        self.bench.scheduler.tick()

    @rule(state=st.sampled_from(["sent", "failed", "dead", None]))
    def delivers(self, state):
        now = self.bench.clock.now_ms()
        rows = self.bench.store.claim_outbox("me", now_ms=now, lease_ms=60_000, limit=2)
        for row in rows:
            if state is not None:
                later = now + 5000 if state == "failed" else 0
                self.bench.store.finish_outbox(row.id, "me", state=state, now_ms=now, next_ms=later)

    @rule(newest=st.booleans(), wrong=st.booleans())
    def somebody_answers(self, newest, wrong):
        with self.bench.store.write() as tx:
            alerts = tx.open_alerts()
            if alerts:
                alert = alerts[0 if newest else -1]
                now = self.bench.clock.now_ms()
                if wrong:
                    escalation.false_alarm(
                        tx, self.bench.config, alert.id, by="ben", note="", now_ms=now
                    )
                else:
                    escalation.acknowledge(
                        tx, self.bench.config, alert.id, by="anna", how="web", now_ms=now
                    )

    @rule()
    def somebody_snoozes_everything(self):
        until = self.bench.clock.now_ms() + 600_000
        with self.bench.store.write() as tx:
            tx.insert_snooze(
                Snooze(id=0, label="", device_id="", room="", until_ms=until, by="anna")
            )

    @rule()
    def the_gateway_restarts(self):
        self.bench.store.close()
        self.open()

    @invariant()
    def open_critical_alerts_are_pursued(self):
        with self.bench.store.read() as tx:
            for alert in tx.open_alerts():
                if alert.severity == "critical":
                    assert tx.timers_of_alert(alert.id) or tx.count_unsent(alert.id), alert

    @invariant()
    def no_wait_is_longer_than_its_length(self):
        self.bench.scheduler.fire_due()
        with self.bench.store.read() as tx:
            assert tx.longest_wait_ms(self.bench.clock.now_ms()) == 0
            assert tx.due_timers(self.bench.clock.now_ms(), 1) == []

    @invariant()
    def answered_alerts_are_left_alone(self):
        with self.bench.store.read() as tx:
            for alert in tx.alerts(limit=1000):
                if alert.state == "acknowledged":
                    rows = tx.outbox_of_alert(alert.id)
                    assert not [r for r in rows if r.state == "pending" and r.kind == "alert"]
                    assert not [t for t in tx.timers_of_alert(alert.id) if t.kind == "escalate"]

    @invariant()
    def every_critical_sound_was_queued(self):
        with self.bench.store.read() as tx:
            for alert in tx.alerts(limit=1000):
                if alert.severity == "critical":
                    kinds = [r.kind for r in tx.outbox_of_alert(alert.id)]
                    assert "alert" in kinds
                    assert alert.flushed == alert.count


TestEscalation = Escalation.TestCase
TestEscalation.settings = settings(
    max_examples=40,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
