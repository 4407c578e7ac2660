#include "earmark/device.h"

#include <string.h>

static const char KEY_BOOT_N[] = "boot_n";
static const char KEY_THRESHOLDS[] = "thresholds";
enum { SYNC_VALID_MS = 24 * 3600 * 1000, OVERRUN_SHOWN_MS = 60000 };

/* Thresholds are calibrated for one model and forgotten with it. */
typedef struct {
    char model[EM_MODEL_CHARS + 1];
    uint16_t milli[EM_CATALOG_MAX_LABELS]; /* 0: as in the bundle */
} stored_thresholds_t;

const char *em_device_state_name(em_device_state_t state) {
    static const char *const NAMES[] = {
        [EM_STATE_UNPROVISIONED] = "unprovisioned",
        [EM_STATE_CONNECTING] = "connecting",
        [EM_STATE_ONLINE] = "online",
        [EM_STATE_OFFLINE] = "offline",
        [EM_STATE_UPDATING] = "updating",
        [EM_STATE_FAULT] = "fault",
    };
    return NAMES[state];
}

static void copy_text(char *out, const char *text, size_t capacity) {
    size_t i = 0;
    for (; i + 1 < capacity && text[i] != '\0'; i++) {
        out[i] = text[i];
    }
    memset(out + i, 0, capacity - i);
}

static uint64_t up_ms(const em_device_t *d) {
    return d->config.clock.up_ms(d->config.clock.context);
}

static bool wall(const em_device_t *d, int64_t *unix_ms, bool *sync) {
    uint64_t set_age_ms = 0;
    const bool known = d->config.clock.wall_ms(d->config.clock.context, unix_ms, &set_age_ms);
    *sync = known && set_age_ms < SYNC_VALID_MS;
    return known;
}

/* A broken store is erased once and started afresh; the loss is reported until the next boot. */
static em_status_t get_value(em_device_t *d, const char *key, void *value, size_t bytes) {
    const em_kv_t *kv = &d->config.kv;
    size_t size = bytes;
    em_status_t status = kv->get(kv->context, key, value, &size);
    if (status == EM_ERR_IO && !d->kv_lost) {
        d->kv_lost = true;
        (void)kv->erase_all(kv->context);
    }
    return status == EM_OK && size != bytes ? EM_ERR_FORMAT : status;
}

static void set_value(em_device_t *d, const char *key, const void *value, size_t bytes) {
    if (d->config.kv.set(d->config.kv.context, key, value, bytes) != EM_OK) {
        d->kv_lost = true;
    }
}

static void count_boot(em_device_t *d) {
    uint32_t boot_n = 0;
    uint64_t boot = 0;
    if (get_value(d, KEY_BOOT_N, &boot_n, sizeof boot_n) != EM_OK) {
        boot_n = 0;
    }
    const uint32_t in_log = em_outbox_last_boot_n(&d->outbox);
    boot_n = (boot_n > in_log ? boot_n : in_log) + 1;
    set_value(d, KEY_BOOT_N, &boot_n, sizeof boot_n);
    d->config.random.fill(d->config.random.context, &boot, sizeof boot);
    em_outbox_begin_boot(&d->outbox, boot, boot_n);
}

static void restore_thresholds(em_device_t *d) {
    stored_thresholds_t stored;
    char model[EM_MODEL_CHARS + 1];
    copy_text(model, d->catalog.model, sizeof model);
    if (get_value(d, KEY_THRESHOLDS, &stored, sizeof stored) != EM_OK ||
        memcmp(stored.model, model, sizeof model) != 0) {
        return;
    }
    for (uint8_t i = 0; i < d->catalog.n_labels; i++) {
        if (stored.milli[i] >= d->catalog.labels[i].min_milli &&
            stored.milli[i] <= d->catalog.labels[i].max_milli) {
            d->catalog.labels[i].threshold_milli = stored.milli[i];
            em_handover_set_threshold(d->config.handover, i, stored.milli[i]);
        }
    }
}

