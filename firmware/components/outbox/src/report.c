#include "earmark/report.h"

#include "earmark/crc32.h"

#include <string.h>

enum {
    RECORD_MAGIC = 0x5645,
    FLAG_CRITICAL = 1,
    FLAG_WALL = 2,
    FLAG_SYNC = 4,
    OFFSET_LABEL = 48,
    OFFSET_MODEL = 80,
    OFFSET_CRC = 108
};

static void put(uint8_t *out, uint64_t value, int n_bytes) {
    for (int i = 0; i < n_bytes; i++) {
        out[i] = (uint8_t)(value >> (8 * i));
    }
}

static uint64_t get(const uint8_t *in, int n_bytes) {
    uint64_t value = 0;
    for (int i = 0; i < n_bytes; i++) {
        value |= (uint64_t)in[i] << (8 * i);
    }
    return value;
}

static uint32_t checksum(uint32_t seed, const uint8_t *record) {
    uint8_t seed_bytes[4];
    put(seed_bytes, seed, 4);
    return em_crc32(em_crc32(0, seed_bytes, 4), record, OFFSET_CRC);
}

void em_report_pack(const em_report_t *event, uint32_t seed, uint8_t out[EM_REPORT_BYTES]) {
    memset(out, 0, EM_REPORT_BYTES);
    put(out, RECORD_MAGIC, 2);
    out[2] = event->phase;
    out[3] = (uint8_t)((event->critical ? FLAG_CRITICAL : 0) | (event->has_wall ? FLAG_WALL : 0) |
                       (event->sync ? FLAG_SYNC : 0));
    put(out + 4, event->seq, 4);
    put(out + 8, event->boot, 8);
    put(out + 16, event->boot_n, 4);
    put(out + 20, event->episode, 4);
    put(out + 24, event->up_ms, 8);
    put(out + 32, (uint64_t)event->unix_ms, 8);
    put(out + 40, (uint32_t)event->dur_ms, 4);
    put(out + 44, event->conf_milli, 2);
    put(out + 46, event->thr_milli, 2);
    memcpy(out + OFFSET_LABEL, event->label, EM_LABEL_CHARS);
    memcpy(out + OFFSET_MODEL, event->model, EM_MODEL_CHARS);
    put(out + OFFSET_CRC, checksum(seed, out), 4);
}

em_status_t em_report_unpack(em_report_t *event, uint32_t seed, const uint8_t in[EM_REPORT_BYTES]) {
    if (get(in, 2) != RECORD_MAGIC || in[2] < EM_REPORT_START || in[2] > EM_REPORT_ONCE ||
        get(in + OFFSET_CRC, 4) != checksum(seed, in)) {
        return EM_ERR_FORMAT;
    }
    *event = (em_report_t){
        .phase = in[2],
        .critical = (in[3] & FLAG_CRITICAL) != 0,
        .has_wall = (in[3] & FLAG_WALL) != 0,
        .sync = (in[3] & FLAG_SYNC) != 0,
        .seq = (uint32_t)get(in + 4, 4),
        .boot = get(in + 8, 8),
        .boot_n = (uint32_t)get(in + 16, 4),
        .episode = (uint32_t)get(in + 20, 4),
        .up_ms = get(in + 24, 8),
        .unix_ms = (int64_t)get(in + 32, 8),
        .dur_ms = (int32_t)get(in + 40, 4),
        .conf_milli = (uint16_t)get(in + 44, 2),
        .thr_milli = (uint16_t)get(in + 46, 2),
    };
    memcpy(event->label, in + OFFSET_LABEL, EM_LABEL_CHARS);
    memcpy(event->model, in + OFFSET_MODEL, EM_MODEL_CHARS);
    return EM_OK;
}
