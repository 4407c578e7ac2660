/* The device without its audio: takes detections from the handover, keeps them, reports them,
 * obeys commands, and knows in which state it is. Owned by the uplink task. */
#ifndef EARMARK_DEVICE_H
#define EARMARK_DEVICE_H

#include "earmark/handover.h"
#include "earmark/uplink.h"

typedef enum {
    EM_STATE_UNPROVISIONED,
    EM_STATE_CONNECTING,
    EM_STATE_ONLINE,
    EM_STATE_OFFLINE, /* listening all the same: events wait in the outbox */
    EM_STATE_UPDATING,
    EM_STATE_FAULT /* the self-test failed: what it hears cannot be trusted */
} em_device_state_t;

const char *em_device_state_name(em_device_state_t state);

/* Asked by the core, carried out by the platform; each returns NULL or an error word. */
typedef struct {
    void *context;
    const char *(*identify)(void *context);
    const char *(*self_test)(void *context);
    const char *(*reboot)(void *context);
    const char *(*update)(void *context, em_update_kind_t kind, const char *version);
    void (*state_changed)(void *context, em_device_state_t from, em_device_state_t to);
    /* Platform part of health: heap, RSSI, watchdog resets. */
    void (*fill_health)(void *context, em_health_report_t *health);
} em_platform_t;

typedef struct {
    const char *device_id, *firmware;
    const em_catalog_t *catalog; /* as in the bundle */
    em_clock_t clock;
    em_kv_t kv;
    const em_flash_t *event_log; /* NULL: none */
    em_network_t network;
    em_random_t random;
    em_platform_t platform;
    em_handover_t *handover;
    uint64_t audio_start_up_ms; /* when sample 0 was captured */
    bool provisioned;
} em_device_config_t;

typedef struct {
    em_device_config_t config;
    em_catalog_t catalog; /* with the thresholds set in the field */
    em_outbox_t outbox;
    em_uplink_t uplink;
    em_device_state_t state;
    bool updating, self_test_failed, kv_lost, certificate_refused, was_connected;
    uint32_t overruns_seen, unknown_labels;
    uint64_t overrun_up_ms;
} em_device_t;

/* Opens the storage, counts the boot, restores thresholds. Never fails: a device with broken
 * storage still reports what it hears, and says what is broken. */
void em_device_init(em_device_t *device, const em_device_config_t *config);
/* Call at least every 100 ms. */
void em_device_tick(em_device_t *device);

void em_device_set_connected(em_device_t *device, bool connected);
/* The TLS handshake failed over a certificate, ours or the broker's: expired, or not trusted. */
void em_device_certificate_refused(em_device_t *device);
void em_device_set_updating(em_device_t *device, bool updating);
void em_device_set_self_test(em_device_t *device, bool passed);
/* Lasts until unmuted or power is cut. */
void em_device_set_muted(em_device_t *device, bool muted);
void em_device_receive(em_device_t *device, const char *topic, const char *payload,
                       size_t payload_bytes);

/* Erases keys, settings and stored events. The caller reboots. */
em_status_t em_device_factory_reset(em_device_t *device);

#endif
