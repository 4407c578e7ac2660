"""Builds the device simulator for a bundle and carries its messages to an MQTT broker.

The simulator is the firmware's own core (``firmware/host``). It speaks a line protocol on standard
input and output (docs/contracts.md), so that the MQTT client stays here.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol

from earmark_dsp.errors import EarmarkError
from earmark_dsp.sources import sources_root

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SIMULATOR_NAME = "earmark-sim"
EXIT_UNDELIVERED = 3
_BUILD_TIMEOUT_S = 600
# A link that neither starts nor ends must not hang a demo for ever.
_STOP_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class SimulationResult:
    """What the simulator says of its own run.

    Attributes
    ----------
    audio_s : float
        Seconds of audio heard.
    events : int
        Events accepted into the outbox.
    undelivered : int
        Events still unacknowledged at the end.
    dropped : int
        Events lost to a full outbox.
    published : int
        Messages handed to the broker, of all kinds.
    inferences : int
        Runs of the network.
    pipeline_bytes : int
        Front end, window, arena and detector, as sized on this machine (64 bit).
    protocol : str
        ``MQTT 5``, ``MQTT 3.1.1`` or ``loopback``.
    """

    audio_s: float
    events: int
    undelivered: int
    dropped: int
    published: int
    inferences: int
    pipeline_bytes: int
    protocol: str


class Bridge(Protocol):
    """Carries lines between the simulator and a network."""

    protocol: str

    def start(self, will: tuple[str, bytes, int, bool], send: Callable[[str], None]) -> None:
        """Connect; call ``send`` with every line for the simulator, from any thread."""

    def publish(self, topic: str, payload: bytes, qos: int, *, retain: bool) -> None:
        """Send one message."""

    def stop(self) -> None:
        """Deliver what is under way and disconnect."""


def _tool(name: str) -> str:
    """Find a build tool beside the interpreter (PyPI wheel) or on PATH."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise EarmarkError(f"{name} is missing", "install it with `pip install cmake ninja`")
    return found


def _run_build(command: Sequence[str], log: Path) -> None:
    with log.open("a", encoding="utf-8") as stream:
        stream.write(" ".join(command) + "\n")
        stream.flush()
        run = subprocess.run(
            command,
            stdout=stream,
            stderr=subprocess.STDOUT,
            check=False,
            timeout=_BUILD_TIMEOUT_S,
        )
    if run.returncode:
        tail = log.read_text("utf-8", errors="replace").strip().splitlines()[-15:]
        raise EarmarkError(
            f"building the simulator failed (whole log: {log})\n" + "\n".join(tail),
            "a C compiler is needed: `earmark doctor` says which",
        )


def build_simulator(bundle_dir: Path | str, build_dir: Path | str) -> Path:
    """Build ``earmark-sim`` for a bundle with CMake.

    Parameters
    ----------
    bundle_dir : Path
        A bundle (its ``c`` directory is used) or such a ``c`` directory itself.
    build_dir : Path
        Kept between calls: only what changed is compiled again.

    Returns
    -------
    Path
        The executable.

    Raises
    ------
    EarmarkError
        No C in the bundle, no CMake, no compiler, or a compiler error.
    """
    bundle_dir, build_dir = Path(bundle_dir).resolve(), Path(build_dir).resolve()
    c_dir = bundle_dir / "c" if (bundle_dir / "c").is_dir() else bundle_dir
    if not any(c_dir.glob("*.c")):
        raise EarmarkError(
            f"{bundle_dir} holds no generated C", "give a bundle that `earmark train` wrote"
        )
    build_dir.mkdir(parents=True, exist_ok=True)
    log = build_dir / "build.log"
    log.unlink(missing_ok=True)
    source = sources_root() / "firmware" / "host"
    cmake = _tool("cmake")
    _run_build(
        [
            cmake,
            *("-S", str(source), "-B", str(build_dir), "-G", "Ninja"),
            f"-DCMAKE_MAKE_PROGRAM={_tool('ninja')}",
            f"-DEARMARK_MODEL_DIR={c_dir}",
            "-DCMAKE_BUILD_TYPE=RelWithDebInfo",
        ],
        log,
    )
    _run_build([cmake, "--build", str(build_dir), "--target", SIMULATOR_NAME], log)
    return build_dir / SIMULATOR_NAME


