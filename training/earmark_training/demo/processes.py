"""Child processes that never outlive the demonstration, whatever ends it."""

from __future__ import annotations

import ctypes
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from earmark_dsp.errors import EarmarkError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from types import FrameType

_PR_SET_PDEATHSIG = 1
_TERMINATE_GRACE_S = 10.0  # the gateway needs a moment to finish its last transaction


def _die_with_parent() -> None:
    """Ask Linux to terminate this child if the parent is killed outright."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def raise_on_sigterm() -> None:
    """Let SIGTERM unwind the stack as Ctrl-C does, so that every `finally` runs."""

    def handler(signum: int, frame: FrameType | None) -> None:
        del signum, frame
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, handler)


@contextmanager
def child_process(arguments: Sequence[str], *, log_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command in the background; stop it when the block ends, however it ends.

    Parameters
    ----------
    arguments : sequence of str
        The command line.
    log_path : Path
        Receives standard output and standard error.
    """
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            list(arguments),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            # Own session: Ctrl-C reaches only the demonstration, which stops children in order.
            start_new_session=True,
            preexec_fn=_die_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(_TERMINATE_GRACE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until_ready(
    process: subprocess.Popen[bytes], ready_file: Path, *, log_path: Path, timeout_s: float
) -> None:
    """Wait until `ready_file` exists.

    Raises
    ------
    EarmarkError
        If the process ends first or does not become ready in `timeout_s` seconds; the message
        carries the end of its log.
    """
    deadline = time.monotonic() + timeout_s
    while not ready_file.exists():
        status = process.poll()
        if status is not None or time.monotonic() > deadline:
            why = f"ended with status {status}" if status is not None else "did not become ready"
            tail = log_path.read_text("utf-8", errors="replace").strip().splitlines()[-5:]
            raise EarmarkError(f"the gateway {why}: {' | '.join(tail)}", f"full log: {log_path}")
        time.sleep(0.05)
