"""When a sound was heard, whatever the device's clock says."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from earmark_gateway import model, wire

# A prompt message whose time stamp is further off than this comes from a wrong clock.
_CLOCK_TOLERANCE_MS = 600_000


def occurred(event: wire.Event, boot: model.Boot, received_ms: int) -> int:
    """Unix milliseconds at which a sound was heard, never in the future.

    A recently synchronised clock is believed unless it is ahead of the gateway's; one that was set
    long ago only if the event is late or the clocks roughly agree. Otherwise the uptime is placed
    on the boot's own time axis.
    """
    if not event.late:
        boot.offset_ms = earlier(boot.offset_ms, received_ms - event.up_ms)
    if event.ts is not None:
        ahead_ms = event.ts - received_ms
        agrees = abs(ahead_ms) <= _CLOCK_TOLERANCE_MS
        if agrees or (ahead_ms < 0 and (event.sync or event.late)):
            return min(event.ts, received_ms)
    if boot.offset_ms is None:
        return received_ms
    return min(boot.offset_ms + event.up_ms, received_ms)


def earlier(known: int | None, candidate: int) -> int:
    """Choose the better bound: the quickest message comes closest to the true offset."""
    if known is None or candidate < known:
        return candidate
    return known
