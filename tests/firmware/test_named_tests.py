"""The pages that name tests name tests that exist and run."""

from __future__ import annotations

import re

import pytest
from firmware_kit import ROOT


def existing() -> set[str]:
    """Names of all tests: Python functions, and C functions that their program's main calls."""
    names = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        names |= set(re.findall(r"^def (test_\w+)", path.read_text("utf-8"), re.MULTILINE))
    for path in (ROOT / "firmware/host/test").glob("test_*.c"):
        text = path.read_text("utf-8")
        called = text[text.index("int main(") :]
        names |= set(re.findall(r"\b(test_\w+)\(", called))
    return names


def named(text: str) -> set[str]:
    return set(re.findall(r"`(test_\w+)`", text))


@pytest.mark.parametrize("page", ["firmware.md", "privacy.md"])
def test_every_test_on_a_page_exists(page):
    names = named((ROOT / "docs" / page).read_text("utf-8"))
    assert len(names) > 10
    assert names - existing() == set()


def test_a_missing_test_is_seen():
    assert named("see `test_that_nobody_wrote`") - existing() == {"test_that_nobody_wrote"}
