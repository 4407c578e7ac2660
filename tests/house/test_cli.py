"""`earmark`: help, mistakes and problems are messages with an exit status, never tracebacks."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from earmark_training.cli import COMMANDS

RUN = [sys.executable, "-c", "from earmark_training.cli import main; main()"]


def earmark(*arguments, **environment):
    return subprocess.run(
        [*RUN, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=os.environ | environment,
    )


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_has_help(command):
    run = earmark(command, "--help")
    assert run.returncode == 0, run.stderr
    assert f"earmark {command}" in run.stdout
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["nonsense"], 2, "No such command"),
        (["train"], 2, "Missing argument"),
        (["train", "x", "--bogus"], 2, "No such option"),
        (["train", "nowhere", "--out", "x"], 1, "error: nowhere is neither"),
        (["evaluate", "nowhere", "ESC-10"], 1, "error: nowhere is not a model bundle"),
        (["compile", "nowhere.tflite", "-o", "x"], 1, "error: "),
        (["demo", "--epochs", "0"], 2, "epochs"),
    ],
)
def test_mistakes_are_messages(arguments, status, message):
    run = earmark(*arguments)
    assert run.returncode == status
    assert message in run.stderr
    assert "Traceback" not in run.stdout + run.stderr


def test_commands_are_completed():
    run = earmark(
        _EARMARK_COMPLETE="bash_complete", COMP_WORDS="earmark do", COMP_CWORD="1"
    )  # fmt: skip
    assert run.stdout.split() == ["plain,doctor"]
