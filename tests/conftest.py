"""Shared test configuration: `tests/tools.py` is importable, TensorFlow runs on one thread."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session", autouse=True)
def one_tensorflow_thread():
    """Threads can only be set before TensorFlow first runs, whichever test that is in."""
    if importlib.util.find_spec("tensorflow") is None:
        return
    from earmark_training.quiet import import_tensorflow
    from earmark_training.train import use_one_thread

    import_tensorflow()
    use_one_thread()
