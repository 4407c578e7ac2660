"""A device without its network: numbering, outbox, boots, clock errors, as in the firmware."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

import msgspec

from earmark_gateway import wire

OUTBOX_CAPACITY = 256
MODEL = "sim-1.0.0+51a1"
FIRMWARE = "sim-1.0.0"
LABELS = ("smoke_alarm", "glass_break", "dog", "cough", "doorbell")

Key = tuple[str, str, int]  # device id, boot, seq: what the gateway must store exactly once


@dataclass
class Entry:
    """An event in the outbox."""

    event: wire.Event
    sent_s: float = -1e9
    attempts: int = 0


@dataclass
class SimDevice:
    """One device.

    Parameters
    ----------
    device_id : str
    seed : int
    labels : tuple of str
        What its model can hear.
    trust_puback : bool
        Forget an event when the broker, not the gateway, has acknowledged it: the mistake that
        the application acknowledgement avoids.
    clock_error_ms : int
        How far its wall clock is off; None: it has never been set.
    """

    device_id: str
    seed: int = 0
    labels: tuple[str, ...] = LABELS
    trust_puback: bool = False
    clock_error_ms: int | None = 0
    outbox: dict[tuple[str, int], Entry] = field(default_factory=dict)
    accepted: set[Key] = field(default_factory=set)
    dropped: int = 0
    resent: int = 0
    acknowledged: int = 0
    boot_n: int = 0
    episode: int = 0

    def __post_init__(self) -> None:
        self.random = random.Random(f"{self.device_id}{self.seed}")  # noqa: S311 - a simulation
        self.boot = ""
        self.next_seq = 1
        self.booted_s = 0.0

    def start(self, now_s: float) -> None:
        """Boot: a new random id, numbers from 1; the outbox survives (it is in flash)."""
        self.boot = f"{self.random.getrandbits(64):016x}"
        self.boot_n += 1
        self.next_seq = 1
        self.booted_s = now_s
        for entry in self.outbox.values():
            entry.sent_s = -1e9

    def hear(self, now_s: float, now_ms: int, *, gap: bool = False) -> Key | None:
        """Hear a short sound; returns its key if the outbox has accepted it.

        `gap` or a full outbox uses a number up without an event.
        """
        seq = self.next_seq
        self.next_seq += 1
        if gap or len(self.outbox) >= OUTBOX_CAPACITY:
            self.dropped += 1
            return None
        self.episode += 1
        wall_ms = None if self.clock_error_ms is None else now_ms + self.clock_error_ms
        event = wire.Event(
            v=1,
            event_type=self.random.choice(self.labels),
            phase="once",
            eid=f"{self.boot[:4]}-{self.episode}",
            boot=self.boot,
            boot_n=self.boot_n,
            seq=seq,
            up_ms=round((now_s - self.booted_s) * 1000),
            ts=wall_ms,
            sync=wall_ms is not None,
            conf=round(self.random.uniform(0.8, 1.0), 3),
            thr=0.8,
            dur_ms=self.random.randrange(200, 5000),
            model=MODEL,
            late=False,
        )
        self.outbox[self.boot, seq] = Entry(event)
        key = (self.device_id, self.boot, seq)
        self.accepted.add(key)
        return key

    def due(self, now_s: float, resend_s: float, limit: int) -> list[tuple[tuple[str, int], bytes]]:
        """Events to send now, oldest first, with their keys."""
        messages = []
        for key, entry in self.outbox.items():
            if now_s - entry.sent_s < resend_s:
                continue
            entry.sent_s = now_s
            entry.attempts += 1
            self.resent += entry.attempts > 1
            late = entry.attempts > 1 or key[0] != self.boot
            event = msgspec.structs.replace(entry.event, late=late)
            messages.append((key, msgspec.json.encode(event)))
            if len(messages) == limit:
                break
        return messages

    def reconnected(self) -> None:
        """Send again what was in flight."""
        for entry in self.outbox.values():
            entry.sent_s = -1e9

    def on_ack(self, payload: bytes) -> None:
        """Forget what the gateway has stored."""
        ack = msgspec.json.decode(payload, type=wire.Ack)
        stored = [key for key in self.outbox if key[0] == ack.boot and key[1] <= ack.upto]
        stored += [(ack.boot, seq) for seq in ack.seqs]
        for key in stored:
            self.acknowledged += self.outbox.pop(key, None) is not None

    def on_puback(self, key: tuple[str, int]) -> None:
        """Learn that the broker has the event: not durable, only a naive device forgets it."""
        if self.trust_puback:
            self.acknowledged += self.outbox.pop(key, None) is not None

    def health(self, now_s: float, now_ms: int) -> bytes:
        """Encode the health message of this moment."""
        wall_ms = None if self.clock_error_ms is None else now_ms + self.clock_error_ms
        fields: dict[str, Any] = {
            "v": 1,
            "boot": self.boot,
            "boot_n": self.boot_n,
            "seq_next": self.next_seq,
            "up_ms": round((now_s - self.booted_s) * 1000),
            "ts": wall_ms,
            "sync": wall_ms is not None,
            "state": "online",
            "queue": len(self.outbox),
            "queue_critical": 0,
            "drops": self.dropped,
            "drops_critical": 0,
            "mic_ok": True,
            "noise_dbfs": -60,
            "overruns": 0,
            "heap_min": 90_000,
            "stack_min": 1500,
            "rssi": -60,
            "inf_p99_ms": 40,
            "wdt_resets": 0,
            "flags": [],
            "firmware": FIRMWARE,
            "model": MODEL,
        }
        return msgspec.json.encode(fields)

    def info(self) -> bytes:
        """Encode the info message."""
        info = wire.Info(
            v=1,
            firmware=FIRMWARE,
            model=MODEL,
            frontend="0123456789abcdef",
            labels=list(self.labels),
            thresholds=dict.fromkeys(self.labels, 0.8),
        )
        return msgspec.json.encode(info)
