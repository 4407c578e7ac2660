"""What the firmware's encoder writes, the gateway's decoder accepts: the real C on both ends."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from earmark_gateway import wire
from tools import require_tool

COMPONENTS = Path(__file__).parents[2] / "firmware/components"
SOURCES = (
    "wire/src/encode.c",
    "wire/src/decode.c",
    "support/src/json_writer.c",
    "support/src/json_reader.c",
)
PROGRAM = r"""
#include "earmark/wire.h"
#include <stdio.h>
#include <string.h>

int main(void) {
    char out[EM_PAYLOAD_BYTES];
    em_report_t r = {.boot = 0x5b1e9c7702aa41d3u, .boot_n = 42, .seq = 1234, .up_ms = 8123456,
        .unix_ms = 1795227818123, .episode = 17, .dur_ms = EM_DURATION_NONE, .conf_milli = 930,
        .thr_milli = 800, .phase = EM_REPORT_START, .has_wall = true, .sync = true,
        .label = "glass_break", .model = "em-1.4.0+3fa9"};
    if (em_wire_event(out, &r, false) != EM_OK) return 1;
    printf("event %s\n", out);
    r.phase = EM_REPORT_END; r.dur_ms = EM_DURATION_MAX_MS; r.has_wall = false;
    r.seq = UINT32_MAX; r.boot_n = UINT32_MAX; r.boot = UINT64_MAX; r.conf_milli = 1000;
    memset(r.label, 'z', EM_LABEL_CHARS);
    if (em_wire_event(out, &r, true) != EM_OK) return 2;
    printf("event %s\n", out);
    em_health_report_t h = {.boot = 1, .boot_n = 1, .seq_next = 7, .up_ms = 60000, .mic_ok = true,
        .state = "online", .firmware = "0.1.0-0123456789012345678901234", .model = r.model};
    if (em_wire_health(out, &h) != EM_OK) return 3;
    printf("health %s\n", out);
    h.has_wall = h.sync = h.has_noise = h.has_rssi = true;
    h.unix_ms = 1795227818123; h.noise_dbfs = -63; h.rssi_dbm = -128; h.mic_ok = false;
    h.flags = (1u << EM_HEALTH_N_FLAGS) - 1;
    h.queue = h.drops = h.overruns = h.heap_min_bytes = UINT32_MAX;
    if (em_wire_health(out, &h) != EM_OK) return 4;
    printf("health %s\n", out);
    em_catalog_t c = {.model = r.model, .front_end_hash = "0123456789abcdef", .n_labels = 2,
        .labels = {{.name = "dog", .threshold_milli = 800, .reported = true}, {.name = "cough"}}};
    if (em_wire_info(out, &c, h.firmware) != EM_OK) return 5;
    printf("info %s\n", out);
    if (em_wire_response(out, "a1", NULL) != EM_OK) return 6;
    printf("rsp %s\n", out);
    if (em_wire_response(out, "a1", "expired") != EM_OK) return 7;
    printf("rsp %s\n", out);
    em_ack_t ack;
    const char *text = ACK;
    if (em_wire_parse_ack(&ack, text, strlen(text)) != EM_OK) return 8;
    return ack.boot == 0x5b1e9c7702aa41d3u && ack.upto == 1234 && ack.n_seqs == 64 ? 0 : 9;
}
"""


@pytest.fixture(scope="module")
def messages(tmp_path_factory):
    compiler = require_tool("cc", "gcc", "clang")
    folder = tmp_path_factory.mktemp("wire")
    # The acknowledgement as the gateway encodes it, at the firmware's limit.
    import msgspec

    ack = wire.Ack(boot="5b1e9c7702aa41d3", upto=1234, seqs=list(range(1236, 1300)))
    text = msgspec.json.encode(ack).decode().replace('"', r"\"")
    (folder / "main.c").write_text(f'#define ACK "{text}"\n{PROGRAM}')
    includes = [f"-I{path}" for path in sorted(COMPONENTS.glob("*/include"))]
    includes.append(f"-I{COMPONENTS.parents[1] / 'dsp/c/include'}")
    sources = [str(COMPONENTS / name) for name in SOURCES]
    program = folder / "main"
    subprocess.run(
        [compiler, "-std=c11", *includes, str(folder / "main.c"), *sources, "-o", str(program)],
        check=True,
    )
    lines = subprocess.run([program], check=True, capture_output=True, text=True).stdout
    return [line.split(" ", 1) for line in lines.splitlines()]


def test_every_message_of_the_firmware_is_accepted(messages):
    decoders = {
        "event": wire.decode_event,
        "health": wire.decode_health,
        "info": wire.decode_info,
        "rsp": wire.decode_response,
    }
    decoded = [decoders[kind](text.encode()) for kind, text in messages]
    first = decoded[0]
    assert (first.event_type, first.seq, first.conf, first.thr) == ("glass_break", 1234, 0.93, 0.8)
    assert (first.ts, first.sync, first.dur_ms, first.late) == (1795227818123, True, None, False)
    assert (decoded[1].dur_ms, decoded[1].late, decoded[1].ts) == (600_000, True, None)
    assert len(set(decoded[3].flags)) == len(decoded[3].flags) >= 12
    info = next(item for item in decoded if isinstance(item, wire.Info))
    assert (info.labels, info.thresholds) == (["dog"], {"dog": 0.8})
    assert {kind for kind, _ in messages} == decoders.keys()
