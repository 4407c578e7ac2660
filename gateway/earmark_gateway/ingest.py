"""From messages to durable rows: what one transaction does with a batch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from earmark_gateway import escalation, labels, model, topics, wire
from earmark_gateway.limits import RateLimiter
from earmark_gateway.rules import Sound
from earmark_gateway.timing import earlier, occurred

if TYPE_CHECKING:
    from collections.abc import Sequence

    from earmark_gateway.clock import Clock
    from earmark_gateway.config import Config
    from earmark_gateway.store.base import Transaction

MAX_ACK_SEQS = 64  # the firmware's limit per acknowledgement
_FAULT_FLAGS = frozenset({"self_test", "log_failed", "kv_lost"})


@dataclass(frozen=True, slots=True)
class Incoming:
    """A message as it came from the broker."""

    topic: str
    payload: bytes
    retain: bool
    qos: int
    mid: int
    epoch: int
    received_ms: int


@dataclass(frozen=True, slots=True)
class Change:
    """Something that has become durable; listeners (page, Home Assistant, metrics) get it."""

    kind: str  # event, status, health, info, rsp, device, alert
    device_id: str
    event: wire.Event | None = None
    occurred_ms: int = 0
    alert_id: int | None = None
    text: str = ""


@dataclass
class Outcome:
    """What to do once the transaction is durable."""

    acks: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    upto: dict[tuple[str, str], int] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)

    def count(self, what: str) -> None:
        """Add one to a counter of the metrics."""
        self.counts[what] = self.counts.get(what, 0) + 1

    def ack_messages(self) -> list[tuple[str, wire.Ack]]:
        """(device id, acknowledgement) pairs."""
        messages = []
        for (device_id, boot), seqs in self.acks.items():
            upto = self.upto.get((device_id, boot), 0)
            above = sorted({seq for seq in seqs if seq > upto})
            for i in range(0, max(1, len(above)), MAX_ACK_SEQS):
                part = above[i : i + MAX_ACK_SEQS]
                messages.append((device_id, wire.Ack(boot=boot, upto=upto, seqs=part)))
        return messages


class Processor:
    """Applies batches of messages to a transaction.

    Parameters
    ----------
    config : Config
    clock : Clock
    """

    def __init__(self, config: Config, clock: Clock) -> None:
        self.config = config
        self._clock = clock
        self._limiter = RateLimiter(config.limits)
        # Heartbeat ages survive jumps of the wall clock; a restart begins with full grace.
        self.last_seen_s: dict[str, float] = {}

    def set_config(self, config: Config) -> None:
        """Use another configuration from the next batch on."""
        self.config = config
        self._limiter = RateLimiter(config.limits)

    def apply(self, tx: Transaction, batch: Sequence[Incoming]) -> Outcome:
        """Decide and write everything that follows from the messages."""
        work = _Batch(self, tx, self._clock.monotonic_s())
        for message in batch:
            work.handle(message)
        work.finish()
        return work.outcome

    def allow(self, device_id: str, label: str, now_s: float) -> bool:
        """Whether the rate limit lets an event pass."""
        return self._limiter.allow(device_id, label, now_s)


def _refuse_retained(message: Incoming, parsed: topics.Parsed) -> None:
    if message.retain and parsed.kind in ("event", "health"):
        raise wire.WireError("retained", "a retained event would fire again")


class _Batch:
    """One batch in one transaction; rows touched often are written once, at the end."""

    def __init__(self, owner: Processor, tx: Transaction, now_s: float) -> None:
        self.owner = owner
        self.config = owner.config
        self.tx = tx
        self.now_s = now_s
        self.outcome = Outcome()
        self.devices: dict[str, model.Device | None] = {}
        self.boots: dict[tuple[str, str], model.Boot] = {}
        self.changed: dict[str, dict[str, object]] = {}
        self.touched: set[tuple[str, str]] = set()

    def handle(self, message: Incoming) -> None:
        """Validate one message and act on it."""
        parsed = topics.parse(message.topic)
        if parsed is None:
            self.refuse(message, "topic", "no device may publish here")
            return
        try:
            _refuse_retained(message, parsed)
            getattr(self, f"on_{parsed.kind}")(message, parsed)
        except wire.WireError as exc:
            self.refuse(message, exc.reason, exc.detail)

    def refuse(self, message: Incoming, reason: str, detail: str) -> None:
        self.tx.insert_dead_letter(
            topic=message.topic,
            reason=reason,
            detail=detail,
            payload=message.payload,
            now_ms=message.received_ms,
        )
        self.outcome.count(f"dead_letter_{reason}")

    def device(self, device_id: str, now_ms: int) -> model.Device | None:
        """Return the device if it is approved. An unknown one is put into quarantine."""
        if device_id not in self.devices:
            self.devices[device_id] = self.tx.get_device(device_id) or self.quarantine(
                device_id, now_ms
            )
        device = self.devices[device_id]
        if device is None or device.state != "approved":
            self.outcome.count("unapproved")
            if device is not None:
                self.count_refused(device)
            return None
        return device

    def count_refused(self, device: model.Device) -> None:
        changes = self.changed.setdefault(device.id, {})
        refused = changes.get("refused", device.refused)
        changes["refused"] = int(refused) + 1 if isinstance(refused, int) else 1

    def quarantine(self, device_id: str, now_ms: int) -> model.Device | None:
        """Register an unknown device; a flood of invented ids fills the quarantine, not more."""
        if len(self.tx.devices(state="quarantined")) >= self.config.limits.max_quarantined:
            return None
        device = model.Device(
            id=device_id, state="quarantined", first_seen_ms=now_ms, last_seen_ms=now_ms
        )
        self.tx.insert_device(device)
        self.outcome.changes.append(Change("device", device_id, text="quarantined"))
        return device

    def seen(self, device_id: str, message: Incoming) -> None:
        """Note a sign of life."""
        if not message.retain:
            self.owner.last_seen_s[device_id] = self.now_s
            self.changed.setdefault(device_id, {})["last_seen_ms"] = message.received_ms

    def boot(self, device_id: str, boot: str, boot_n: int, now_ms: int) -> model.Boot:
        key = (device_id, boot)
        if key not in self.boots:
            known = self.tx.get_boot(device_id, boot)
            self.boots[key] = known or model.Boot(
                device_id=device_id, boot=boot, boot_n=boot_n, first_ms=now_ms, last_ms=now_ms
            )
            if known is None and self.tx.boot_number_taken(device_id, boot, boot_n):
                # Stored all the same, but shown: a copied device, forged events or a lost counter.
                self.tx.set_problem(
                    model.Problem(
                        device_id=device_id,
                        kind="boot_repeated",
                        since_ms=now_ms,
                        detail=f"boot number {boot_n} twice",
                    )
                )
        self.touched.add(key)
        return self.boots[key]

    # --- one method per kind of topic -------------------------------------------------------

    def on_event(self, message: Incoming, parsed: topics.Parsed) -> None:
        event = wire.decode_event(message.payload)
        device = self.device(parsed.device_id, message.received_ms)
        if device is None:
            # No application ack: the device keeps the event until somebody approves it.
            return
        self.seen(device.id, message)
        key = (device.id, event.boot)
        known = labels.CATALOGUE if device.labels is None else device.labels
        valid = event.event_type in known and event.event_type not in labels.INTERNAL
        if not valid and not self.is_own_test(event, device):
            # Acknowledged: the device would offer it for ever.
            self.outcome.acks.setdefault(key, []).append(event.seq)
            raise wire.WireError("label", "not in the device's list of labels")
        boot = self.boot(device.id, event.boot, event.boot_n, message.received_ms)
        if event.seq <= boot.upto:
            self.outcome.acks.setdefault(key, []).append(event.seq)
            self.outcome.count("duplicates")
            return
        if not self.owner.allow(device.id, event.event_type, self.now_s):
            self.count_refused(device)
            self.outcome.count("rate_limited")
            return
        self.outcome.acks.setdefault(key, []).append(event.seq)
        occurred_ms = occurred(event, boot, message.received_ms)
        event_id = self.tx.insert_event(
            device, event, received_ms=message.received_ms, occurred_ms=occurred_ms
        )
        if event_id is None:
            self.outcome.count("duplicates")
            return
        self.outcome.count("events")
        self.number(boot, event.seq, message.received_ms)
        alert_id = self.alert(device, event, event_id, occurred_ms, message.received_ms)
        self.outcome.changes.append(Change("event", device.id, event, occurred_ms, alert_id))

    def is_own_test(self, event: wire.Event, device: model.Device) -> bool:
        own = f"gw-{self.config.gateway.id}"[:32]
        return event.event_type == "self_test" and device.id == own

    def number(self, boot: model.Boot, seq: int, now_ms: int) -> None:
        if seq == boot.upto + 1:
            boot.upto = (
                seq
                if boot.max_seq < seq
                else self.tx.contiguous_upto(boot.device_id, boot.boot, boot.upto)
            )
        boot.max_seq = max(boot.max_seq, seq)
        boot.stored += 1
        boot.last_ms = now_ms

    def alert(
        self,
        device: model.Device,
        event: wire.Event,
        event_id: int,
        occurred_ms: int,
        received_ms: int,
    ) -> int | None:
        """Alert of an event: its episode's if there is one, else a new one by the rules."""
        alert_id = None
        if event.phase != "once":
            alert_id = self.tx.episode_alert(device.id, event.boot, event.eid)
        if alert_id is None and event.phase in ("start", "once", "end"):
            # An end without its start: the start is lost or late, and nobody has been told.
            if event.phase == "end" and self.was_listed(device, event):
                return None
            sound = Sound(
                label=event.event_type,
                device_id=device.id,
                room=device.room,
                resident=device.resident,
                occurred_ms=occurred_ms,
                received_ms=received_ms,
                conf=event.conf,
            )
            alert_id = escalation.on_sound(self.tx, self.config, sound, received_ms)
        if alert_id is not None:
            self.tx.set_event_alert(event_id, alert_id)
            if event.phase in ("update", "end", "once"):
                escalation.on_end(self.tx, alert_id, event.dur_ms, received_ms)
        return alert_id

    def was_listed(self, device: model.Device, event: wire.Event) -> bool:
        """Whether the start of this sound is stored and was routed to nobody."""
        return self.tx.has_start(device.id, event.boot, event.eid)

    def on_status(self, message: Incoming, parsed: topics.Parsed) -> None:
        status = wire.decode_status(message.payload)
        device = self.device(parsed.device_id, message.received_ms)
        if device is None:
            return
        changes = self.changed.setdefault(device.id, {})
        changes |= {"status": status, "status_ms": message.received_ms}
        if status == "online":
            self.seen(device.id, message)
        elif status == "offline" and not message.retain:
            # A hint only: it may be the will of a connection that has long been replaced.
            delay_ms = round(self.config.watch.will_grace_s * 1000)
            self.tx.insert_timer(
                model.Timer(
                    key=f"will:{device.id}:{message.received_ms}",
                    kind="will",
                    due_ms=message.received_ms + delay_ms,
                    delay_ms=delay_ms,
                    payload={"device_id": device.id, "will_ms": message.received_ms},
                )
            )
        self.outcome.changes.append(Change("status", device.id, text=status))

    def on_health(self, message: Incoming, parsed: topics.Parsed) -> None:
        health = wire.decode_health(message.payload)
        device = self.device(parsed.device_id, message.received_ms)
        if device is None:
            return
        self.seen(device.id, message)
        boot = self.boot(device.id, health.boot, health.boot_n, message.received_ms)
        boot.seq_next = max(boot.seq_next, health.seq_next)
        if health.queue == 0:
            boot.offset_ms = earlier(boot.offset_ms, message.received_ms - health.up_ms)
        fields = msgspec.structs.asdict(health)
        self.changed[device.id] |= {
            "health": fields,
            "health_ms": message.received_ms,
            "firmware": health.firmware,
            "model": health.model,
        }
        faults = sorted(_FAULT_FLAGS.intersection(health.flags))
        # Somebody's own wish: told once, and no fault.
        muted = "muted" in health.flags
        deaf = not health.mic_ok and not muted
        mic = [flag for flag in health.flags if flag.startswith("mic_")]
        self.fault(device, "microphone_fault", message, present=deaf, detail=mic)
        self.fault(device, "microphone_muted", message, present=muted, detail=[])
        self.fault(device, "device_fault", message, present=bool(faults), detail=faults)
        self.outcome.changes.append(Change("health", device.id))

    def fault(
        self,
        device: model.Device,
        kind: str,
        message: Incoming,
        *,
        present: bool,
        detail: list[str],
    ) -> None:
        """Tell people when a fault begins and when it is over."""
        now_ms = message.received_ms
        if not present:
            if self.tx.clear_problem(device.id, kind):
                escalation.resolve(self.tx, self.config, kind, device.id, now_ms)
            return
        problem = model.Problem(
            device_id=device.id, kind=kind, since_ms=now_ms, detail=", ".join(detail)
        )
        if self.tx.set_problem(problem):
            sound = Sound(kind, device.id, device.room, device.resident, now_ms, now_ms)
            escalation.on_sound(self.tx, self.config, sound, now_ms)

    def on_info(self, message: Incoming, parsed: topics.Parsed) -> None:
        info = wire.decode_info(message.payload)
        device = self.device(parsed.device_id, message.received_ms)
        if device is None:
            return
        self.changed.setdefault(device.id, {}).update(
            labels=tuple(info.labels),
            thresholds=info.thresholds,
            firmware=info.firmware,
            model=info.model,
            frontend=info.frontend,
        )
        self.devices[device.id] = msgspec.structs.replace(device, labels=tuple(info.labels))
        self.outcome.changes.append(Change("info", device.id))

    def on_rsp(self, message: Incoming, parsed: topics.Parsed) -> None:
        response = wire.decode_response(message.payload)
        device = self.device(parsed.device_id, message.received_ms)
        if device is None:
            return
        self.seen(device.id, message)
        result = "ok" if response.ok else (response.error or "failed")
        text = f"{parsed.name} {response.id} {result}"
        self.outcome.changes.append(Change("rsp", device.id, text=text))

    def finish(self) -> None:
        """Write what was collected."""
        for device_id, changes in self.changed.items():
            if changes:
                self.tx.update_device(device_id, **changes)
        for key in self.touched:
            self.tx.put_boot(self.boots[key])
        for device_id, boot in self.outcome.acks:
            record = self.boots.get((device_id, boot))
            self.outcome.upto[device_id, boot] = record.upto if record else 0
