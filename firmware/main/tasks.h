/* The tasks on core 0 and what they share. */
#ifndef EARMARK_TASKS_H
#define EARMARK_TASKS_H

#include "earmark/device.h"
#include "earmark/indicator.h"
#include "earmark/mqtt_network.h"
#include "earmark/provisioning.h"

#include <esp_err.h>

typedef struct {
    em_kv_t settings, factory;
    em_flash_t event_log;
    bool has_event_log, has_network, settings_lost, provisioned;
    bool audio_ok, on_trial;
    em_identity_t identity;
    em_catalog_t catalog;
    em_handover_t handover;
    uint64_t audio_start_up_ms;
} em_app_t;

/* Owns the device core: messages, events, commands, state, boot check. Returns only when there is
 * no memory for it. */
void em_device_task_run(em_app_t *app);

/* LED and button, in a task of their own so that they live through a slow network. */
esp_err_t em_panel_start(void);
void em_panel_show(em_led_pattern_t pattern);
void em_panel_identify(void);
/* True once after ten seconds of holding the button. */
bool em_panel_factory_reset_wanted(void);

/* True once after each short press. */
bool em_panel_mute_pressed(void);

/* Emulators: messages as lines of the simulator's protocol on the console. */
em_network_t em_console_network_port(void);
/* What stands on the console counts as stored: acknowledges all that was sent. */
void em_console_acknowledge(em_device_t *device);

#endif
