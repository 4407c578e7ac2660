"""How much a device may say. What exceeds it stays in the device's outbox and comes later."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from earmark_gateway import labels

if TYPE_CHECKING:
    from earmark_gateway.config import LimitsSection


class TokenBucket:
    """Allows `rate_per_s` on average and `burst` at once.

    Parameters
    ----------
    rate_per_s : float
    burst : int
    """

    def __init__(self, rate_per_s: float, burst: int) -> None:
        self._rate = rate_per_s
        self._burst = float(burst)
        self._tokens = float(burst)
        self._at_s = -math.inf

    def take(self, now_s: float) -> bool:
        """Take one token; False if there is none."""
        gained = (now_s - self._at_s) * self._rate
        self._tokens = min(self._burst, self._tokens + gained)
        self._at_s = now_s
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class RateLimiter:
    """Per device, critical labels apart: a chatty sound cannot hold back an alarm."""

    def __init__(self, limits: LimitsSection) -> None:
        self._limits = limits
        self._buckets: dict[tuple[str, bool], TokenBucket] = {}

    def allow(self, device_id: str, label: str, now_s: float) -> bool:
        """Whether an event may pass now."""
        critical = label in labels.CRITICAL
        bucket = self._buckets.get((device_id, critical))
        if bucket is None:
            limits = self._limits
            bucket = self._buckets[device_id, critical] = (
                TokenBucket(limits.critical_events_per_s, limits.critical_burst)
                if critical
                else TokenBucket(limits.events_per_s, limits.burst)
            )
        return bucket.take(now_s)
