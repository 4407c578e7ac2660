"""The house rules that no single part can break unnoticed."""

from __future__ import annotations

import ast
import importlib.metadata
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
PACKAGES = {
    "earmark_dsp": ROOT / "dsp/earmark_dsp",
    "earmark_datasets": ROOT / "datasets/earmark_datasets",
    "earmark_training": ROOT / "training/earmark_training",
    "earmark_gateway": ROOT / "gateway/earmark_gateway",
}
MAY_IMPORT = {
    "earmark_dsp": set(),
    "earmark_datasets": {"earmark_dsp"},
    "earmark_training": {"earmark_dsp", "earmark_datasets"},
    "earmark_gateway": set(),
}
HEAVY = {"tensorflow", "keras", "librosa", "scikit-learn", "ai-edge-litert", "tflite-micro"}


def imported_packages(source: str) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found & set(PACKAGES)


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_dependencies_point_one_way(package):
    for path in PACKAGES[package].rglob("*.py"):
        extra = imported_packages(path.read_text("utf-8")) - {package} - MAY_IMPORT[package]
        assert not extra, f"{path} imports {extra}"


def test_the_import_scan_sees_a_violation():
    assert imported_packages("def f():\n    import earmark_training.x") == {"earmark_training"}


def requirement_closure(extra: str) -> set[str]:
    """Names of every installed distribution that `earmark[extra]` pulls in."""
    seen: set[tuple[str, str]] = set()
    todo = [("earmark", extra), ("earmark", "")]
    while todo:
        name, active = todo.pop()
        if (name, active) in seen:
            continue
        seen.add((name, active))
        try:
            requirements = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        for text in requirements:
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": active}):
                key = re.sub(r"[-_.]+", "-", requirement.name).lower()
                todo += [(key, ""), *((key, e) for e in requirement.extras)]
    return {name for name, _ in seen}


def test_gateway_installation_brings_no_tensorflow():
    assert not requirement_closure("gateway") & HEAVY
    assert "tensorflow" in requirement_closure("training"), "the closure must be able to find it"


@pytest.mark.slow
def test_gateway_dry_run_installation_brings_no_tensorflow(tmp_path):
    """What pip itself would install into an empty environment."""
    report = tmp_path / "report.json"
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "-q"]
    run = subprocess.run(
        [*command, "--report", str(report), f"{ROOT}[gateway]"],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    if run.returncode and re.search(r"connection|resolve|Could not find a version", run.stderr):
        pytest.skip("no package index reachable")
    assert run.returncode == 0, run.stderr
    names = {item["metadata"]["name"].lower() for item in json.loads(report.read_text())["install"]}
    assert "paho-mqtt" in names
    assert not names & HEAVY


def test_gateway_command_line_imports_nothing_heavy():
    code = "import sys, earmark_gateway.cli; print(*sorted(sys.modules))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "earmark_gateway.cli" in loaded
    assert not {"tensorflow", "librosa", "earmark_dsp", "earmark_training"} & set(loaded)


def tracked_files() -> list[Path]:
    listing = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listing.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listing.stdout.split("\0") if name]


def test_no_machine_paths_or_large_files_are_tracked():
    home = re.compile(r"(?<![\w.])/(?:work|farm|root|home/\w+)/")
    for path in tracked_files():
        if not path.is_file() or path == Path(__file__):
            continue
        assert path.stat().st_size <= 1 << 20, f"{path} is over 1 MiB"
        if path.suffix not in {".png", ".jpg", ".woff2"}:
            hit = home.search(path.read_text("utf-8", errors="replace"))
            assert not hit, f"{path}: {hit.group(0)}"


def test_readme_has_the_two_commands():
    text = (ROOT / "README.md").read_text("utf-8")
    assert "make demo" in text
    assert "make test" in text


def test_help_imports_no_tensorflow():
    code = (
        "import sys\nfrom earmark_training.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "print('HEAVY', *sorted({'tensorflow', 'librosa'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "doctor" in run.stdout
    assert run.stdout.rstrip().endswith("HEAVY")
