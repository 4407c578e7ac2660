"""Many simulated devices against a real broker."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from earmark_gateway import topics
from earmark_gateway.simulate.device import LABELS, SimDevice
from earmark_gateway.simulate.mqtt5 import DeviceConnection

if TYPE_CHECKING:
    from collections.abc import Callable

    from earmark_gateway.simulate.device import Key

_MAX_IN_FLIGHT = 32
_SWEEP_S = 0.05


@dataclass(frozen=True)
class FleetOptions:
    """How a fleet behaves. Rates are per device; intervals in seconds.

    `max_events` ends the hearing early; `drain_s` is the time left to deliver what is queued.
    """

    host: str = "127.0.0.1"
    port: int = 1883
    n_devices: int = 10
    duration_s: float = 60.0
    drain_s: float = 60.0
    max_events: int | None = None
    events_per_s: float = 0.02
    reboots_per_s: float = 0.0
    gap_rate: float = 0.0
    health_s: float = 60.0
    online_s: float = 45.0
    resend_s: float = 10.0
    labels: tuple[str, ...] = LABELS
    prefix: str = "sim"
    trust_puback: bool = False
    clock_errors: bool = False
    connects_per_s: float = 500.0
    seed: int = 0


@dataclass
class FleetResult:
    """What a fleet has done."""

    accepted: set[Key]
    acknowledged: int
    pending: int
    resent: int
    dropped: int
    reboots: int
    reconnects: int
    seconds: float


class _Runner:
    """One device on the network."""

    def __init__(self, fleet: Fleet, device: SimDevice) -> None:
        self.fleet = fleet
        self.device = device
        self.connection: DeviceConnection | None = None
        self.lost = asyncio.Event()
        self.in_flight: dict[int, tuple[str, int]] = {}
        self.ready = False

    async def run(self, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        self.device.start(time.monotonic())
        while not self.fleet.finished.is_set():
            if not await self.connect():
                await asyncio.sleep(self.device.random.uniform(0.2, 1.0))
                continue
            heartbeat = asyncio.create_task(self.heartbeat())
            await self.lost.wait()
            heartbeat.cancel()
            self.fleet.reconnects += not self.fleet.finished.is_set()

    def stop(self) -> None:
        """Say goodbye; the loop above ends when the connection has."""
        if self.connected and self.connection is not None:
            self.publish("status", b"stopped", retain=True)
            self.connection.disconnect()

    @property
    def connected(self) -> bool:
        return self.connection is not None and self.ready and not self.lost.is_set()

    async def connect(self) -> bool:
        options = self.fleet.options
        name = self.device.device_id
        self.lost, self.ready = asyncio.Event(), False
        self.in_flight.clear()
        loop = asyncio.get_running_loop()
        try:
            _, connection = await loop.create_connection(
                lambda: DeviceConnection(
                    name,
                    (topics.device(name, "status"), b"offline"),
                    on_message=self.on_message,
                    on_published=self.on_published,
                    on_lost=self.lost.set,
                ),
                options.host,
                options.port,
            )
        except OSError:
            return False
        self.connection = connection
        if not await connection.accepted:
            connection.abort()
            return False
        connection.subscribe([topics.device(name, "ack"), topics.device(name, "cmd/#")])
        self.device.reconnected()
        self.publish("status", b"online", retain=True)
        self.publish("info", self.device.info(), retain=True)
        self.ready = True
        return True

    def publish(self, kind: str, payload: bytes, *, retain: bool = False, qos: int = 1) -> int:
        assert self.connection is not None  # noqa: S101 - called while connected only
        topic = topics.device(self.device.device_id, kind)
        return self.connection.publish(topic, payload, qos=qos, retain=retain)

    async def heartbeat(self) -> None:
        options = self.fleet.options
        await asyncio.sleep(self.device.random.uniform(0, options.health_s))
        next_online = 0.0
        while True:
            now_s = time.monotonic()
            self.publish("health", self.device.health(now_s, time.time_ns() // 10**6), qos=0)
            if now_s >= next_online:
                self.publish("status", b"online", retain=True)
                next_online = now_s + options.online_s
            await asyncio.sleep(min(options.health_s, options.online_s))

    def send_due(self) -> None:
        limit = _MAX_IN_FLIGHT
        for key, payload in self.device.due(time.monotonic(), self.fleet.options.resend_s, limit):
            self.in_flight[self.publish("event", payload)] = key

    def on_message(self, topic: str, payload: bytes) -> None:
        if topic.endswith("/ack"):
            self.device.on_ack(payload)

    def on_published(self, packet_id: int) -> None:
        key = self.in_flight.pop(packet_id, None)
        if key is not None:
            self.device.on_puback(key)

    def reboot(self) -> None:
        """Power off and on again: the connection breaks, the outbox stays."""
        if self.connection is not None:
            self.connection.abort()
        self.device.start(time.monotonic())


class Fleet:
    """A number of devices in one event loop.

    Parameters
    ----------
    options : FleetOptions
    progress : callable, optional
        Gets the fleet about once a second.
    """

    def __init__(
        self, options: FleetOptions, progress: Callable[[Fleet], None] = lambda _: None
    ) -> None:
        self.options = options
        self.progress = progress
        self.random = random.Random(options.seed)  # noqa: S311 - a simulation
        self.finished = asyncio.Event()
        self.hearing = True
        self.reboots = 0
        self.reconnects = 0
        self.n_heard = 0
        width = max(4, len(str(options.n_devices)))
        self.devices = [
            SimDevice(
                f"{options.prefix}{i:0{width}}",
                options.seed,
                labels=options.labels,
                trust_puback=options.trust_puback,
                clock_error_ms=self._clock_error() if options.clock_errors else 0,
            )
            for i in range(options.n_devices)
        ]

    def _clock_error(self) -> int | None:
        """Draw: a third has no time, a third a wrong one, a third the right one."""
        return self.random.choice([None, self.random.randrange(-7_200_000, 7_200_000), 0])

    @property
    def accepted(self) -> set[Key]:
        """Every event that an outbox has accepted."""
        return set().union(*(device.accepted for device in self.devices))

    @property
    def pending(self) -> int:
        """Events that wait for an acknowledgement."""
        return sum(len(device.outbox) for device in self.devices)

    async def run(self) -> FleetResult:
        """Hear, reboot, deliver; end when all is delivered or the time is over."""
        options = self.options
        began = time.monotonic()
        runners = [_Runner(self, device) for device in self.devices]
        tasks = [
            asyncio.create_task(runner.run(i / options.connects_per_s))
            for i, runner in enumerate(runners)
        ]
        sweeper = asyncio.create_task(self._sweep(runners))
        await self._hear(runners, began)
        self.hearing = False
        deadline = time.monotonic() + options.drain_s
        while self.pending and time.monotonic() < deadline:
            self.progress(self)
            await asyncio.sleep(0.2)
        self.finished.set()
        sweeper.cancel()
        for runner in runners:
            runner.stop()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0.1)  # lets the goodbyes leave
        return FleetResult(
            accepted=self.accepted,
            acknowledged=sum(device.acknowledged for device in self.devices),
            pending=self.pending,
            resent=sum(device.resent for device in self.devices),
            dropped=sum(device.dropped for device in self.devices),
            reboots=self.reboots,
            reconnects=self.reconnects,
            seconds=time.monotonic() - began,
        )

    async def _sweep(self, runners: list[_Runner]) -> None:
        """Send what is due. One loop for all: thousands of sleeping tasks would cost more."""
        while True:
            for runner in runners:
                if runner.device.outbox and runner.connected:
                    runner.send_due()
            await asyncio.sleep(_SWEEP_S)

    async def _hear(self, runners: list[_Runner], began: float) -> None:
        """Spread sounds and reboots evenly over devices and time."""
        options = self.options
        tick_s = 0.05
        heard = rebooted = 0.0
        last_report = last = time.monotonic()
        while (now := time.monotonic()) - began < options.duration_s:
            elapsed, last = now - last, now
            heard += elapsed * options.events_per_s * options.n_devices
            rebooted += elapsed * options.reboots_per_s * options.n_devices
            while heard >= 1:
                heard -= 1
                self._one_sound()
                if options.max_events is not None and self.n_heard >= options.max_events:
                    return
            while rebooted >= 1:
                rebooted -= 1
                self.reboots += 1
                self.random.choice(runners).reboot()
            if now - last_report >= 1:
                last_report = now
                self.progress(self)
            await asyncio.sleep(tick_s)

    def _one_sound(self) -> None:
        device = self.random.choice(self.devices)
        if not device.boot:
            return
        gap = self.random.random() < self.options.gap_rate
        now_s = time.monotonic()
        if device.hear(now_s, time.time_ns() // 10**6, gap=gap) is not None:
            self.n_heard += 1


def run_fleet(
    options: FleetOptions, progress: Callable[[Fleet], None] = lambda _: None
) -> FleetResult:
    """Run a fleet to its end."""
    return asyncio.run(Fleet(options, progress).run())
