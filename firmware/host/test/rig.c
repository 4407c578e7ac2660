#include "rig.h"

#include "check.h"

#include <inttypes.h>

enum { WORLD_START_UNIX_S = 1795000000 };

static uint64_t up_ms(void *context) {
    return ((const rig_t *)context)->now_up_ms;
}

static bool wall_ms(void *context, int64_t *unix_ms, uint64_t *set_age_ms) {
    const rig_t *rig = context;
    *unix_ms = WORLD_START_UNIX_S * 1000ll + (int64_t)(rig->boot_at_ms + rig->now_up_ms);
    *set_age_ms = rig->clock_age_ms;
    return rig->clock_set;
}

static void fill_random(void *context, void *bytes, size_t n_bytes) {
    rig_t *rig = context;
    for (size_t i = 0; i < n_bytes; i++) {
        rig->random = rig->random * 1664525u + 1013904223u;
        ((uint8_t *)bytes)[i] = (uint8_t)(rig->random >> 24);
    }
}

static em_status_t publish(void *context, const em_message_t *message) {
    rig_t *rig = context;
    if (rig->network_full) {
        return EM_ERR_IO;
    }
    rig->n_messages++;
    rig->n_bytes += strlen(message->topic) + message->payload_bytes;
    rig->charged_bytes +=
        strlen(message->topic) + message->payload_bytes + EM_EGRESS_OVERHEAD_BYTES;
    snprintf(rig->last_topic, sizeof rig->last_topic, "%s", message->topic);
    snprintf(rig->last_payload, sizeof rig->last_payload, "%.*s", (int)message->payload_bytes,
             message->payload);
    if (strstr(message->topic, "/event") != NULL) {
        memcpy(rig->last_event, rig->last_payload, sizeof rig->last_event);
    }
    if (rig->on_publish != NULL) {
        rig->on_publish(rig->gateway, message);
    }
    return EM_OK;
}

static const char *identify(void *context) {
    ((rig_t *)context)->n_identify++;
    return NULL;
}

static const char *self_test(void *context) {
    ((rig_t *)context)->n_self_test++;
    return NULL;
}

static const char *reboot(void *context) {
    ((rig_t *)context)->n_reboot++;
    return NULL;
}

static const char *update(void *context, em_update_kind_t kind, const char *version) {
    rig_t *rig = context;
    (void)kind, (void)version;
    rig->n_update++;
    return rig->update_error;
}

static void state_changed(void *context, em_device_state_t from, em_device_state_t to) {
    CHECK(from != to);
    ((rig_t *)context)->n_state_changes++;
}

static void fill_health(void *context, em_health_report_t *health) {
    (void)context;
    health->heap_min_bytes = 54321;
    health->has_rssi = true;
    health->rssi_dbm = -61;
}

void rig_open(rig_t *rig) {
    memset(rig, 0, sizeof *rig);
    rig->clock_set = true;
    rig->random = 1;
    CHECK(host_flash_open(&rig->flash, RIG_SECTORS) == EM_OK);
    host_kv_open(&rig->kv);
    rig->catalog = (em_catalog_t){
        .model = "em-1.4.0+3fa9",
        .front_end_hash = "e3244461846484aa",
        .n_labels = RIG_LABELS,
        .labels = {{"smoke_alarm", 800, 300, 950, true, true},
                   {"knock", 600, 300, 950, false, true},
                   {"background", 1000, 0, 0, false, false}},
    };
    rig_boot(rig);
}

void rig_boot(rig_t *rig) {
    rig->boot_at_ms += rig->now_up_ms;
    rig->now_up_ms = 0;
    rig->flash.power_lost = false;
    rig->flash.cut_after = -1;
    rig->flash_port = host_flash_port(&rig->flash);
    em_handover_init(&rig->handover);
    const em_device_config_t config = {
        .device_id = "4f0c9a1b22d3",
        .firmware = "0.1.0",
        .catalog = &rig->catalog,
        .clock = {.context = rig, .up_ms = up_ms, .wall_ms = wall_ms},
        .kv = host_kv_port(&rig->kv),
        .event_log = &rig->flash_port,
        .network = {.context = rig, .publish = publish},
        .random = {.context = rig, .fill = fill_random},
        .platform = {.context = rig,
                     .identify = identify,
                     .self_test = self_test,
                     .reboot = reboot,
                     .update = update,
                     .state_changed = state_changed,
                     .fill_health = fill_health},
        .handover = &rig->handover,
        .provisioned = true,
    };
    em_device_init(&rig->device, &config);
}

void rig_close(rig_t *rig) {
    host_flash_close(&rig->flash);
}

void rig_hear(rig_t *rig, uint8_t label, uint8_t phase, uint32_t episode) {
    const em_detection_t detection = {
        .at_ms = rig->now_up_ms,
        .onset_ms = rig->now_up_ms,
        .episode = episode,
        .dur_ms = phase == EM_REPORT_START ? 0 : 1200,
        .conf_milli = 930,
        .thr_milli = 800,
        .label = label,
        .phase = phase,
    };
    CHECK(em_handover_put(&rig->handover, &detection));
}

void rig_run(rig_t *rig, uint64_t ms) {
    const uint64_t end = rig->now_up_ms + ms;
    do {
        rig->now_up_ms += end - rig->now_up_ms < 100 ? end - rig->now_up_ms : 100;
        em_device_tick(&rig->device);
    } while (rig->now_up_ms < end);
}

void rig_command(rig_t *rig, const char *name, const char *payload) {
    char topic[EM_TOPIC_BYTES];
    snprintf(topic, sizeof topic, "earmark/v1/4f0c9a1b22d3/cmd/%s", name);
    em_device_receive(&rig->device, topic, payload, strlen(payload));
}

void rig_ack(rig_t *rig, uint64_t boot, uint32_t upto) {
    char payload[96];
    snprintf(payload, sizeof payload, "{\"boot\":\"%016" PRIx64 "\",\"upto\":%" PRIu32 "}", boot,
             upto);
    em_device_receive(&rig->device, "earmark/v1/4f0c9a1b22d3/ack", payload, strlen(payload));
}
