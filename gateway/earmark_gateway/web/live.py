"""Tells open pages that something has changed."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


class Live:
    """One event per open page; set from the writer's thread, awaited in the server's loop."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pages: dict[asyncio.Event, asyncio.AbstractEventLoop] = {}
        self.ended = False

    def changed(self, _changes: list[Any]) -> None:
        """Wake every page (any thread)."""
        with self._lock:
            pages = list(self._pages.items())
        for event, loop in pages:
            if not loop.is_closed():
                loop.call_soon_threadsafe(event.set)

    def end(self) -> None:
        """Let every stream finish: the server waits for its answers when it stops."""
        self.ended = True
        self.changed([])

    @contextmanager
    def subscribe(self) -> Iterator[asyncio.Event]:
        """Register a page for as long as its connection lasts."""
        event = asyncio.Event()
        with self._lock:
            self._pages[event] = asyncio.get_running_loop()
        try:
            yield event
        finally:
            with self._lock:
                del self._pages[event]
