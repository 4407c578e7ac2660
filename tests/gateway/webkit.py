"""A house for the page's tests: rooms, people, sounds of two days, an alarm, some trouble."""

from __future__ import annotations

from dataclasses import dataclass, field

from earmark_gateway import service
from earmark_gateway.config import Config
from gwkit import FakeClock, event_fields, health_fields, incoming

PASSWORD = "correct horse"
SECRET = b"k" * 32
LABELS = ["smoke_alarm", "co_alarm", "glass_break", "cough", "dog", "doorbell", "water_running"]


@dataclass
class NoBroker:
    """Stands where the MQTT link would be."""

    connected: bool = True
    published: list = field(default_factory=list)

    def publish(self, topic, payload, **_options):
        self.published.append((topic, payload))
        return True


def sections(tmp_path, **web):
    return {
        "gateway": {"timezone": "Europe/Berlin", "base_url": "http://127.0.0.1"},
        "store": {"url": f"sqlite:///{tmp_path / 'house.sqlite'}"},
        "web": {"enabled": True, "port": 0, **web},
        "devices": [
            {"id": "a1b2c3d4e5f6", "room": "kitchen", "resident": "Marta"},
            {"id": "b2c3d4e5f6a1", "room": "bedroom", "resident": "Marta"},
            {"id": "c3d4e5f6a1b2", "room": "bathroom", "resident": "Marta"},
        ],
        "people": [
            {"id": "anna", "name": "Anna", "role": "primary", "channels": ["console:"],
             "quiet": "22:00-07:00", "digest": True},
            {"id": "ben", "name": "Ben", "role": "backup", "channels": ["console:"]},
        ],
        "rules": [
            {"labels": ["smoke_alarm", "co_alarm"], "severity": "critical", "repeat_s": 300,
             "steps": [{"after_s": 0, "to": ["primary"]}, {"after_s": 120, "to": ["backup"]}]},
            {"labels": ["cough"], "rooms": ["bedroom"], "between": "22:00-07:00",
             "severity": "alert", "group_s": 1800},
            {"labels": ["doorbell"], "severity": "notice"},
        ],
    }  # fmt: skip


class House:
    """A gateway with its own clock, fed without a broker."""

    def __init__(self, tmp_path, **web):
        self.clock = FakeClock()
        self.gateway = service.Gateway(Config(**sections(tmp_path, **web)), clock=self.clock)
        self.gateway.store.take_over()
        self.gateway._secret = SECRET
        with self.gateway.store.write() as tx:
            self.gateway._register_configured(tx)
        self.gateway.mqtt = NoBroker()
        self.seq = dict.fromkeys(("a1b2c3d4e5f6", "b2c3d4e5f6a1", "c3d4e5f6a1b2"), 0)

    def receive(self, device_id, kind, payload):
        """Store a message as the writer does, and tell listeners after the commit."""
        message = incoming(payload, device_id=device_id, kind=kind, now_ms=self.clock.now_ms())
        with self.gateway.store.write() as tx:
            outcome = self.gateway.processor.apply(tx, [message])
        self.gateway._on_commit(outcome)

    def hear(self, device_id, label, *, seconds=2.0, conf=0.9):
        """A sound from beginning to end; returns nothing, as devices do."""
        for phase, dur_ms in (("start", None), ("end", round(seconds * 1000))):
            self.seq[device_id] += 1
            start_seq = self.seq[device_id] - (phase == "end")
            self.receive(
                device_id,
                "event",
                event_fields(
                    event_type=label, phase=phase, dur_ms=dur_ms, conf=conf, boot_n=7,
                    eid=f"5b1e-{start_seq}", seq=self.seq[device_id],
                    up_ms=self.clock.now_ms() % 10**9, ts=self.clock.now_ms(), sync=True,
                ),
            )  # fmt: skip

    def health(self, device_id, **changes):
        fields = health_fields(boot_n=7, seq_next=self.seq[device_id] + 1, **changes)
        self.receive(device_id, "health", fields)

    def introduce(self):
        for device_id in self.seq:
            info = {"v": 1, "firmware": "1.0.0", "model": "em-1.4.0+3fa9",
                    "frontend": "0123456789abcdef", "labels": LABELS,
                    "thresholds": dict.fromkeys(LABELS, 0.8)}  # fmt: skip
            self.receive(device_id, "info", info)

    def deliver(self):
        """Every due notification is accepted by its provider."""
        now_ms = self.clock.now_ms()
        store = self.gateway.store
        for row in store.claim_outbox("house", now_ms=now_ms, lease_ms=60_000, limit=100):
            store.finish_outbox(row.id, "house", state="sent", now_ms=now_ms)

    def live_two_days(self):
        """Ordinary sounds, one of them told; ends on a quiet Saturday evening."""
        self.clock.advance(-26 * 3600)
        self.introduce()
        for hours, device_id, label, seconds in (
            (0, "b2c3d4e5f6a1", "cough", 1.2), (3, "a1b2c3d4e5f6", "water_running", 95),
            (14, "a1b2c3d4e5f6", "dog", 4.5), (4, "a1b2c3d4e5f6", "doorbell", 1.8),
            (4.8, "c3d4e5f6a1b2", "water_running", 620 - 30),
        ):  # fmt: skip
            self.clock.advance(hours * 3600)
            self.hear(device_id, label, seconds=seconds, conf=0.87)
            self.deliver()
            if label == "cough":
                self.gateway.acknowledge(self.open_alert().id, by="anna", how="link")
        self.clock.advance(0.2 * 3600)
        self.health("a1b2c3d4e5f6", rssi=-57)
        self.health("b2c3d4e5f6a1", rssi=-74, up_ms=3_600_000 * 80)
        self.health("c3d4e5f6a1b2", rssi=-66)
        self.clock.advance(20)

    def smoke(self):
        """The alarm: Anna has been told, two minutes ago; Ben is next."""
        self.hear("a1b2c3d4e5f6", "smoke_alarm", seconds=30, conf=0.97)
        self.deliver()
        self.clock.advance(100)
        return self.open_alert()

    def open_alert(self):
        with self.gateway.store.read() as tx:
            return tx.open_alerts()[0]

    def alert(self, alert_id):
        with self.gateway.store.read() as tx:
            return tx.get_alert(alert_id)

    def trouble(self):
        """One device muted, one offline for hours, one waiting to be let in."""
        self.health("b2c3d4e5f6a1", mic_ok=False, flags=["muted"])
        with self.gateway.store.write() as tx:
            since_ms = self.clock.now_ms() - 3 * 3600 * 1000
            tx.update_device("c3d4e5f6a1b2", offline_since_ms=since_ms, last_seen_ms=since_ms)
        stranger = incoming(
            health_fields(), device_id="d4e5f6a1b2c3", kind="health", now_ms=self.clock.now_ms()
        )
        with self.gateway.store.write() as tx:
            self.gateway.processor.apply(tx, [stranger])

    def close(self):
        self.gateway.store.close()