static const char *set_threshold(void *context, uint8_t label, uint16_t milli) {
    em_device_t *d = context;
    stored_thresholds_t stored;
    memset(&stored, 0, sizeof stored);
    d->catalog.labels[label].threshold_milli = milli;
    em_handover_set_threshold(d->config.handover, label, milli);
    copy_text(stored.model, d->catalog.model, sizeof stored.model);
    for (uint8_t i = 0; i < d->catalog.n_labels; i++) {
        stored.milli[i] = d->catalog.labels[i].threshold_milli;
    }
    set_value(d, KEY_THRESHOLDS, &stored, sizeof stored);
    em_uplink_info_changed(&d->uplink);
    return NULL;
}

static const char *identify(void *context) {
    em_device_t *d = context;
    return d->config.platform.identify(d->config.platform.context);
}

static const char *self_test(void *context) {
    em_device_t *d = context;
    return d->config.platform.self_test(d->config.platform.context);
}

static const char *reboot(void *context) {
    em_device_t *d = context;
    return d->config.platform.reboot(d->config.platform.context);
}

static const char *update(void *context, em_update_kind_t kind, const char *version) {
    em_device_t *d = context;
    return d->updating ? "busy"
                       : d->config.platform.update(d->config.platform.context, kind, version);
}

static uint32_t count_critical(const em_outbox_t *outbox) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < outbox->length; i++) {
        n += outbox->entries[i].event.critical;
    }
    return n;
}

_Static_assert((int)EM_MIC_SILENT == EM_HEALTH_MIC_SILENT && (int)EM_MIC_DC == EM_HEALTH_MIC_DC &&
                   (int)EM_MIC_NO_FLOOR == EM_HEALTH_MIC_NO_FLOOR &&
                   (int)EM_MIC_CLIPPING == EM_HEALTH_MIC_CLIPPING,
               "microphone flags are the low health flags");

static uint32_t health_flags(em_device_t *d, const em_audio_status_t *audio, bool has_wall) {
    uint32_t flags = audio->mic_flags;
    if (audio->overruns != d->overruns_seen) {
        d->overruns_seen = audio->overruns;
        d->overrun_up_ms = up_ms(d);
    }
    flags |= has_wall ? 0 : EM_HEALTH_CLOCK_UNSET;
    flags |= d->outbox.log_full ? EM_HEALTH_LOG_FULL : 0;
    flags |= d->outbox.log_errors ? EM_HEALTH_LOG_FAILED : 0;
    flags |= d->kv_lost ? EM_HEALTH_KV_LOST : 0;
    flags |= d->certificate_refused ? EM_HEALTH_CERTIFICATE : 0;
    flags |= em_uplink_gateway_silent(&d->uplink) ? EM_HEALTH_GATEWAY_SILENT : 0;
    flags |=
        d->overruns_seen && up_ms(d) - d->overrun_up_ms < OVERRUN_SHOWN_MS ? EM_HEALTH_OVERRUN : 0;
    flags |= d->self_test_failed ? EM_HEALTH_SELF_TEST : 0;
    flags |= em_handover_muted(d->config.handover) ? EM_HEALTH_MUTED : 0;
    return flags;
}

static void fill_health(void *context, em_health_report_t *health) {
    em_device_t *d = context;
    const em_audio_status_t audio = em_handover_status(d->config.handover);
    health->boot = d->outbox.boot;
    health->boot_n = d->outbox.boot_n;
    health->seq_next = d->outbox.next_seq;
    health->up_ms = up_ms(d);
    health->has_wall = wall(d, &health->unix_ms, &health->sync);
    health->queue = d->outbox.length;
    health->queue_critical = count_critical(&d->outbox);
    health->drops = d->outbox.dropped + em_handover_lost(d->config.handover);
    health->drops_critical = d->outbox.dropped_critical;
    health->has_noise = audio.heard;
    health->noise_dbfs = audio.noise_dbfs;
    health->mic_ok = audio.heard && audio.mic_flags == 0;
    health->overruns = audio.overruns;
    health->inference_p99_ms = audio.inference_p99_ms;
    health->stack_min_bytes = audio.stack_min_bytes;
    health->flags = health_flags(d, &audio, health->has_wall);
    d->certificate_refused = false; /* told once the broker can be reached again */
    health->state = em_device_state_name(d->state);
    health->firmware = d->config.firmware;
    health->model = d->catalog.model;
    d->config.platform.fill_health(d->config.platform.context, health);
}

