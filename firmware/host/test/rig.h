/* A device core with everything around it simulated: clock, flash, settings, network, gateway. */
#ifndef EARMARK_RIG_H
#define EARMARK_RIG_H

#include "earmark/device.h"
#include "host_flash.h"
#include "host_kv.h"

enum { RIG_SECTORS = 16, RIG_LABELS = 3 };
enum { RIG_SMOKE = 0, RIG_KNOCK = 1, RIG_BACKGROUND = 2 }; /* smoke is critical */

typedef struct {
    uint64_t now_up_ms;  /* since this boot */
    uint64_t boot_at_ms; /* simulated world time of this boot */
    bool clock_set;
    uint64_t clock_age_ms;
    uint32_t random;
    host_flash_t flash;
    em_flash_t flash_port;
    host_kv_t kv;
    em_handover_t handover;
    em_catalog_t catalog;
    em_device_t device;
    bool network_full;            /* publish refuses */
    uint64_t n_messages, n_bytes; /* topic and payload, without protocol */
    uint64_t charged_bytes;       /* as the budget counts them */
    char last_topic[EM_TOPIC_BYTES];
    char last_payload[EM_PAYLOAD_BYTES];
    char last_event[EM_PAYLOAD_BYTES];
    void *gateway;
    void (*on_publish)(void *gateway, const em_message_t *message);
    int n_identify, n_self_test, n_reboot, n_update, n_state_changes;
    const char *update_error;
} rig_t;

void rig_open(rig_t *rig);
void rig_close(rig_t *rig);
/* Power comes (back): RAM is new, flash and settings are what they are. */
void rig_boot(rig_t *rig);
void rig_hear(rig_t *rig, uint8_t label, uint8_t phase, uint32_t episode);
/* Advances the clock in steps of 100 ms, ticking. */
void rig_run(rig_t *rig, uint64_t ms);
void rig_command(rig_t *rig, const char *name, const char *payload);
void rig_ack(rig_t *rig, uint64_t boot, uint32_t upto);

#endif
