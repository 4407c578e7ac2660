"""Static internal SRAM of the firmware, from the sizes that a 32-bit Xtensa compiler computes."""

from __future__ import annotations

import re
import subprocess

from firmware_kit import ROOT
from tools import require_tool

FIRMWARE = ROOT / "firmware"
LIMIT_BYTES = 110 * 1024
# What one-time allocations leave for front end, window, detector and arena of a model.
PIPELINE_BYTES = 58 * 1024
TYPES = {
    "em_pcm_ring_t": 1,
    "em_listener_t": 1,
    "em_handover_t": 1,
    "em_identity_t": 1,
    "em_catalog_t": 1,
}


def xtensa_sizes(names: list[str]) -> dict[str, int]:
    """sizeof() of types, read from the compiler's own messages."""
    headers = ("device", "listener", "pcm_ring", "provisioning")
    source = "".join(f'#include "earmark/{name}.h"\n' for name in headers)
    source += "".join(f"char (*size_{name})[sizeof({name})] = 1;\n" for name in names)
    includes = [f"-I{p}" for p in sorted((FIRMWARE / "components").glob("*/include"))]
    run = subprocess.run(
        [
            *(require_tool("clang-22"), "--target=xtensa", "-ffreestanding", "-fsyntax-only"),
            *(*includes, f"-I{ROOT / 'dsp/c/include'}", "-xc", "-"),
        ],
        input=source,
        capture_output=True,
        text=True,
        check=False,
    )
    sizes = [int(n) for n in re.findall(r"error: .*'char \(\*\)\[(\d+)\]'", run.stderr)]
    assert len(sizes) == len(names), run.stderr
    return dict(zip(names, sizes, strict=True))


def constant(path: str, name: str) -> int:
    text = (FIRMWARE / path).read_text("utf-8")
    return int(re.search(rf"\b{name} = (\d+)", text)[1])


def static_bytes() -> dict[str, int]:
    sizes = xtensa_sizes([*TYPES, "em_device_t"])
    assert sizes.pop("em_device_t") > 30_000, "it is large: it must not be static (PSRAM)"
    defaults = (FIRMWARE / "sdkconfig.defaults").read_text("utf-8")
    main_stack = int(re.search(r"CONFIG_ESP_MAIN_TASK_STACK_SIZE=(\d+)", defaults)[1])
    sizes["stacks"] = main_stack + sum(
        constant(path, "STACK_BYTES")
        for path in (
            "components/capture/esp/microphone.c",
            "components/listener/esp/audio_task.c",
            "main/panel_task.c",
        )
    )
    message_bytes = 96 + 1024 + 8
    sizes["link queue"] = (constant("main/device_task.c", "QUEUE_LENGTH") + 2) * message_bytes
    sizes["audio blocks"] = 320 * (4 + 2 + 2)
    return sizes


def test_static_memory_and_pipeline_fit_into_the_budget():
    sizes = static_bytes()
    total = sum(sizes.values())
    assert total > 30_000, sizes
    assert total + PIPELINE_BYTES <= LIMIT_BYTES, sizes


def test_the_device_core_is_not_static():
    text = (FIRMWARE / "main/device_task.c").read_text("utf-8")
    assert "static em_device_t *s_device;" in text
    assert "MALLOC_CAP_SPIRAM" in text
