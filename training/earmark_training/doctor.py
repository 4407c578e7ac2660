"""`earmark doctor`: what is installed, what is missing, and the command that installs it."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import re
import shutil
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

app = typer.Typer(
    add_completion=False,
    help="Say what is installed, what is missing, and the command that installs it.",
)

_EXTRA_PATHS = ("/usr/sbin", *sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin"))))
_MINIMUM_FREE_BYTES = 4 << 30  # a virtual environment with TensorFlow takes about 2 GiB


@dataclass(frozen=True)
class Check:
    """One line of the report.

    `required` lines decide the exit status: without them `make demo` cannot work.
    """

    group: str
    name: str
    found: str
    needed_for: str
    install: str
    required: bool

    @property
    def ok(self) -> bool:
        """Whether the thing was found."""
        return bool(self.found)


# name, alternatives on PATH, what needs it, what installs it, required
_TOOLS: tuple[tuple[str, tuple[str, ...], str, str, bool], ...] = (
    ("C compiler", ("cc", "gcc", "clang"), "everything", "apt-get install build-essential", True),
    ("make", ("make",), "the two commands", "apt-get install make", True),
    ("cmake", ("cmake",), "simulator, C tests", "pip install cmake", True),
    ("ninja", ("ninja",), "simulator, C tests", "pip install ninja", False),
    ("clang-22", ("clang-22",), "LX6 code, fuzzing", "scripts/install-system-packages.sh", False),
    ("llc-22", ("llc-22",), "LX6 code", "scripts/install-system-packages.sh", False),
    (
        "xtensa linker",
        ("xtensa-lx106-elf-ld",),
        "LX6 code",
        "scripts/install-system-packages.sh",
        False,
    ),
    (
        "QEMU for Xtensa",
        ("qemu-system-xtensa",),
        "instruction counts",
        "scripts/install-system-packages.sh",
        False,
    ),
    ("mosquitto", ("mosquitto",), "gateway tests", "scripts/install-system-packages.sh", False),
    ("PostgreSQL", ("initdb",), "fleet store tests", "scripts/install-system-packages.sh", False),
    (
        "Chromium",
        ("chromium", "chromium-browser", "google-chrome"),
        "browser tests",
        "scripts/install-system-packages.sh",
        False,
    ),
    ("idf.py", ("idf.py",), "flashing a device", "docs/firmware.md, section ESP-IDF", False),
)


def _python_check() -> Check:
    good = sys.version_info >= (3, 11)
    return Check(
        "base",
        "Python >= 3.11",
        platform.python_version() if good else "",
        "everything",
        "install Python 3.11 or newer and set PYTHON= for make",
        required=True,
    )


def _package_checks() -> list[Check]:
    """One line per extra of the distribution, naming the packages that are missing."""
    checks = []
    requirements = importlib.metadata.requires("earmark") or []
    for extra in ("training", "gateway", "demo", "dev"):
        names = [
            match.group(0)
            for requirement in requirements
            if re.search(rf"extra == ['\"]{extra}['\"]", requirement)
            and (match := re.match(r"[A-Za-z0-9._-]+", requirement))
        ]
        missing = []
        for name in names:
            try:
                importlib.metadata.version(name)
            except importlib.metadata.PackageNotFoundError:
                missing.append(name)
        checks.append(
            Check(
                "Python packages",
                f"[{extra}]" + (f" without {', '.join(missing)}" if missing else ""),
                "" if missing else f"{len(names)} packages",
                {"training": "training", "gateway": "gateway", "demo": "make demo"}.get(
                    extra, "make test"
                ),
                f"pip install -e '.[{extra}]'",
                required=extra in {"training", "demo"},
            )
        )
    return checks


def _tool_checks() -> list[Check]:
    search_path = os.pathsep.join(
        (os.environ.get("PATH", ""), str(Path(sys.executable).parent), *_EXTRA_PATHS)
    )
    return [
        Check(
            "tools",
            name,
            next((hit for c in commands if (hit := shutil.which(c, path=search_path))), ""),
            needed_for,
            install,
            required=required,
        )
        for name, commands, needed_for, install, required in _TOOLS
    ]


def _data_checks() -> list[Check]:
    from earmark_datasets.locate import find_dataset, find_model

    rows: list[Check] = []
    for name, needed_for in (
        ("ESC-10", "training on recordings"),
        ("home-sounds", "streaming evaluation"),
    ):
        found = find_dataset(name)
        rows.append(
            Check(
                "data",
                name,
                str(found or ""),
                needed_for,
                "set EARMARK_DATA to its folder, or let `earmark demo` download it",
                required=False,
            )
        )
    model = find_model("yamnet_int8.tflite")
    rows.append(
        Check(
            "data",
            "yamnet_int8.tflite",
            str(model or ""),
            "the yamnet presets",
            "`earmark train --preset yamnet-256` downloads it",
            required=False,
        )
    )
    return rows


def _disk_check() -> Check:
    free = shutil.disk_usage(Path.cwd()).free
    return Check(
        "base",
        "free disk space",
        f"{free / 2**30:.1f} GiB" if free >= _MINIMUM_FREE_BYTES else "",
        "environment and caches",
        f"free at least {_MINIMUM_FREE_BYTES >> 30} GiB here",
        required=False,
    )


def run_checks() -> list[Check]:
    """Look at this machine; nothing is changed or downloaded."""
    return [_python_check(), _disk_check(), *_package_checks(), *_tool_checks(), *_data_checks()]


@app.command()
def doctor(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a script.")] = False,
) -> None:
    """Say what is installed, what is missing, and the command that installs it.

    Exit status 0 if `make demo` can run, 1 if something it requires is missing.
    """
    checks = run_checks()
    if as_json:
        typer.echo(json.dumps([asdict(check) | {"ok": check.ok} for check in checks], indent=2))
    else:
        table = Table("", "what", "found", "needed for", "to install", title="earmark doctor")
        for check in checks:
            mark = (
                "[green]ok[/]"
                if check.ok
                else ("[red]missing[/]" if check.required else "[yellow]absent[/]")
            )
            name = check.name.replace("[", r"\[")
            install = "" if check.ok else check.install.replace("[", r"\[")
            table.add_row(mark, name, check.found, check.needed_for, install)
        Console().print(table)
    if any(check.required and not check.ok for check in checks):
        raise typer.Exit(1)
