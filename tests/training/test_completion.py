"""Tab completion reaches the options of sub-commands, which are imported only then."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys

import pytest
from earmark_training import cli
from typer.testing import CliRunner

PROGRAM = "from earmark_training.cli import main; main()"


def complete(line):
    words = line.split(" ")
    environment = os.environ | {
        "_EARMARK_COMPLETE": "bash_complete",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return [line.partition(",")[::2] for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("earmark quan", [("plain", "quantize-report")]),
        ("earmark report --str", [("plain", "--streams")]),
        ("earmark report build/demo --fo", [("plain", "--fold")]),
        ("earmark data li", [("plain", "lint")]),
        ("earmark data lint --j", [("plain", "--json")]),
        ("earmark compare build/", [("file", "build/")]),
    ],
)
def test_words_that_may_follow(line, expected):
    assert complete(line) == expected


def test_completion_does_not_load_tensorflow():
    code = (
        "import sys\nfrom earmark_training import cli\n"
        "cli._complete(cli.COMMANDS['train'], [], '--')\nassert 'tensorflow' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", sorted(cli.COMMANDS))
def test_only_the_program_completes(name):
    """A sub-command, or its module run by `python -m`, is no program that a shell could know."""
    module, attribute = cli.COMMANDS[name].target.split(":")
    app = getattr(importlib.import_module(module), attribute)
    listed = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "100"})
    assert listed.exit_code == 0
    assert "--help" in listed.stdout
    assert "completion" not in listed.stdout