void em_device_init(em_device_t *d, const em_device_config_t *config) {
    memset(d, 0, sizeof *d);
    d->config = *config;
    d->catalog = *config->catalog;
    em_outbox_open(&d->outbox, config->event_log);
    count_boot(d);
    restore_thresholds(d);
    const em_uplink_config_t uplink = {
        .device_id = config->device_id,
        .firmware = config->firmware,
        .clock = &d->config.clock,
        .random = &d->config.random,
        .network = &d->config.network,
        .catalog = &d->catalog,
        .outbox = &d->outbox,
        .actions = {.context = d,
                    .identify = identify,
                    .self_test = self_test,
                    .set_threshold = set_threshold,
                    .reboot = reboot,
                    .update = update},
        .health_context = d,
        .fill_health = fill_health,
    };
    em_uplink_init(&d->uplink, &uplink);
    d->state = config->provisioned ? EM_STATE_CONNECTING : EM_STATE_UNPROVISIONED;
}

static void accept(em_device_t *d, const em_detection_t *detection) {
    if (detection->label >= d->catalog.n_labels) {
        d->unknown_labels++;
        return;
    }
    /* A start is dated when the sound began, an end when it was over. */
    const bool begins = detection->phase == EM_REPORT_START || detection->phase == EM_REPORT_ONCE;
    em_report_t report = {
        .phase = detection->phase,
        .episode = detection->episode,
        .up_ms = d->config.audio_start_up_ms + (begins ? detection->onset_ms : detection->at_ms),
        .conf_milli = detection->conf_milli,
        .thr_milli = detection->thr_milli,
        .critical = d->catalog.labels[detection->label].critical,
        .dur_ms = EM_DURATION_NONE,
    };
    if (detection->phase != EM_REPORT_START) {
        report.dur_ms = detection->dur_ms < EM_DURATION_MAX_MS ? (int32_t)detection->dur_ms
                                                               : EM_DURATION_MAX_MS;
    }
    copy_text(report.label, d->catalog.labels[detection->label].name, sizeof report.label);
    copy_text(report.model, d->catalog.model, sizeof report.model);
    int64_t now_unix_ms;
    report.has_wall = wall(d, &now_unix_ms, &report.sync);
    if (report.has_wall) {
        report.unix_ms = now_unix_ms - (int64_t)(up_ms(d) - report.up_ms);
    }
    (void)em_outbox_push(&d->outbox, &report); /* a refusal is counted there */
}

static void update_state(em_device_t *d) {
    const em_device_state_t from = d->state;
    em_device_state_t to;
    if (d->self_test_failed) {
        to = EM_STATE_FAULT;
    } else if (d->updating) {
        to = EM_STATE_UPDATING;
    } else if (!d->config.provisioned) {
        to = EM_STATE_UNPROVISIONED;
    } else if (d->uplink.connected) {
        to = EM_STATE_ONLINE;
    } else {
        to = d->was_connected ? EM_STATE_OFFLINE : EM_STATE_CONNECTING;
    }
    d->state = to;
    if (to != from) {
        d->config.platform.state_changed(d->config.platform.context, from, to);
    }
}

void em_device_tick(em_device_t *d) {
    em_detection_t detection;
    while (em_handover_take(d->config.handover, &detection)) {
        accept(d, &detection);
    }
    update_state(d);
    em_uplink_tick(&d->uplink);
}

void em_device_set_connected(em_device_t *d, bool connected) {
    d->was_connected |= connected;
    em_uplink_set_connected(&d->uplink, connected);
}

void em_device_certificate_refused(em_device_t *d) {
    d->certificate_refused = true;
}

void em_device_set_updating(em_device_t *d, bool updating) {
    d->updating = updating;
}

void em_device_set_self_test(em_device_t *d, bool passed) {
    d->self_test_failed = !passed;
}

void em_device_set_muted(em_device_t *d, bool muted) {
    em_handover_set_muted(d->config.handover, muted);
}

void em_device_receive(em_device_t *d, const char *topic, const char *payload,
                       size_t payload_bytes) {
    em_uplink_receive(&d->uplink, topic, payload, payload_bytes);
}

em_status_t em_device_factory_reset(em_device_t *d) {
    const em_status_t events = em_outbox_erase(&d->outbox);
    const em_status_t values = d->config.kv.erase_all(d->config.kv.context);
    return events != EM_OK ? events : values;
}
