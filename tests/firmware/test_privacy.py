"""The privacy claims of docs/privacy.md, each with a deliberate violation as its own control."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
from firmware_kit import RATE_HZ, ROOT, STAND_IN, evening, write_stand_in, write_wav
from tools import require_tool

if TYPE_CHECKING:
    from pathlib import Path

FIRMWARE = ROOT / "firmware"
COMPONENTS = FIRMWARE / "components"
sys.path.insert(0, str(FIRMWARE / "tools"))

AUDIO = {"capture", "frontend", "nn", "engine", "detector", "pipeline", "listener", "model"}
# What the audio side may be linked with. Everything else could be a way out: mqtt, lwip, http,
# uart, nvs, partitions, log.
MAY_REQUIRE = AUDIO | {
    *("handover", "esp_common", "esp_system", "esp_hw_support", "esp_timer", "freertos", "heap"),
    *("esp_driver_i2s", "esp_driver_gpio", "esp-tflite-micro"),
}
MAY_INCLUDE = re.compile(
    r"(earmark/(handover|pcm_ring|microphone|mic_monitor|listener|audio_task|pipeline|bundle|golden_features|"
    r"detector|cadence|engine\w*|model|frontend|nn\w*|status)\.h"
    r"|driver/i2s_(std|pdm)\.h|esp_(err|heap_caps|memory_utils|task_wdt|timer)\.h"
    r"|freertos/(FreeRTOS|task)\.h|sdkconfig\.h|(string|limits|stdint|stddef|stdbool|stdatomic)\.h"
    r"|tensorflow/lite/.*|new|cstring|cstdint|cstddef|math\.h)"
)
_KEYWORDS = {
    *("SRCS", "INCLUDE_DIRS", "PRIV_INCLUDE_DIRS", "LDFRAGMENTS", "EMBED_FILES", "WHOLE_ARCHIVE"),
    *("REQUIRES", "PRIV_REQUIRES"),
}


def requirements(cmake: str) -> set[str]:
    """Names after REQUIRES and PRIV_REQUIRES, list variables expanded."""
    text = re.sub(r"#.*", "", cmake)
    variables: dict[str, set[str]] = {}
    for name, values in re.findall(r"(?:set|list)\s*\(\s*(?:APPEND\s+)?(\w+)([^)]*)\)", text):
        variables.setdefault(name, set()).update(values.split())
    found: set[str] = set()
    for call in re.findall(r"idf_component_register\s*\(([^)]*)\)", text):
        collecting = False
        for word in call.split():
            if word in _KEYWORDS:
                collecting = word.endswith("REQUIRES")
            elif collecting:
                variable = re.fullmatch(r"\$\{(\w+)\}", word)
                found |= variables.get(variable[1], set()) if variable else {word}
    return found


def forbidden_requirements(components: Path) -> set[tuple[str, str]]:
    """(component, requirement) pairs that could carry audio away, over the transitive closure."""
    todo, seen, found = list(AUDIO), set(), set()
    while todo:
        name = todo.pop()
        path = components / name / "CMakeLists.txt"
        if name in seen or not path.exists():
            continue
        seen.add(name)
        for required in requirements(path.read_text("utf-8")):
            if required in MAY_REQUIRE:
                todo.append(required)
            else:
                found.add((name, required))
    return found


def test_the_audio_side_is_linked_with_nothing_that_leads_out():
    assert forbidden_requirements(COMPONENTS) == set()
    assert all((COMPONENTS / name / "CMakeLists.txt").exists() for name in AUDIO)


@pytest.mark.parametrize(
    "way_out", ["mqtt", "lwip", "log", "nvs_flash", "esp_driver_uart", "outbox"]
)
@pytest.mark.parametrize("component", ["listener", "handover"])
def test_the_graph_check_sees_a_violation(tmp_path, way_out, component):
    shutil.copytree(COMPONENTS, tmp_path / "components")
    path = tmp_path / "components" / component / "CMakeLists.txt"
    text = path.read_text("utf-8")
    path.write_text(
        text.replace("INCLUDE_DIRS include", f"INCLUDE_DIRS include REQUIRES {way_out}")
    )
    assert any(required == way_out for _, required in forbidden_requirements(path.parents[1]))


def audio_sources() -> list[Path]:
    folders = [COMPONENTS / name for name in AUDIO | {"handover"}]
    folders += [ROOT / "dsp/c/src", ROOT / "dsp/c/include"]
    return [p for folder in folders for p in folder.rglob("*") if p.suffix in {".c", ".h", ".cc"}]


def forbidden_includes(source: str) -> list[str]:
    """Included headers that are neither on the list nor a part of the audio side themselves."""
    own = {path.name for path in audio_sources() if path.suffix == ".h"}
    names = re.findall(r'^\s*#\s*include\s+[<"]([^>"]+)[>"]', source, re.MULTILINE)
    return [name for name in names if name not in own and not MAY_INCLUDE.fullmatch(name)]


def test_the_audio_side_includes_no_header_that_leads_out():
    sources = audio_sources()
    assert len(sources) > 20
    for path in sources:
        assert not forbidden_includes(path.read_text("utf-8")), path


def test_the_include_check_sees_a_violation():
    for name in (
        "esp_log.h",
        "stdio.h",
        "mqtt_client.h",
        "driver/uart.h",
        "nvs.h",
        "lwip/sockets.h",
    ):
        assert forbidden_includes(f"#include <{name}>") == [name]


# Symbols --------------------------------------------------------------------------------------
MAY_REFERENCE = re.compile(
    r"em_\w+|mem(cpy|set|move|cmp)|str(cmp|len|ncmp)|__(stack_chk_fail|u?divdi3|u?moddi3)"
    r"|_GLOBAL_OFFSET_TABLE_|(lround|ldexp|floor|exp|log)f?|llvm\.\w+"
)


def undefined_symbols(objects: list[Path]) -> set[str]:
    nm = require_tool("nm")
    run = subprocess.run([nm, "-u", "-P", *objects], capture_output=True, text=True, check=True)
    return {line.split()[0] for line in run.stdout.splitlines() if " U" in line}


def audio_objects(build: Path) -> list[Path]:
    names = "capture|frontend|nn|engine|detector|pipeline|listener|handover"
    return [p for p in build.rglob("*.o") if re.search(rf"em_({names})\.dir", str(p))]


def ways_out(symbols: set[str]) -> set[str]:
    return {name for name in symbols if not MAY_REFERENCE.fullmatch(name)}


def test_audio_objects_reference_nothing_but_memory_and_each_other(simulator):
    objects = audio_objects(simulator.parent)
    assert len(objects) > 12
    assert ways_out(undefined_symbols(objects)) == set()


@pytest.mark.parametrize(
    "call", ["printf", "esp_log_write", "send", "nvs_set_blob", "uart_write_bytes"]
)
def test_the_symbol_check_sees_a_violation(tmp_path, call):
    source = tmp_path / "leak.c"
    source.write_text(f"int {call}(const void *, ...);\nint f(int x) {{ return {call}(&x, 1); }}\n")
    target = tmp_path / "leak.o"
    compiler = require_tool("cc", "gcc")
    subprocess.run([compiler, "-c", "-O2", "-fno-builtin", source, "-o", target], check=True)
    assert ways_out(undefined_symbols([target])) == {call}


# Traffic --------------------------------------------------------------------------------------
TIMES_AND_IDS = ("up_ms", "ts", "dur_ms", "boot", "eid", "inf_p99_ms")


def traffic(executable: Path, pcm: np.ndarray, folder: Path) -> list[str]:
    """Every byte that leaves, with times and ids replaced."""
    wav = write_wav(folder / "heard.wav", pcm)
    run = subprocess.run(
        [executable, "--wav", wav, "--loopback"], capture_output=True, text=True, check=True
    )
    pattern = "|".join(TIMES_AND_IDS)
    return re.sub(rf'"({pattern})":("[^"]*"|[-\d]+|null)', r'"\1":0', run.stdout).splitlines()


def test_other_audio_with_the_same_labels_gives_the_same_traffic(simulator, tmp_path):
    heard = [evening(seed) for seed in (1, 2, 3)]
    assert not np.array_equal(heard[0], heard[1])
    first, *others = (traffic(simulator, pcm, tmp_path) for pcm in heard)
    assert sum("/event\t" in line for line in first) == 4
    for other in others:
        assert other == first


def test_the_traffic_check_sees_a_hidden_bit(tmp_path):
    from earmark_training.deploy.simulate import build_simulator

    c_dir = write_stand_in(tmp_path / "c")
    model = c_dir / "model.c"
    assert "STAND_IN_LEAKS_AUDIO" in (STAND_IN / "model.c").read_text()
    model.write_text("#define STAND_IN_LEAKS_AUDIO\n" + model.read_text())
    leaking = build_simulator(c_dir, tmp_path / "build")
    runs = {tuple(traffic(leaking, evening(seed), tmp_path)) for seed in (1, 2, 3)}
    assert len(runs) > 1


def test_a_captured_run_stays_below_the_lowest_speech_codec(simulator, tmp_path):
    """Twenty minutes with a sound every two seconds; the budget as it counts itself."""
    overhead_bytes, burst_bytes, budget_bit_s = 84, 8192, 700
    hiss = evening(1)[4 * RATE_HZ : 5 * RATE_HZ]
    quiet = evening(1)[: int(1.6 * RATE_HZ)]
    wav = write_wav(tmp_path / "storm.wav", np.tile(np.concatenate([hiss, quiet]), 460))
    run = subprocess.run(
        [simulator, "--wav", wav, "--loopback", "--drain-ms", "1"],
        capture_output=True,
        check=False,
        timeout=120,
    )
    lines = [line.split(b"\t") for line in run.stdout.splitlines() if line.startswith(b"PUB")]
    n_bytes = sum(len(topic) + len(payload) + overhead_bytes for *_, topic, payload in lines)
    seconds = json.loads(run.stderr)["audio_s"]
    assert sum(topic.endswith(b"/event") for *_, topic, _ in lines) > 100
    assert (n_bytes - burst_bytes) * 8 / seconds < budget_bit_s


# Placement ------------------------------------------------------------------------------------
def external_memory_uses(source: str) -> list[str]:
    return re.findall(r"EXT_RAM_\w+|MALLOC_CAP_SPIRAM|ext_ram\w*|heap_caps_malloc_prefer", source)


def test_audio_never_asks_for_external_memory():
    for path in audio_sources():
        assert not external_memory_uses(path.read_text("utf-8")), path
    assert external_memory_uses("EXT_RAM_BSS_ATTR static int16_t ring[9];")
    defaults = (FIRMWARE / "sdkconfig.defaults").read_text("utf-8")
    assert "# CONFIG_SPIRAM_ALLOW_BSS_SEG_EXTERNAL_MEMORY is not set" in defaults
    assert "CONFIG_SPIRAM_USE_CAPS_ALLOC=y" in defaults, "plain malloc must not reach PSRAM"
    assert "CONFIG_ESP_COREDUMP_ENABLE_TO_NONE=y" in defaults


def test_the_audio_path_checks_its_own_placement_at_boot():
    for name in ("capture/esp/microphone.c", "listener/esp/audio_task.c"):
        assert "esp_ptr_internal(" in (COMPONENTS / name).read_text("utf-8")


MAP = """
 .bss.s_stack   0x000000003ffb4d60      0xc00 esp-idf/capture/libcapture.a(microphone.c.obj)
 .bss.a_rather_long_section_name
                0x{address:016x}     0x1800 esp-idf/listener/liblistener.a(audio_task.c.obj)
 .bss.buffer    0x000000003f800000      0x400 esp-idf/mbedtls/libmbedtls.a(ssl.c.obj)
 .bss.empty     0x000000003f800000        0x0 esp-idf/nn/libnn.a(nn_conv.c.obj)
