"""The one exception that the command lines turn into a message instead of a traceback."""

from __future__ import annotations


class EarmarkError(Exception):
    """A problem a person can act on.

    Parameters
    ----------
    what : str
        What was wrong and where: names the file, key or value.
    hint : str
        What to do about it; empty when the message already says so.
    """

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(f"{what}\n  {hint}" if hint else what)
        self.what = what
        self.hint = hint
