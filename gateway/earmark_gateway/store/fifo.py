"""A lock that is handed over in the order of asking."""

from __future__ import annotations

import threading
from collections import deque
from typing import Self


class FifoLock:
    """Mutual exclusion without starvation.

    Python's own locks may be taken again at once by the thread that has just let go: a writer
    busy with a flood of events would keep notifications from ever being claimed.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._held = False
        self._waiting: deque[threading.Lock] = deque()

    def __enter__(self) -> Self:
        with self._guard:
            if not self._held:
                self._held = True
                return self
            turn = threading.Lock()
            turn.acquire()
            self._waiting.append(turn)
        turn.acquire()  # until __exit__ of the one before hands over
        return self

    def __exit__(self, *_: object) -> None:
        with self._guard:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._held = False
