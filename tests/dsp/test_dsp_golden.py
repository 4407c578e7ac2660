"""The integers of today are those of yesterday: a change of arithmetic must be deliberate."""

from __future__ import annotations

import json

import make_golden
import pytest
from earmark_dsp.spec import list_specs


@pytest.mark.parametrize("name", list_specs())
def test_rows_equal_the_golden_ones(name):
    golden = json.loads(make_golden.GOLDEN.read_text(encoding="utf-8"))
    assert make_golden.golden_rows()[name] == golden[name]
