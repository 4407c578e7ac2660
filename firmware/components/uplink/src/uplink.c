#include "earmark/uplink.h"

#include <stdio.h>
#include <string.h>

enum {
    STATUS_PERIOD_MS = 45000, /* the gateway calls a device offline after two missed ones */
    HEALTH_PERIOD_MS = 60000,
    HEALTH_JITTER_MS = 8000, /* a fleet after a power cut must not report in step */
    FIRST_HEALTH_MS = 5000,
    LATE_AFTER_MS = 60000,
    SILENT_AFTER_MS = 120000,
    SYNC_VALID_MS = 24 * 3600 * 1000
};

static uint64_t now_ms(const em_uplink_t *uplink) {
    return uplink->config.clock->up_ms(uplink->config.clock->context);
}

void em_uplink_init(em_uplink_t *uplink, const em_uplink_config_t *config) {
    memset(uplink, 0, sizeof *uplink);
    uplink->config = *config;
    em_token_bucket_init(&uplink->bucket, now_ms(uplink));
    uplink->next_health_up_ms = now_ms(uplink) + FIRST_HEALTH_MS;
}

em_message_t em_uplink_will(em_uplink_t *uplink) {
    static const char OFFLINE[] = "offline";
    em_wire_topic(uplink->topic, uplink->config.device_id, "status");
    return (em_message_t){.topic = uplink->topic,
                          .payload = OFFLINE,
                          .payload_bytes = sizeof OFFLINE - 1,
                          .qos = 1,
                          .retain = true};
}

/* EM_ERR_FULL: the budget does not allow it yet. */
static em_status_t send(em_uplink_t *uplink, const char *suffix, const char *payload, uint8_t qos,
                        bool retain, bool critical) {
    em_status_t status = em_wire_topic(uplink->topic, uplink->config.device_id, suffix);
    if (status != EM_OK) {
        return status;
    }
    const em_message_t message = {
        .topic = uplink->topic,
        .payload = payload,
        .payload_bytes = strlen(payload),
        .qos = qos,
        .retain = retain,
    };
    const size_t cost = strlen(message.topic) + message.payload_bytes + EM_EGRESS_OVERHEAD_BYTES;
    if (!em_token_bucket_take(&uplink->bucket, now_ms(uplink), cost,
                              critical ? 0 : EM_EGRESS_RESERVE_BYTES)) {
        return EM_ERR_FULL;
    }
    return uplink->config.network->publish(uplink->config.network->context, &message);
}

void em_uplink_set_connected(em_uplink_t *uplink, bool connected) {
    if (connected && !uplink->connected) {
        uplink->info_due = uplink->status_due = true;
        uplink->waiting = false;
        em_outbox_resend_all(uplink->config.outbox);
    }
    uplink->connected = connected;
}

void em_uplink_info_changed(em_uplink_t *uplink) {
    uplink->info_due = true;
}

static bool send_presence(em_uplink_t *uplink) {
    const uint64_t now = now_ms(uplink);
    if (uplink->info_due) {
        /* A catalog too long for one message is not worth the events behind it. */
        if (em_wire_info(uplink->payload, uplink->config.catalog, uplink->config.firmware) ==
                EM_OK &&
            send(uplink, "info", uplink->payload, 1, true, false) != EM_OK) {
            return false;
        }
        uplink->info_due = false;
    }
    if (uplink->status_due || now >= uplink->next_status_up_ms) {
        if (send(uplink, "status", "online", 1, true, false) != EM_OK) {
            return false;
        }
        uplink->status_due = false;
        uplink->next_status_up_ms = now + STATUS_PERIOD_MS;
    }
    return true;
}

static void send_responses(em_uplink_t *uplink) {
    while (uplink->n_responses > 0) {
        char suffix[32];
        snprintf(suffix, sizeof suffix, "rsp/%s", em_wire_command_name(uplink->responses[0].name));
        if (em_wire_response(uplink->payload, uplink->responses[0].id,
                             uplink->responses[0].error) != EM_OK ||
            send(uplink, suffix, uplink->payload, 1, false, false) != EM_OK) {
            return;
        }
        uplink->n_responses--;
        memmove(&uplink->responses[0], &uplink->responses[1],
                uplink->n_responses * sizeof uplink->responses[0]);
    }
}

/* An event from before the first clock synchronisation of this boot gets its time afterwards. */
static void complete_time(const em_uplink_t *uplink, em_report_t *report) {
    int64_t unix_ms;
    uint64_t set_age_ms;
    const em_clock_t *clock = uplink->config.clock;
    if (!report->has_wall && report->boot == uplink->config.outbox->boot &&
        clock->wall_ms(clock->context, &unix_ms, &set_age_ms)) {
        report->has_wall = true;
        report->sync = set_age_ms < SYNC_VALID_MS;
        report->unix_ms = unix_ms - (int64_t)(now_ms(uplink) - report->up_ms);
    }
}

