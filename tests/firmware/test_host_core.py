"""Builds and runs the C tests of the portable core: sanitizers, threads, coverage."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from firmware_kit import RATE_HZ, ROOT, evening, write_wav
from tools import require_tool
from week import run_week

HOST = ROOT / "firmware" / "host"
C_TESTS = sorted(path.stem for path in (HOST / "test").glob("test_*.c"))
# Components that other tests own: front end, kernels, engine, detector and pipeline.
ELSEWHERE = {"nn", "engine", "detector", "pipeline"}
COVERAGE_MIN = 0.95


def build(directory: Path, *options: str, targets: tuple[str, ...] = (), host: Path = HOST) -> Path:
    ninja = require_tool("ninja")
    configure = [
        require_tool("cmake"),
        "-S",
        host,
        "-B",
        directory,
        "-G",
        "Ninja",
        "-DEARMARK_WERROR=ON",
        *options,
    ]
    for command in (configure, [ninja, "-C", directory, *targets]):
        run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
        assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-4000:]
    return directory


def run_test(executable: Path, *arguments: Path) -> str:
    environment = {**os.environ, "UBSAN_OPTIONS": "print_stacktrace=1"}
    run = subprocess.run(
        [executable, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env=environment,
    )
    assert run.returncode == 0, run.stderr[-4000:]
    return run.stdout


@pytest.fixture(scope="session")
def sanitized(tmp_path_factory):
    return build(
        tmp_path_factory.mktemp("sanitized"),
        "-DEARMARK_TESTS=ON",
        "-DEARMARK_SANITIZE=address,undefined",
    )


@pytest.mark.parametrize("name", [name for name in C_TESTS if name != "test_week"])
def test_with_address_and_undefined_behaviour_sanitizers(sanitized, name):
    run_test(sanitized / "test" / name)


def test_a_week_with_faults_loses_no_critical_event(sanitized):
    result = json.loads(run_test(sanitized / "test" / "test_week"))
    assert result["events"] > 2000
    assert result["boots"] == 21
    assert result["duplicates"] > 0, "the faults must have forced repetitions"


def test_a_day_of_faults_against_the_real_gateway(sanitized, tmp_path):
    """The short form of a week: docs/firmware.md has the command for the long one."""
    result = run_week(sanitized / "test" / "test_week", 1, tmp_path)
    critical, stored = result["critical"], result["episodes"]
    assert result["events"] > 300
    assert result["restarts"] > 5
    assert result["counts"]["duplicates"] > 0, "the faults must have forced repetitions"
    assert set(result["counts"]) == {"events", "duplicates"}, "every message was understood"
    assert len(critical) > 100
    assert set(critical) <= set(stored)
    assert len(stored) == len(set(stored))
    assert result["gaps"] == 0
    # Sanitizers keep freed memory for a while; SQLite fills its cache.
    assert result["device_growth_bytes"] < 1 << 20
    assert result["gateway_growth_bytes"] < 16 << 20


def test_all_tasks_together_with_thread_sanitizer(tmp_path, stand_in_dir):
    """Capture, classify and device task with commands, network cuts and a stall of three seconds.

    Nothing is lost, nobody allocates after the start, and what is told is what one task hears.
    """
    directory = build(
        tmp_path / "build",
        "-DEARMARK_TESTS=ON",
        "-DEARMARK_SANITIZE=thread",
        f"-DEARMARK_MODEL_DIR={stand_in_dir}",
        targets=("test_audio_side", "threads"),
    )
    run_test(directory / "test" / "test_audio_side")
    wav = write_wav(tmp_path / "evening.wav", evening(1))
    result = json.loads(run_test(directory / "test" / "threads", wav))
    assert result == {"events": 4, "samples": 20 * RATE_HZ}


@pytest.mark.parametrize("violation", ["a door without order", "malloc in a task"])
def test_the_checks_of_the_tasks_see_a_violation(tmp_path, stand_in_dir, violation):
    copy = tmp_path / "firmware"
    shutil.copytree(ROOT / "firmware", copy, ignore=shutil.ignore_patterns("model"))
    (tmp_path / "dsp").symlink_to(ROOT / "dsp")
    if violation == "malloc in a task":
        source = copy / "components/listener/src/listener.c"
        before = "em_status_t em_listener_process("
        leak = "#include <stdlib.h>\nvoid *leaked;\n" + before
        text = source.read_text("utf-8").replace(before, leak)
        body = text.index("{", text.index(before)) + 1
        source.write_text(text[:body] + "leaked = malloc(1);" + text[body:])
        options, target, says = [], "threads", "n_allocations"
    else:
        source = copy / "components/handover/src/handover.c"
        text = source.read_text("utf-8")
        source.write_text(re.sub("memory_order_(acquire|release)", "memory_order_relaxed", text))
        # Thousands pass here and nothing else orders the two threads: the race is seen every time.
        options, target, says = ["-DEARMARK_SANITIZE=thread"], "test_audio_side", "data race"
    directory = build(
        tmp_path / "build",
        "-DEARMARK_TESTS=ON",
        f"-DEARMARK_MODEL_DIR={stand_in_dir}",
        *options,
        targets=(target,),
        host=copy / "host",
    )
    wav = write_wav(tmp_path / "evening.wav", evening(1))
    run = subprocess.run(
        [directory / "test" / target, wav],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert run.returncode != 0
    assert says in run.stderr


def test_it_compiles_without_a_warning_with_clang(tmp_path, stand_in_dir):
    clang = require_tool("clang-22")
    build(
        tmp_path,
        f"-DCMAKE_C_COMPILER={clang}",
        "-DEARMARK_TESTS=ON",
        f"-DEARMARK_MODEL_DIR={stand_in_dir}",
    )


FUZZ_SECONDS = 3
FUZZERS = sorted(path.stem for path in (HOST / "fuzz").glob("fuzz_*.c"))


@pytest.fixture(scope="session")
def fuzzers(tmp_path_factory):
    return build(
        tmp_path_factory.mktemp("fuzz"),
        f"-DCMAKE_C_COMPILER={require_tool('clang-22')}",
        "-DEARMARK_FUZZ=ON",
        "-DEARMARK_SANITIZE=address,undefined,fuzzer-no-link",
        targets=tuple(FUZZERS),
    )


@pytest.mark.parametrize("name", FUZZERS)
def test_parsers_withstand_random_bytes(fuzzers, tmp_path, name):
    """A few seconds each; docs/firmware.md has the command for longer runs."""
    run = subprocess.run(
        [
            fuzzers / "fuzz" / name,
            f"-max_total_time={FUZZ_SECONDS}",
            "-max_len=2048",
            f"-dict={HOST / 'fuzz' / 'json.dict'}",
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        cwd=tmp_path,
    )
    assert run.returncode == 0, run.stderr[-3000:]


def line_counts(directory: Path) -> dict[str, dict[int, int]]:
    """Executions per line of every component source, all test programs together."""
    gcov = require_tool("gcov")
    counts: dict[str, dict[int, int]] = {}
    data = sorted(directory.rglob("*.gcda"))
    assert data, "no coverage data"
    for path in data:
        run = subprocess.run(
            [gcov, "--json-format", "--stdout", path],
            capture_output=True,
            check=True,
            cwd=directory,
        )
        text = gzip.decompress(run.stdout) if run.stdout[:2] == b"\x1f\x8b" else run.stdout
        for document in text.splitlines():
            for file in json.loads(document)["files"]:
                lines = counts.setdefault(str((directory / file["file"]).resolve()), {})
                for line in file["lines"]:
                    number = line["line_number"]
                    lines[number] = lines.get(number, 0) + line["count"]
    return counts


def test_line_coverage_of_the_portable_core(tmp_path, stand_in_dir, record_property):
    directory = build(
        tmp_path / "coverage",
        "-DEARMARK_TESTS=ON",
        "-DEARMARK_COVERAGE=ON",
        f"-DEARMARK_MODEL_DIR={stand_in_dir}",
    )
    for name in C_TESTS:
        run_test(directory / "test" / name)
    wav = write_wav(tmp_path / "evening.wav", evening(1))
    subprocess.run(
        [directory / "earmark-sim", "--wav", wav, "--loopback"], capture_output=True, check=True
    )
    components = ROOT / "firmware" / "components"
    covered = total = 0
    report = []
    for file, lines in sorted(line_counts(directory).items()):
        path = Path(file)
        if not path.is_relative_to(components) or path.suffix != ".c":
            continue
        if path.relative_to(components).parts[0] in ELSEWHERE:
            continue
        hit = sum(count > 0 for count in lines.values())
        missing = sorted(number for number, count in lines.items() if not count)
        report.append(f"{path.name}: {hit}/{len(lines)}, missing {missing}")
        covered += hit
        total += len(lines)
    assert total > 900, report
    assert covered / total >= COVERAGE_MIN, "\n".join([f"{covered}/{total}", *report])
    record_property("line_coverage", covered / total)
