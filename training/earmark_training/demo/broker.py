"""An MQTT broker inside this process, for demonstration only.

amqtt speaks MQTT 3.1.1 and forgets sessions when killed. The application acknowledgement makes
the chain loss-free all the same; a home runs mosquitto (docs/gateway.md).
"""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from earmark_dsp.errors import EarmarkError

if TYPE_CHECKING:
    from collections.abc import Iterator

_START_TIMEOUT_S = 20.0


def free_port() -> int:
    """Return a TCP port on the loopback interface that nobody uses at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def require_free_port(port: int, *, purpose: str, option: str) -> None:
    """Refuse a port that somebody else listens on.

    Raises
    ------
    EarmarkError
        Naming the port, what it was wanted for, and the option that chooses another.
    """
    with socket.socket() as probe:
        # As a server would: a port in TIME_WAIT is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as exc:
            raise EarmarkError(
                f"port {port} for the {purpose} is in use on this machine",
                f"stop the other program, or choose another port with {option}",
            ) from exc


@contextmanager
def embedded_broker(port: int) -> Iterator[None]:
    """Run the broker on 127.0.0.1:`port` in a thread of its own until the block ends."""
    from amqtt.broker import Broker

    # amqtt reports every client that leaves as a warning.
    for name in ("amqtt", "transitions"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    loop = asyncio.new_event_loop()
    started = threading.Event()
    stop = asyncio.Event()
    failure: list[BaseException] = []

    async def serve() -> None:
        try:
            broker = Broker(
                {
                    "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{port}"}},
                    "plugins": {
                        "amqtt.plugins.authentication.AnonymousAuthPlugin": {
                            "allow_anonymous": True
                        }
                    },
                }
            )
            await broker.start()
        except Exception as exc:  # noqa: BLE001 - handed to the caller's thread below
            failure.append(exc)
            started.set()
            return
        started.set()
        await stop.wait()
        await broker.shutdown()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    if not started.wait(_START_TIMEOUT_S) or failure:
        raise EarmarkError(
            f"the demonstration broker did not start on port {port}: "
            f"{failure[0] if failure else 'no answer'}",
            "run `earmark doctor`; reinstall with `make setup-demo`",
        )
    try:
        yield
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(_START_TIMEOUT_S)