/* False if an event has to wait for the budget. */
static bool send_events(em_uplink_t *uplink) {
    em_outbox_t *outbox = uplink->config.outbox;
    const uint64_t now = now_ms(uplink);
    em_outbox_entry_t *entry;
    while ((entry = em_outbox_next(outbox, now, EM_UPLINK_MAX_IN_FLIGHT)) != NULL) {
        em_report_t report = entry->event;
        complete_time(uplink, &report);
        const bool late = report.boot != outbox->boot || now - report.up_ms > LATE_AFTER_MS;
        if (em_wire_event(uplink->payload, &report, late) != EM_OK ||
            send(uplink, "event", uplink->payload, 1, false, report.critical) != EM_OK) {
            return false;
        }
        em_outbox_sent(entry, now);
        if (!uplink->waiting) {
            uplink->waiting = true;
            uplink->waiting_since_up_ms = now;
        }
    }
    return true;
}

static void send_health(em_uplink_t *uplink) {
    const uint64_t now = now_ms(uplink);
    if (now < uplink->next_health_up_ms) {
        return;
    }
    em_health_report_t health = {0};
    uplink->config.fill_health(uplink->config.health_context, &health);
    if (em_wire_health(uplink->payload, &health) == EM_OK &&
        send(uplink, "health", uplink->payload, 1, false, false) == EM_OK) {
        uint16_t jitter;
        uplink->config.random->fill(uplink->config.random->context, &jitter, sizeof jitter);
        uplink->next_health_up_ms = now + HEALTH_PERIOD_MS + jitter % HEALTH_JITTER_MS;
    }
}

void em_uplink_tick(em_uplink_t *uplink) {
    if (!uplink->connected || !send_presence(uplink)) {
        return;
    }
    /* They share one budget: somebody who floods commands must not hold up what was heard. */
    if (send_events(uplink)) {
        send_responses(uplink);
    }
    send_health(uplink);
}

static void receive_ack(em_uplink_t *uplink, const char *payload, size_t payload_bytes) {
    em_outbox_t *outbox = uplink->config.outbox;
    em_ack_t ack;
    if (em_wire_parse_ack(&ack, payload, payload_bytes) != EM_OK) {
        uplink->n_bad_messages++;
        return;
    }
    uint32_t removed = ack.has_upto ? em_outbox_acknowledge_upto(outbox, ack.boot, ack.upto) : 0;
    for (uint32_t i = 0; i < ack.n_seqs; i++) {
        removed += em_outbox_acknowledge_one(outbox, ack.boot, ack.seqs[i]);
    }
    if (removed > 0) {
        uplink->waiting = em_outbox_in_flight(outbox) > 0;
        uplink->waiting_since_up_ms = now_ms(uplink);
    }
}

static void receive_command(em_uplink_t *uplink, const char *suffix, const char *payload,
                            size_t payload_bytes) {
    em_command_t command;
    const em_status_t status = em_wire_parse_command(&command, suffix, payload, payload_bytes);
    if (status != EM_OK) {
        uplink->n_bad_messages++;
    }
    if (status == EM_ERR_ARGUMENT || command.id[0] == '\0' ||
        uplink->n_responses == EM_UPLINK_RESPONSES) {
        return;
    }
    const char *error =
        status != EM_OK ? "bad_request"
                        : em_commands_execute(&uplink->commands, &command, uplink->config.catalog,
                                              uplink->config.clock, &uplink->config.actions);
    const uint32_t at = uplink->n_responses++;
    uplink->responses[at].name = command.name;
    uplink->responses[at].error = error;
    memcpy(uplink->responses[at].id, command.id, sizeof command.id);
}

void em_uplink_receive(em_uplink_t *uplink, const char *topic, const char *payload,
                       size_t payload_bytes) {
    const char *suffix = em_wire_suffix(topic, uplink->config.device_id);
    if (suffix == NULL) {
        uplink->n_bad_messages++;
    } else if (strcmp(suffix, "ack") == 0) {
        receive_ack(uplink, payload, payload_bytes);
    } else {
        receive_command(uplink, suffix, payload, payload_bytes);
    }
}

em_status_t em_uplink_stop(em_uplink_t *uplink) {
    return uplink->connected ? send(uplink, "status", "stopped", 1, true, true) : EM_ERR_STATE;
}

bool em_uplink_gateway_silent(const em_uplink_t *uplink) {
    return uplink->connected && uplink->waiting &&
           now_ms(uplink) - uplink->waiting_since_up_ms > SILENT_AFTER_MS;
}
