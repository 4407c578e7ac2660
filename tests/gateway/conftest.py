"""Shared pieces: a real PostgreSQL and a real mosquitto of one's own, and both stores."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from servers import free_port, mosquitto_broker, postgres_server


@pytest.fixture(scope="session")
def postgres():
    """URL of a private server; `fresh_database` makes an empty database in it."""
    with postgres_server() as url:
        yield url


@pytest.fixture
def fresh_database(request):
    """A function that returns the URL of a new, empty PostgreSQL database."""

    def create():
        import psycopg

        url = request.getfixturevalue("postgres")
        name = f"t{time.monotonic_ns()}"
        with psycopg.connect(f"{url}/postgres", autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return f"{url}/{name}"

    return create


@pytest.fixture(params=["sqlite", "postgres"])
def store(request, tmp_path):
    """Every test with this fixture is part of the contract: it runs on both stores."""
    from earmark_gateway.store import open_store

    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/contract.db"
    else:
        url = request.getfixturevalue("fresh_database")()
    opened = open_store(url)
    opened.url = url
    yield opened
    opened.close()


@pytest.fixture
def mosquitto(tmp_path):
    """Port of a private broker."""
    port = free_port()
    with mosquitto_broker(port, tmp_path / "mosquitto"):
        yield port
