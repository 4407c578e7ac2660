"""Shared test configuration: makes `tests/tools.py` importable as `tools`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
