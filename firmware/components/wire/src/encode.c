#include "earmark/json.h"
#include "earmark/wire.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char TOPIC_ROOT[] = "earmark/v1/";

em_status_t em_wire_topic(char out[EM_TOPIC_BYTES], const char *device_id, const char *suffix) {
    const int n = snprintf(out, EM_TOPIC_BYTES, "%s%s/%s", TOPIC_ROOT, device_id, suffix);
    return n > 0 && n < EM_TOPIC_BYTES ? EM_OK : EM_ERR_SIZE;
}

const char *em_wire_suffix(const char *topic, const char *device_id) {
    const size_t root = sizeof TOPIC_ROOT - 1, id = strlen(device_id);
    if (strncmp(topic, TOPIC_ROOT, root) != 0 || strncmp(topic + root, device_id, id) != 0 ||
        topic[root + id] != '/') {
        return NULL;
    }
    return topic + root + id + 1;
}

static void put_boot(em_json_writer_t *w, uint64_t boot) {
    char hex[17];
    snprintf(hex, sizeof hex, "%016" PRIx64, boot);
    em_json_string(w, "boot", hex);
}

static void put_wall(em_json_writer_t *w, bool has_wall, int64_t unix_ms, bool sync) {
    if (has_wall) {
        em_json_integer(w, "ts", unix_ms);
    } else {
        em_json_null(w, "ts");
    }
    em_json_bool(w, "sync", has_wall && sync);
}

em_status_t em_wire_event(char out[EM_PAYLOAD_BYTES], const em_report_t *report, bool late) {
    static const char *const PHASES[] = {NULL, "start", "update", "end", "once"};
    if (report->phase < EM_REPORT_START || report->phase > EM_REPORT_ONCE) {
        return EM_ERR_ARGUMENT;
    }
    char episode[24];
    /* 16 bits of the boot id keep episodes of different boots apart. */
    snprintf(episode, sizeof episode, "%04" PRIx64 "-%" PRIu32, report->boot >> 48,
             report->episode);
    em_json_writer_t w;
    em_json_begin(&w, out, EM_PAYLOAD_BYTES);
    em_json_open(&w, NULL, '{');
    em_json_integer(&w, "v", 1);
    em_json_string(&w, "event_type", report->label);
    em_json_string(&w, "phase", PHASES[report->phase]);
    em_json_string(&w, "eid", episode);
    put_boot(&w, report->boot);
    em_json_integer(&w, "boot_n", report->boot_n);
    em_json_integer(&w, "seq", report->seq);
    em_json_integer(&w, "up_ms", (int64_t)report->up_ms);
    put_wall(&w, report->has_wall, report->unix_ms, report->sync);
    em_json_milli(&w, "conf", report->conf_milli);
    em_json_milli(&w, "thr", report->thr_milli);
    if (report->dur_ms == EM_DURATION_NONE) {
        em_json_null(&w, "dur_ms");
    } else {
        em_json_integer(&w, "dur_ms", report->dur_ms);
    }
    em_json_string(&w, "model", report->model);
    em_json_bool(&w, "late", late);
    em_json_close(&w, '}');
    return em_json_finish(&w);
}

const char *em_wire_health_flag_name(uint32_t bit) {
    static const char *const NAMES[EM_HEALTH_N_FLAGS] = {
        "mic_silent", "mic_dc",     "mic_no_floor", "mic_clipping", "clock_unset",
        "log_full",   "log_failed", "kv_lost",      "certificate",  "gateway_silent",
        "overrun",    "self_test",  "muted",
    };
    return bit < EM_HEALTH_N_FLAGS ? NAMES[bit] : NULL;
}

static void put_optional(em_json_writer_t *w, const char *key, bool present, int64_t value) {
    if (present) {
        em_json_integer(w, key, value);
    } else {
        em_json_null(w, key);
    }
}

em_status_t em_wire_health(char out[EM_PAYLOAD_BYTES], const em_health_report_t *h) {
    em_json_writer_t w;
    em_json_begin(&w, out, EM_PAYLOAD_BYTES);
    em_json_open(&w, NULL, '{');
    em_json_integer(&w, "v", 1);
    put_boot(&w, h->boot);
    em_json_integer(&w, "boot_n", h->boot_n);
    em_json_integer(&w, "seq_next", h->seq_next);
    em_json_integer(&w, "up_ms", (int64_t)h->up_ms);
    put_wall(&w, h->has_wall, h->unix_ms, h->sync);
    em_json_string(&w, "state", h->state);
    em_json_integer(&w, "queue", h->queue);
    em_json_integer(&w, "queue_critical", h->queue_critical);
    em_json_integer(&w, "drops", h->drops);
    em_json_integer(&w, "drops_critical", h->drops_critical);
    em_json_bool(&w, "mic_ok", h->mic_ok);
    put_optional(&w, "noise_dbfs", h->has_noise, h->noise_dbfs);
    em_json_integer(&w, "overruns", h->overruns);
    em_json_integer(&w, "heap_min", h->heap_min_bytes);
    em_json_integer(&w, "stack_min", h->stack_min_bytes);
    put_optional(&w, "rssi", h->has_rssi, h->rssi_dbm);
    em_json_integer(&w, "inf_p99_ms", h->inference_p99_ms);
    em_json_integer(&w, "wdt_resets", h->watchdog_resets);
    em_json_open(&w, "flags", '[');
    for (uint32_t bit = 0; bit < EM_HEALTH_N_FLAGS; bit++) {
        if (h->flags & (1u << bit)) {
            em_json_string(&w, NULL, em_wire_health_flag_name(bit));
        }
    }
    em_json_close(&w, ']');
    em_json_string(&w, "firmware", h->firmware);
    em_json_string(&w, "model", h->model);
    em_json_close(&w, '}');
    return em_json_finish(&w);
}

em_status_t em_wire_info(char out[EM_PAYLOAD_BYTES], const em_catalog_t *catalog,
                         const char *firmware) {
    em_json_writer_t w;
    em_json_begin(&w, out, EM_PAYLOAD_BYTES);
    em_json_open(&w, NULL, '{');
    em_json_integer(&w, "v", 1);
    em_json_string(&w, "firmware", firmware);
    em_json_string(&w, "model", catalog->model);
    em_json_string(&w, "frontend", catalog->front_end_hash);
    em_json_open(&w, "labels", '[');
    for (uint8_t i = 0; i < catalog->n_labels; i++) {
        if (catalog->labels[i].reported) {
            em_json_string(&w, NULL, catalog->labels[i].name);
        }
    }
    em_json_close(&w, ']');
    em_json_open(&w, "thresholds", '{');
    for (uint8_t i = 0; i < catalog->n_labels; i++) {
        if (catalog->labels[i].reported) {
            em_json_milli(&w, catalog->labels[i].name, catalog->labels[i].threshold_milli);
        }
    }
    em_json_close(&w, '}');
    em_json_close(&w, '}');
    return em_json_finish(&w);
}

em_status_t em_wire_response(char out[EM_PAYLOAD_BYTES], const char *id, const char *error) {
    em_json_writer_t w;
    em_json_begin(&w, out, EM_PAYLOAD_BYTES);
    em_json_open(&w, NULL, '{');
    em_json_integer(&w, "v", 1);
    em_json_string(&w, "id", id);
    em_json_bool(&w, "ok", error == NULL);
    if (error != NULL) {
        em_json_string(&w, "error", error);
    }
    em_json_close(&w, '}');
    return em_json_finish(&w);
}
