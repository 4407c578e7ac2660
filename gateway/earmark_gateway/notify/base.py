"""One message over one channel, with an outcome that the outbox can act on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class Delivery:
    """Outcome of one attempt.

    Attributes
    ----------
    ok : bool
        The provider has accepted the message.
    permanent : bool
        Repeating cannot help (a 4xx answer, a wrong URL): escalate now.
    error : str
        Short reason without addresses, names or content.
    """

    ok: bool
    permanent: bool = False
    error: str = ""


class Notifier(Protocol):
    """A channel."""

    def send(self, message: dict[str, Any]) -> Delivery:
        """Deliver one message; must not raise."""
        ...


def make_notifier(url: str) -> Notifier:
    """Choose the channel of a URL.

    ``console:``, ``file:PATH``, ``webhook+https://SECRET@HOST/PATH`` or anything apprise knows.
    """
    scheme = url.split(":", 1)[0]
    if scheme == "console":
        from earmark_gateway.notify.local import ConsoleNotifier

        return ConsoleNotifier()
    if scheme == "file":
        from pathlib import Path

        from earmark_gateway.notify.local import FileNotifier

        return FileNotifier(Path(url.removeprefix("file:").removeprefix("//")))
    if scheme in {"webhook+https", "webhook+http"}:
        from earmark_gateway.notify.webhook import WebhookNotifier

        return WebhookNotifier(url)
    from earmark_gateway.notify.remote import AppriseNotifier

    return AppriseNotifier(url)