class _Session:
    """One running simulator and the bridge beside it."""

    def __init__(self, process: subprocess.Popen[str], bridge: Bridge) -> None:
        self._process = process
        self._bridge = bridge
        self._lock = threading.Lock()
        self._started = False
        self.errors: list[str] = []

    def _send(self, line: str) -> None:
        stdin = self._process.stdin
        # Either error: the simulator has ended; its exit status tells the rest.
        with self._lock, contextlib.suppress(BrokenPipeError, ValueError):
            if stdin is not None and not stdin.closed:
                stdin.write(line + "\n")
                stdin.flush()

    def _read_errors(self, stream: IO[str]) -> None:
        self.errors.extend(line.rstrip("\n") for line in stream)

    def carry(self) -> None:
        """Forward every line until the simulator closes its output."""
        stdout, stderr = self._process.stdout, self._process.stderr
        if stdout is None or stderr is None:
            raise EarmarkError("the simulator was started without pipes")
        reader = threading.Thread(target=self._read_errors, args=(stderr,), daemon=True)
        reader.start()
        try:
            for line in stdout:
                verb, qos, retain, topic, payload = line.rstrip("\n").split("\t", 4)
                body = payload.encode("ascii")
                if verb == "WILL":
                    self._started = True
                    self._bridge.start((topic, body, int(qos), retain == "1"), self._send)
                elif verb == "PUB":
                    self._bridge.publish(topic, body, int(qos), retain=retain == "1")
        finally:
            if self._started:
                self._bridge.stop()
        self._process.wait(_STOP_TIMEOUT_S)
        reader.join(_STOP_TIMEOUT_S)


def run_simulator(
    executable: Path | str,
    *,
    wav: Path | str,
    bridge: Bridge,
    device_id: str = "demo",
    realtime: bool = False,
    start_unix_ms: int | None = None,
    state: Path | str | None = None,
    ack_wait_s: float = 3.0,
    drain_s: float = 15.0,
) -> SimulationResult:
    """Let the simulated device hear a recording and report over `bridge`.

    Parameters
    ----------
    executable : Path
        From `build_simulator`.
    wav : Path
        16-bit mono at the bundle's sample rate.
    bridge : Bridge
        ``MqttBridge(host, port)``.
    device_id : str
        Part of every topic.
    realtime : bool
        As fast as the audio instead of as fast as possible.
    start_unix_ms : int or None
        Wall clock at the first sample; None: now.
    state : Path or None
        File in which flash and settings survive from run to run.
    ack_wait_s, drain_s : float
        Longest wait in seconds for one acknowledgement, and for all of them at the end.

    Returns
    -------
    SimulationResult

    Raises
    ------
    EarmarkError
        The recording cannot be used, or the broker not be reached.
    """
    command = [
        str(executable),
        *("--wav", str(wav), "--device-id", device_id),
        *("--ack-wait-ms", str(round(ack_wait_s * 1000)), "--drain-ms", str(round(drain_s * 1000))),
        *(["--realtime"] if realtime else []),
        *(["--start-unix-ms", str(start_unix_ms)] if start_unix_ms is not None else []),
        *(["--state", str(state)] if state is not None else []),
    ]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "LC_ALL": "C"},
    )
    session = _Session(process, bridge)
    try:
        session.carry()
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            # A line that the simulator no longer wanted may still be in the buffer.
            with contextlib.suppress(BrokenPipeError):
                if stream is not None:
                    stream.close()
    return _result(process.returncode, session.errors, bridge.protocol)


def _result(status: int, errors: list[str], protocol: str) -> SimulationResult:
    if status not in {0, EXIT_UNDELIVERED}:
        message = "\n".join(errors).removeprefix("error: ") or f"exit status {status}"
        raise EarmarkError(f"simulator: {message}")
    report = json.loads(errors[-1])
    report.pop("rebooting")
    return SimulationResult(**report, protocol=protocol)
