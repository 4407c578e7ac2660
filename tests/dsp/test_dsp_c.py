"""The C itself: every compiler gives the integers of the Python build; API and symbols."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
from dsp_cases import cases
from earmark_dsp import codegen
from earmark_dsp.native import extract, extract_q8
from earmark_dsp.sources import sources_root
from earmark_dsp.spec import list_specs, load_spec
from tools import require_tool

HERE = Path(__file__).parent
C_ROOT = sources_root() / "dsp" / "c"
SOURCES = sorted((C_ROOT / "src").glob("*.c"))
WARNINGS = ["-std=c11", "-Wall", "-Wextra", "-Wconversion", "-Werror"]
SPECS = list_specs()
SAMPLES = np.concatenate(list(cases().values()))


def _compile(compiler, arguments, folder):
    command = [compiler, *WARNINGS, f"-I{C_ROOT / 'include'}", f"-I{C_ROOT / 'src'}", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def _real_clips():
    """Half a second of a few ESC-10 clips where the data is present."""
    locate = pytest.importorskip("earmark_datasets.locate")
    folder = locate.find_dataset("ESC-10")
    if folder is None:
        return []
    audio = pytest.importorskip("earmark_dsp.audio")
    return [audio.load_pcm(path, 16000)[:8000] for path in audio.find_audio(folder / "audio")[::50]]


def _expected(spec, pcm):
    parts = zip(extract(spec, pcm), extract_q8(spec, pcm), strict=True)
    return b"".join(row.tobytes() + fine.tobytes() for row, fine in parts)


@pytest.mark.parametrize("level", ["-O0", "-O3"])
@pytest.mark.parametrize("compiler", ["gcc", "clang-22"])
def test_compilers_and_levels_are_bit_exact(compiler, level, tmp_path):
    tool = require_tool(compiler)
    _compile(tool, [level, "-c", *map(str, SOURCES)], tmp_path)
    objects = [f"{source.stem}.o" for source in SOURCES]
    pcm = np.concatenate([SAMPLES, *_real_clips()])
    for name in SPECS:
        spec = load_spec(name)
        codegen.generate(spec, tmp_path)
        program = tmp_path / name
        main = [str(HERE / "rows_main.c"), "frontend_tables.c", *objects, "-o", str(program)]
        _compile(tool, [level, f"-I{tmp_path}", *main], tmp_path)
        done = subprocess.run([program], input=pcm.tobytes(), capture_output=True, check=True)
        assert done.stdout == _expected(spec, pcm), name


def test_device_objects_need_nothing_but_memory_functions(tmp_path):
    """No heap, no files, no printing, no maths library: audio can go nowhere from here."""
    tool = require_tool("gcc")
    nm = require_tool("nm")
    _compile(tool, ["-O2", "-c", *map(str, SOURCES)], tmp_path)
    defined, wanted = set(), set()
    for source in SOURCES:
        listing = subprocess.run(
            [nm, "-P", tmp_path / f"{source.stem}.o"], capture_output=True, text=True, check=True
        ).stdout
        for line in listing.splitlines():
            name, kind = line.split()[:2]
            (wanted if kind == "U" else defined).add(name)
            assert kind not in {"B", "b", "D", "d", "C"}, f"{name}: the front end has no globals"
    allowed = {"memcpy", "memmove", "memset", "_GLOBAL_OFFSET_TABLE_", "__stack_chk_fail"}
    assert wanted - defined <= allowed


API_TEST = r"""
#include "earmark/frontend.h"
#include "frontend_tables.h"
#include <stdio.h>
#include <string.h>
#define CHECK(x) do { if (!(x)) { printf("line %d: %s\n", __LINE__, #x); return 1; } } while (0)
static uint64_t memory[2048];
static int16_t pcm[600];
static int8_t row[64];
int main(void) {
    const em_frontend_tables_t *t = &em_frontend_tables;
    em_frontend_t *fe = NULL;
    const size_t bytes = em_frontend_needed_bytes(t);
    CHECK(strcmp(t->hash_hex, EM_FRONTEND_HASH_HEX) == 0);
    CHECK(em_frontend_needed_bytes(NULL) == 0);
    CHECK(bytes > 0 && bytes <= 8192);
    CHECK(em_frontend_init(NULL, t, memory, sizeof memory) == EM_ERR_ARGUMENT);
    CHECK(em_frontend_init(&fe, NULL, memory, sizeof memory) == EM_ERR_ARGUMENT);
    CHECK(em_frontend_init(&fe, t, NULL, sizeof memory) == EM_ERR_ARGUMENT);
    CHECK(em_frontend_init(&fe, t, memory, bytes - 1) == EM_ERR_SIZE);
    CHECK(em_frontend_init(&fe, t, (char *)memory + 4, sizeof memory - 4) == EM_ERR_SIZE);
    CHECK(em_frontend_init(&fe, t, memory, bytes) == EM_OK);
    size_t used = 99;
    int ready = 99;
    CHECK(em_frontend_process(NULL, pcm, 1, &used, row, &ready) == EM_ERR_ARGUMENT);
    CHECK(em_frontend_process(fe, NULL, 1, &used, row, &ready) == EM_ERR_ARGUMENT);
    CHECK(em_frontend_process(fe, pcm, 1, NULL, row, &ready) == EM_ERR_ARGUMENT);
    CHECK(em_frontend_process(fe, pcm, 1, &used, NULL, &ready) == EM_ERR_ARGUMENT);
    CHECK(em_frontend_process(fe, pcm, 1, &used, row, NULL) == EM_ERR_ARGUMENT);
    CHECK(em_frontend_process(fe, NULL, 0, &used, row, &ready) == EM_OK && used == 0 && !ready);
    CHECK(em_frontend_process(fe, pcm, 600, &used, row, &ready) == EM_OK);
    CHECK(used == t->window_length && ready == 1);
    CHECK(em_frontend_process(fe, pcm, 319, &used, row, &ready) == EM_OK);
    CHECK(used == 319 && ready == 0);
    CHECK(em_frontend_process(fe, pcm, 319, &used, row, &ready) == EM_OK);
    CHECK(used == 1 && ready == 1);
    CHECK(em_frontend_last_row_q8(NULL) == NULL && em_frontend_last_row_q8(fe) != NULL);
    em_frontend_reset(fe);
    CHECK(em_frontend_process(fe, pcm, 511, &used, row, &ready) == EM_OK);
    CHECK(used == 511 && ready == 0);
    return 0;
}
"""


def test_c_api_contract(tmp_path):
    tool = require_tool("gcc", "cc")
    codegen.generate(load_spec("pcen-64-20ms"), tmp_path)
    (tmp_path / "api.c").write_text(API_TEST)
    files = ["api.c", "frontend_tables.c", *map(str, SOURCES)]
    _compile(
        tool, ["-O1", "-g", "-fsanitize=address,undefined", "-I.", *files, "-o", "api"], tmp_path
    )
    done = subprocess.run([tmp_path / "api"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_a_million_random_frames_under_sanitizers(tmp_path):
    tool = require_tool("clang-22", "clang", "gcc")
    frames = 1_000_000 // len(SPECS)
    flags = ["-O2", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    _compile(tool, [*flags, "-c", *map(str, SOURCES)], tmp_path)
    objects = [f"{source.stem}.o" for source in SOURCES]
    for name in SPECS:
        codegen.generate(load_spec(name), tmp_path)
        main = [str(HERE / "random_main.c"), "frontend_tables.c", *objects, "-o", name]
        _compile(tool, [*flags, "-I.", *main], tmp_path)
        done = subprocess.run(
            [tmp_path / name, str(frames)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout.split()[:2] == ["rows", str(frames)]
