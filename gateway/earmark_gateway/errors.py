"""Errors a person can act on."""

from __future__ import annotations


class GatewayError(Exception):
    """Something is wrong that a person can put right.

    Parameters
    ----------
    what : str
        What is wrong and where.
    hint : str
        What to do about it.
    """

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.what}\n  hint: {self.hint}" if self.hint else self.what


class StoreUnavailableError(GatewayError):
    """The database refuses work now (disk full, read-only, unreachable); try again later."""
