"""The emulated LX6: exact counts, 64-bit and float arithmetic, files, failures as messages."""

from __future__ import annotations

import numpy as np
import pytest
from earmark_dsp.errors import EarmarkError
from earmark_training.deploy import lx6_toolchain
from earmark_training.deploy.emulator import build, run
from earmark_training.deploy.lx6_toolchain import TOOLS, Unit
from tools import require_tool


@pytest.fixture(autouse=True)
def _tools():
    for tool in TOOLS:
        require_tool(tool)


def _run(folder, source, files=None, **options):
    path = folder / "program.c"
    path.write_text('#include "emulator.h"\n' + source)
    return run(build([Unit(path, **options)], folder / "program.elf"), files)


COUNTING = r"""
int main(void) {
    emulator_region_begin("nothing");
    emulator_region_end();
    for (int i = 0; i < 3; i++) {
        emulator_region_begin("nops");
        __asm__ volatile(".rept 100\n nop\n .endr");
        emulator_region_end();
    }
    int32_t a = 7, b = -123456789;
    emulator_region_begin("products");
    __asm__ volatile(".rept 50\n or %0, %0, %0\n mulsh %0, %1, %1\n .endr" : "+r"(a) : "r"(b));
    emulator_region_end();
    return a == (int32_t)(((int64_t)b * b) >> 32) ? 0 : 1;
}
"""


def test_counts_are_exact_and_leave_emulated_products_out(tmp_path):
    first, second = (_run(tmp_path, COUNTING) for _ in range(2))
    assert first.status == 0
    assert first.regions == second.regions
    regions = first.regions
    idle = regions["nothing"].instructions
    assert idle <= 2
    assert regions["nops"].calls == 3
    assert abs(regions["nops"].instructions - 300) <= 3
    # One instruction each, as on the LX6, and two to load the operands.
    assert abs(regions["products"].instructions - 50) <= 4


ARITHMETIC = r"""
typedef struct { int64_t a, b; float x, y; } input_t;
typedef struct {
    int64_t quotient, remainder, high;
    uint64_t unsigned_quotient;
    float ratio;
    uint32_t unused;
} output_t;
static input_t in[200];
static output_t out[200];
int main(void) {
    const int32_t n = emulator_read("in", in, sizeof in) / (int32_t)sizeof in[0];
    for (int32_t i = 0; i < n; i++) {
        out[i].quotient = in[i].a / in[i].b;
        out[i].remainder = in[i].a % in[i].b;
        out[i].high = ((int64_t)(int32_t)in[i].a * (int32_t)in[i].b) >> 32;
        out[i].unsigned_quotient = (uint64_t)in[i].a / (uint64_t)in[i].b;
        out[i].ratio = in[i].x / in[i].y;
    }
    return emulator_write("out", out, (uint32_t)n * (uint32_t)sizeof out[0]);
}
"""


def test_arithmetic_equals_numpy(tmp_path):
    rng = np.random.default_rng(1)
    kind = np.dtype([("a", "<i8"), ("b", "<i8"), ("x", "<f4"), ("y", "<f4")])
    sent = np.zeros(200, kind)
    for name in "ab":
        values = rng.integers(-(2**62), 2**62, 200) >> rng.integers(0, 62, 200)
        sent[name] = np.where(values == 0, 3, values)
    sent["x"] = rng.standard_normal(200) * 10.0 ** rng.integers(-38, 38, 200)
    sent["y"] = rng.standard_normal(200) * 10.0 ** rng.integers(-38, 38, 200)
    sent["x"][:4] = 0, np.inf, np.nan, 1
    sent["y"][3:6] = 0, np.inf, -np.inf
    got = np.frombuffer(
        _run(tmp_path, ARITHMETIC, {"in": sent.tobytes()}).files["out"],
        np.dtype("<i8,<i8,<i8,<u8,<f4,<u4"),
    )
    a, b = sent["a"].tolist(), sent["b"].tolist()
    quotients = [
        abs(p) // abs(q) * (1 if (p < 0) == (q < 0) else -1) for p, q in zip(a, b, strict=True)
    ]
    assert got["f0"].tolist() == quotients
    assert got["f1"].tolist() == [p - q * r for p, q, r in zip(a, quotients, b, strict=True)]
    low_a, low_b = sent["a"].astype(np.int32).astype(np.int64), sent["b"].astype(np.int32)
    np.testing.assert_array_equal(got["f2"], (low_a * low_b) >> 32)
    np.testing.assert_array_equal(got["f3"], sent["a"].view(np.uint64) // sent["b"].view(np.uint64))
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(got["f4"], sent["x"] / sent["y"])


def test_functions_are_counted_with_their_callees(tmp_path):
    source = """
    static volatile int sink;
    __attribute__((noinline)) static void inner(int n) { for (int i = 0; i < n; i++) sink = i; }
    __attribute__((noinline)) static void outer(void) { inner(200); inner(200); sink = 1; }
    int main(void) { outer(); return 0; }
    """
    regions = _run(tmp_path, source, count_functions=True).regions
    assert regions["inner"].calls == 2
    assert regions["outer"].calls == 1
    assert regions["outer"].instructions > regions["inner"].instructions > 1200


def test_a_processor_exception_is_a_message(tmp_path):
    with pytest.raises(EarmarkError, match="exception cause"):
        _run(tmp_path, 'int main(void) { __asm__ volatile("ill"); return 0; }')


def test_a_compiler_error_is_a_message(tmp_path):
    with pytest.raises(EarmarkError, match="clang-22 refuses"):
        _run(tmp_path, "int main(void) { return undeclared; }")


def test_missing_tools_are_named(monkeypatch):
    monkeypatch.setattr(lx6_toolchain.shutil, "which", lambda _: None)
    with pytest.raises(EarmarkError, match="qemu-system-xtensa"):
        lx6_toolchain.require_tools()
