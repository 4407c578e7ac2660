"""One small training for every test of a process that needs a bundle of one."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """Return (bundle, manifest, TrainResult); fold 3 is held out."""
    import trained_kit

    return trained_kit.trained_bundle(tmp_path_factory.mktemp("trained"))