"""


def test_the_map_check_finds_audio_in_external_memory():
    from check_map import misplaced

    assert misplaced(MAP.format(address=0x3FFB5960)) == []
    assert len(misplaced(MAP.format(address=0x3F801000))) == 1


# Recorder -------------------------------------------------------------------------------------
def test_the_recorder_is_another_program(simulator, tmp_path):
    nm = require_tool("nm")
    frame = tmp_path / "recorder_frame.o"
    subprocess.run(
        [
            *(require_tool("cc", "gcc"), "-std=c11", "-Wall", "-Wextra", "-Wconversion", "-Werror"),
            *("-c", FIRMWARE / "recorder/main/recorder_frame.c", "-o", frame),
            f"-I{COMPONENTS}/support/include",
        ],
        check=True,
    )

    def recorder_symbols(binary: Path) -> list[str]:
        run = subprocess.run([nm, binary], capture_output=True, text=True, check=True)
        return [line for line in run.stdout.splitlines() if "recorder" in line]

    assert recorder_symbols(frame), "the check must be able to find them"
    assert not recorder_symbols(simulator)
    product = [FIRMWARE / "CMakeLists.txt", FIRMWARE / "main/CMakeLists.txt"]
    product += COMPONENTS.glob("*/CMakeLists.txt")
    assert not [p for p in product if "recorder" in re.sub(r"#.*", "", p.read_text("utf-8"))]
    names = {
        folder: re.search(r"project\((\w+)\)", (folder / "CMakeLists.txt").read_text("utf-8"))[1]
        for folder in (FIRMWARE, FIRMWARE / "recorder")
    }
    # The update refuses an image of another project (ota/esp/app_update.c).
    assert len(set(names.values())) == 2


def test_release_builds_refuse_what_is_for_development():
    kconfig = (COMPONENTS / "capture/Kconfig").read_text("utf-8")
    kconfig += (FIRMWARE / "main/Kconfig.projbuild").read_text("utf-8")
    for option in ("EARMARK_MIC_PARTITION", "EARMARK_NETWORK_CONSOLE"):
        block = kconfig[kconfig.index(f"config {option}") :].split("\n\n")[0]
        assert "depends on !EARMARK_RELEASE" in block
    release = (FIRMWARE / "sdkconfig.release").read_text("utf-8")
    for line in (
        *("CONFIG_EARMARK_RELEASE=y", "CONFIG_SECURE_BOOT_V2_ENABLED=y", "CONFIG_NVS_ENCRYPTION=y"),
        *("CONFIG_SECURE_FLASH_ENCRYPTION_MODE_RELEASE=y", "CONFIG_ESP_CONSOLE_NONE=y"),
    ):
        assert line in release
