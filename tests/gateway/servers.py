"""Servers of one's own: PostgreSQL and mosquitto, each on a free port and gone afterwards."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

from earmark_gateway.simulate.killloop import free_port, write_mosquitto_config
from tools import require_tool


def demote():
    """PostgreSQL refuses to run as root: become its own user then."""
    if os.geteuid() != 0:
        return {}
    return {"user": "postgres", "group": "postgres", "extra_groups": []}


@contextmanager
def postgres_server():
    initdb, server = require_tool("initdb"), require_tool("postgres")
    who = demote()
    folder = Path(tempfile.mkdtemp(prefix="earmark-pg-"))
    port = free_port()
    try:
        if who:
            shutil.chown(folder, "postgres", "postgres")
        data = folder / "data"
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder}
        command = [initdb, "-D", str(data), "-U", "earmark", "-A", "trust", "--no-sync"]
        subprocess.run(command, check=True, **quiet, **who)
        options = [f"-cport={port}", "-clisten_addresses=127.0.0.1", f"-k{folder}", "-cfsync=off"]
        process = subprocess.Popen([server, "-D", str(data), *options], **quiet, **who)
        url = f"postgresql://earmark@127.0.0.1:{port}"
        try:
            wait_for_port(port, process)
            wait_for_sessions(url)
            yield url
        finally:
            process.send_signal(signal.SIGQUIT)  # at once: the data are thrown away
            process.wait(20)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def wait_for_sessions(url, timeout_s=60):
    """PostgreSQL listens before it accepts: "the database system is starting up"."""
    import psycopg

    deadline = time.monotonic() + timeout_s
    while True:
        try:
            psycopg.connect(f"{url}/postgres").close()
        except psycopg.OperationalError:
            assert time.monotonic() < deadline, "the server accepts nobody"
            time.sleep(0.05)
        else:
            return


def wait_for_port(port, process, timeout_s=60):
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        assert process.poll() is None, "the server ended"
        with socket.socket() as probe:
            probe.settimeout(0.5)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise TimeoutError(f"nothing listens on port {port}")


@contextmanager
def mosquitto_broker(port, folder):
    """Default configuration of Debian's mosquitto but for port and persistence folder."""
    program = require_tool("mosquitto")
    folder.mkdir(parents=True, exist_ok=True)
    process = subprocess.Popen(
        [program, "-c", str(write_mosquitto_config(folder, port))],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for_port(port, process)
        yield process
    finally:
        process.kill()
        process.wait()
