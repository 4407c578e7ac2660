/* What the device says and hears over MQTT: events until acknowledged, status, info, health,
 * answers to commands; all within the egress budget. Owned by one task, which calls tick(). */
#ifndef EARMARK_UPLINK_H
#define EARMARK_UPLINK_H

#include "earmark/commands.h"
#include "earmark/outbox.h"
#include "earmark/ports.h"
#include "earmark/token_bucket.h"
#include "earmark/wire.h"

enum { EM_UPLINK_RESPONSES = 4, EM_UPLINK_MAX_IN_FLIGHT = 8 };

typedef struct {
    const char *device_id, *firmware;
    const em_clock_t *clock;
    const em_random_t *random;
    const em_network_t *network;
    const em_catalog_t *catalog;
    em_outbox_t *outbox;
    em_actions_t actions;
    void *health_context;
    void (*fill_health)(void *context, em_health_report_t *health);
} em_uplink_config_t;

typedef struct {
    em_uplink_config_t config;
    em_token_bucket_t bucket;
    em_commands_t commands;
    bool connected, info_due, status_due;
    uint64_t next_status_up_ms, next_health_up_ms;
    uint64_t waiting_since_up_ms; /* events are in flight and none was acknowledged since */
    bool waiting;
    struct {
        em_command_name_t name;
        char id[EM_COMMAND_ID_CHARS + 1];
        const char *error;
    } responses[EM_UPLINK_RESPONSES];
    uint32_t n_responses;
    uint32_t n_bad_messages; /* messages to us that did not parse */
    char topic[EM_TOPIC_BYTES];
    char payload[EM_PAYLOAD_BYTES];
} em_uplink_t;

void em_uplink_init(em_uplink_t *uplink, const em_uplink_config_t *config);

/* The will to register with the broker before connecting. Valid until the next call. */
em_message_t em_uplink_will(em_uplink_t *uplink);
void em_uplink_set_connected(em_uplink_t *uplink, bool connected);
void em_uplink_receive(em_uplink_t *uplink, const char *topic, const char *payload,
                       size_t payload_bytes);
/* Sends what is due and affordable. */
void em_uplink_tick(em_uplink_t *uplink);
/* Thresholds or model changed: info goes out again. */
void em_uplink_info_changed(em_uplink_t *uplink);
/* Says "stopped"; call once, before an intended end. */
em_status_t em_uplink_stop(em_uplink_t *uplink);

/* Connected, and the gateway has not acknowledged anything for two minutes though it should. */
bool em_uplink_gateway_silent(const em_uplink_t *uplink);

#endif
