"""Test kit of the gateway: a clock to set, messages, a gateway without network."""

from __future__ import annotations

import json
import time

from earmark_gateway import topics
from earmark_gateway.config import Config
from earmark_gateway.ingest import Incoming, Processor

START_MS = 1_795_227_818_123  # a Saturday evening in November 2026, UTC
BOOT = "5b1e9c7702aa41d3"


def wait_for(condition, timeout_s=60.0, what="condition"):
    """Return the first true value of `condition`."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what} not reached in {timeout_s} s"
        time.sleep(0.02)
    return value


class FakeClock:
    """Both clocks by hand."""

    def __init__(self, now_ms=START_MS):
        self.wall_ms = now_ms
        self.mono_s = 1000.0

    def now_ms(self):
        return self.wall_ms

    def monotonic_s(self):
        return self.mono_s

    def advance(self, seconds):
        self.wall_ms += round(seconds * 1000)
        self.mono_s += seconds

    def jump(self, seconds):
        """The wall clock is set; time has not passed."""
        self.wall_ms += round(seconds * 1000)


def event_fields(**changes):
    fields = {
        "v": 1,
        "event_type": "glass_break",
        "phase": "start",
        "eid": "5b1e-1",
        "boot": BOOT,
        "boot_n": 42,
        "seq": 1,
        "up_ms": 8_123_456,
        "ts": None,
        "sync": False,
        "conf": 0.93,
        "thr": 0.8,
        "dur_ms": None,
        "model": "em-1.4.0+3fa9",
        "late": False,
    }
    return fields | changes


def health_fields(**changes):
    fields = {
        "v": 1,
        "boot": BOOT,
        "boot_n": 42,
        "seq_next": 1,
        "up_ms": 8_123_456,
        "ts": None,
        "sync": False,
        "state": "online",
        "queue": 0,
        "queue_critical": 0,
        "drops": 0,
        "drops_critical": 0,
        "mic_ok": True,
        "noise_dbfs": -63,
        "overruns": 0,
        "heap_min": 81920,
        "stack_min": 1024,
        "rssi": -61,
        "inf_p99_ms": 41,
        "wdt_resets": 0,
        "flags": [],
        "firmware": "1.0.0",
        "model": "em-1.4.0+3fa9",
    }
    return fields | changes


def encode(fields):
    return json.dumps(fields, separators=(",", ":")).encode()


def incoming(payload, *, device_id="demo", kind="event", now_ms=START_MS, retain=False, mid=1):
    data = payload if isinstance(payload, bytes) else encode(payload)
    return Incoming(topics.device(device_id, kind), data, retain, 1, mid, 1, now_ms)


def config(**sections):
    people = [
        {"id": "anna", "name": "Anna", "role": "primary", "channels": ["test://anna"]},
        {"id": "ben", "name": "Ben", "role": "backup", "channels": ["test://ben"]},
    ]
    defaults = {
        "people": people,
        "devices": [{"id": "demo", "room": "kitchen", "resident": "Marta"}],
        # Most tests let hours pass without heartbeats.
        "watch": {"offline_after_s": 1e7},
        "limits": {"events_per_s": 1e6, "burst": 10**6, "critical_burst": 10**6},
    }
    return Config(**(defaults | sections))


class Bench:
    """Processor and store without broker and threads."""

    def __init__(self, store, clock=None, **sections):
        from earmark_gateway.scheduler import Scheduler
        from earmark_gateway.service import approve_device

        self.clock = clock or FakeClock()
        self.store = store
        self.config = config(**sections)
        self.processor = Processor(self.config, self.clock)
        self.self_tests = 0
        self.scheduler = Scheduler(
            store,
            self.processor,
            self.clock,
            wake_outbox=lambda: None,
            run_self_test=self.count_self_test,
        )
        with store.write() as tx:
            for device in self.config.devices:
                approve_device(
                    tx,
                    device.id,
                    now_ms=self.clock.now_ms(),
                    room=device.room,
                    resident=device.resident,
                )

    def count_self_test(self):
        self.self_tests += 1

    def receive(self, *messages):
        with self.store.write() as tx:
            return self.processor.apply(tx, messages)

    def event(self, device_id="demo", **changes):
        fields = event_fields(**changes)
        now_ms = self.clock.now_ms()
        return self.receive(incoming(fields, device_id=device_id, now_ms=now_ms))

    def send(self, kind, payload, device_id="demo", **options):
        message = incoming(
            payload, device_id=device_id, kind=kind, now_ms=self.clock.now_ms(), **options
        )
        return self.receive(message)

    def deliver(self):
        """Take everything that is due as if a provider had accepted it."""
        sent = []
        while rows := self.store.claim_outbox(
            "bench", now_ms=self.clock.now_ms(), lease_ms=60_000, limit=100
        ):
            for row in rows:
                now_ms = self.clock.now_ms()
                assert self.store.finish_outbox(row.id, "bench", state="sent", now_ms=now_ms)
                sent.append(row)
        return sent

    def run(self, seconds, step_s=1.0):
        """Let time pass; returns what was sent: (second, recipient, title)."""
        sent = []
        for i in range(round(seconds / step_s)):
            self.clock.advance(step_s)
            self.scheduler.tick()
            at = round((i + 1) * step_s, 3)
            sent += [(at, row.recipient, row.payload["title"]) for row in self.deliver()]
        return sent

    def alerts(self):
        with self.store.read() as tx:
            return tx.alerts(limit=1000)
