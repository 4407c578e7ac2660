"""Group commit: many messages, one durable transaction, then the acknowledgements."""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from typing import TYPE_CHECKING, Protocol

from earmark_gateway.errors import StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from earmark_gateway import wire
    from earmark_gateway.ingest import Incoming, Outcome, Processor
    from earmark_gateway.store.base import Store

log = logging.getLogger(__name__)

# More per transaction delays the first event of a batch; fewer costs throughput (one fsync each).
MAX_BATCH = 64
MAX_WAIT_S = 0.005
# Bounds memory in a flood; a full queue stops reading from the broker, which keeps the rest.
QUEUE_LENGTH = 4096
# A full disk is not helped by asking more often; a caregiver is not helped by a longer pause.
RETRY_S = 1.0


class Acknowledger(Protocol):
    """The connection that messages came from."""

    def ack(self, message: Incoming) -> None:
        """Acknowledge to the broker, in the order of receipt, unless it has reconnected."""
        ...

    def send_ack(self, device_id: str, ack: wire.Ack) -> None:
        """Tell the device that its events are stored."""
        ...


class Writer:
    """The one thread that stores what devices say.

    Parameters
    ----------
    store : Store
    processor : Processor
    acknowledger : Acknowledger
    on_commit : callable
        Gets the `Outcome` of every transaction after it is durable.
    on_state : callable
        Gets True when the database works again and False when it refuses.
    on_defect : callable
        Called when a message could not be processed because of a defect.
    """

    def __init__(
        self,
        store: Store,
        processor: Processor,
        acknowledger: Acknowledger,
        *,
        on_commit: Callable[[Outcome], None],
        on_state: Callable[[bool], None] = lambda _: None,
        on_defect: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._processor = processor
        self._acknowledger = acknowledger
        self._on_commit = on_commit
        self._on_state = on_state
        self._on_defect = on_defect
        self._queue: queue.Queue[Incoming | None] = queue.Queue(QUEUE_LENGTH)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        # Seconds from receipt to durability of recent batches' oldest message, for metrics.
        self.last_commit_s = 0.0

    def start(self) -> None:
        """Begin to store."""
        self._thread.start()

    def put(self, message: Incoming) -> None:
        """Hand over a message; blocks while the queue is full, which slows the broker down."""
        while not self._stop.is_set():
            try:
                self._queue.put(message, timeout=0.5)
            except queue.Full:
                continue
            return

    @property
    def backlog(self) -> int:
        """Messages waiting."""
        return self._queue.qsize()

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Finish the batch in progress; what is unacknowledged comes again from the broker."""
        self._stop.set()
        with contextlib.suppress(queue.Full):
            self._queue.put_nowait(None)
        if self._thread.is_alive():
            self._thread.join(10)

    def _run(self) -> None:
        while not self._stop.is_set():
            batch = self._collect()
            if batch:
                self._store_batch(batch)

    def _collect(self) -> list[Incoming]:
        batch: list[Incoming] = []
        first = self._queue.get()
        deadline = time.monotonic() + MAX_WAIT_S
        while first is not None:
            batch.append(first)
            if len(batch) >= MAX_BATCH:
                break
            try:
                first = self._queue.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                break
        return batch

    def _store_batch(self, batch: Sequence[Incoming]) -> None:
        healthy = True
        while not self._stop.is_set():
            try:
                self._commit(batch)
            except StoreUnavailableError as exc:
                # Nothing is acknowledged: broker and devices keep everything until it works again.
                log.error("database refuses", extra={"reason": str(exc.__cause__)})  # noqa: TRY400
                healthy = False
                self._on_state(False)  # noqa: FBT003
                self._stop.wait(RETRY_S)
                continue
            except Exception:
                log.exception("batch failed; storing message by message")
                self._one_by_one(batch)
            if not healthy:
                self._on_state(True)  # noqa: FBT003
            return

    def _commit(self, batch: Sequence[Incoming]) -> None:
        with self._store.write() as tx:
            outcome = self._processor.apply(tx, batch)
        self.last_commit_s = max(0.0, time.time() - batch[0].received_ms / 1000)
        for message in batch:
            self._acknowledger.ack(message)
        for device_id, ack in outcome.ack_messages():
            self._acknowledger.send_ack(device_id, ack)
        self._report(outcome)

    def _report(self, outcome: Outcome) -> None:
        try:
            self._on_commit(outcome)
        except Exception:
            log.exception("a listener failed; the events are stored")

    def _one_by_one(self, batch: Sequence[Incoming]) -> None:
        """Keep a message that trips a defect from blocking the others."""
        for message in batch:
            try:
                self._commit([message])
            except StoreUnavailableError:
                return  # unacknowledged: the broker delivers the rest again
            except Exception as exc:
                log.exception("message failed", extra={"topic": message.topic})
                self._bury(message, type(exc).__name__)

    def _bury(self, message: Incoming, reason: str) -> None:
        """Dead-letter a message that no transaction can hold; the device keeps its event."""
        try:
            with self._store.write() as tx:
                tx.insert_dead_letter(
                    topic=message.topic,
                    reason="internal",
                    detail=reason,
                    payload=message.payload,
                    now_ms=message.received_ms,
                )
        except StoreUnavailableError:
            return
        self._acknowledger.ack(message)
        self._on_defect()
