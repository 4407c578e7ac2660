"""`earmark doctor` tells the truth about this machine."""

from __future__ import annotations

import json

import pytest
from earmark_training import doctor
from typer.testing import CliRunner


@pytest.fixture(scope="module")
def report():
    result = CliRunner().invoke(doctor.app, ["--json"])
    return result.exit_code, json.loads(result.stdout)


def test_this_machine_can_run_the_demo(report):
    status, lines = report
    assert status == 0, [line for line in lines if line["required"] and not line["ok"]]
    assert {line["group"] for line in lines} == {"base", "Python packages", "tools", "data"}


def test_every_line_says_what_installs_it(report):
    assert all(line["install"] for line in report[1])


def test_a_missing_compiler_is_an_error_with_the_remedy(monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr(doctor, "_EXTRA_PATHS", ())
    result = CliRunner().invoke(doctor.app, ["--json"])
    lines = {line["name"]: line for line in json.loads(result.stdout)}
    assert result.exit_code == 1
    assert not lines["C compiler"]["ok"]
    assert "build-essential" in lines["C compiler"]["install"]
