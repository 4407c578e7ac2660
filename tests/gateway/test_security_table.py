"""The table of provisions in docs/gateway.md names tests: they must exist."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent


def test_every_test_that_the_security_table_names_exists():
    page = (HERE.parents[1] / "docs" / "gateway.md").read_text("utf-8")
    rows = [line for line in page.splitlines() if re.match(r"\| 5\.\d+ ", line)]
    assert len(rows) >= 10
    sources = {path.name: path.read_text("utf-8") for path in HERE.glob("*.py")}
    for row in rows:
        file = ""
        for name in re.findall(r"`([^`]+)`", row.rsplit("|", 2)[1]):
            place, _, test = name.partition("::")
            if place.endswith(".py"):
                file = place
                assert file in sources, name
            test = test or (place if place.startswith("test_") and place != file else "")
            if test:
                where = [sources[file]] if "::" in name else sources.values()
                assert any(f"def {test}(" in text for text in where), name
