"""Serves the page from a thread of the gateway."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import TYPE_CHECKING

import uvicorn

from earmark_gateway.errors import GatewayError
from earmark_gateway.web.app import create_app

if TYPE_CHECKING:
    from earmark_gateway.service import Gateway

_STOP_TIMEOUT_S = 5.0


class WebServer:
    """The page, listening from construction to `stop`.

    Parameters
    ----------
    gateway : Gateway

    Raises
    ------
    GatewayError
        If the port is in use.
    """

    def __init__(self, gateway: Gateway) -> None:
        web = gateway.config.web
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind((web.host, web.port))
            self._socket.listen()
        except OSError as exc:
            self._socket.close()
            raise GatewayError(
                f"cannot listen on {web.host}:{web.port}: {exc.strerror}",
                "choose another web.port in the configuration",
            ) from exc
        self.port: int = self._socket.getsockname()[1]
        app = create_app(gateway)
        self._live = app.state.live
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=1,
            lifespan="off",
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run, name="web", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        # `serve` and not `run`: signals belong to the gateway.
        asyncio.run(self._server.serve(sockets=[self._socket]))

    def stop(self) -> None:
        """Close open pages and stop listening."""
        self._server.should_exit = True
        self._live.end()
        self._thread.join(_STOP_TIMEOUT_S)
        self._socket.close()
