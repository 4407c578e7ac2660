"""A stand-in bundle and the simulator built for it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from firmware_kit import evening, write_stand_in, write_wav


@pytest.fixture(scope="session")
def stand_in_dir(tmp_path_factory):
    return write_stand_in(tmp_path_factory.mktemp("stand_in") / "c")


@pytest.fixture(scope="session")
def simulator(stand_in_dir, tmp_path_factory):
    from earmark_training.deploy.simulate import build_simulator

    return build_simulator(stand_in_dir, tmp_path_factory.mktemp("simulator"))


@pytest.fixture
def evening_wav(tmp_path):
    return write_wav(tmp_path / "evening.wav", evening(1))
