#include "tasks.h"

#include "earmark/app_update.h"
#include "earmark/provisioner.h"
#include "earmark/wall_clock.h"
#include "earmark/wifi.h"
#include "models.h"

#include <esp_app_desc.h>
#include <esp_heap_caps.h>
#include <esp_log.h>
#include <esp_random.h>
#include <esp_system.h>
#include <esp_task_wdt.h>
#include <esp_timer.h>
#include <esp_wifi.h>
#include <freertos/FreeRTOS.h>
#include <freertos/queue.h>
#include <freertos/task.h>
#include <sdkconfig.h>
#include <string.h>

static const char TAG[] = "device";

enum {
    TICK_MS = 100,
    QUEUE_LENGTH = 4,
    REBOOT_AFTER_MS = 2000, /* the answer to the command leaves first */
    SELF_TEST_MS = 3000,
    UPDATE_STACK_BYTES = 8192,
    UPDATE_PRIORITY = 3,
    PROVISION_STACK_BYTES = 6144,
    PROVISION_PRIORITY = 3,
    NETWORK_RETRY_MS = 60000
};

typedef struct {
    em_link_event_t event;
    uint32_t payload_bytes;
    char topic[EM_TOPIC_BYTES];
    char payload[EM_PAYLOAD_BYTES];
} link_message_t;

typedef enum { UPDATE_NONE, UPDATE_RUNNING, UPDATE_DONE, UPDATE_FAILED } update_state_t;

/* Labels only, 36 KiB: it may lie in PSRAM, which audio may not. */
static em_device_t *s_device;
static em_app_t *s_app;
static StaticQueue_t s_queue_memory;
static uint8_t s_queue_storage[QUEUE_LENGTH * sizeof(link_message_t)];
static QueueHandle_t s_queue;
static uint64_t s_reboot_up_ms;
static _Atomic update_state_t s_update;
static em_update_kind_t s_update_kind;
static char s_update_version[EM_VERSION_CHARS + 1];
static _Atomic bool s_provisioned_now;
static em_boot_check_t s_boot_check;

static uint64_t up_ms(void) {
    return (uint64_t)esp_timer_get_time() / 1000u;
}

#if CONFIG_EARMARK_NETWORK_MQTT
/* From the MQTT task. A full queue drops the message: acknowledgements come again. */
static void on_link(em_link_event_t event, const char *topic, const char *payload,
                    size_t payload_bytes) {
    static link_message_t message; /* one caller only: too large for its stack */
    message.event = event;
    message.payload_bytes = (uint32_t)payload_bytes;
    if (event == EM_LINK_MESSAGE) {
        memcpy(message.topic, topic, strlen(topic) + 1);
        memcpy(message.payload, payload, payload_bytes);
    }
    /* A change of state must not get lost; a message may. */
    (void)xQueueSend(s_queue, &message,
                     event == EM_LINK_MESSAGE ? 0 : pdMS_TO_TICKS(2 * SELF_TEST_MS));
}
#endif

static void handle_link(const link_message_t *message) {
    switch (message->event) {
    case EM_LINK_UP:
        em_boot_check_pass(&s_boot_check, EM_CHECK_BROKER);
        em_device_set_connected(s_device, true);
        break;
    case EM_LINK_DOWN:
        em_device_set_connected(s_device, false);
        break;
    case EM_LINK_CERTIFICATE:
        em_device_certificate_refused(s_device);
        break;
    case EM_LINK_MESSAGE:
        em_device_receive(s_device, message->topic, message->payload, message->payload_bytes);
        break;
    }
}

static const char *identify(void *context) {
    (void)context;
    em_panel_identify();
    return NULL;
}

static const char *self_test(void *context) {
    const uint64_t deadline = up_ms() + SELF_TEST_MS;
    bool passed;
    (void)context;
    em_handover_ask_self_test(&s_app->handover);
    while (!em_handover_self_test_done(&s_app->handover, &passed)) {
        if (up_ms() > deadline) {
            return "audio_stopped";
        }
        vTaskDelay(pdMS_TO_TICKS(TICK_MS));
    }
    em_device_set_self_test(s_device, passed);
    return passed ? NULL : "golden_mismatch";
}

static const char *reboot(void *context) {
    (void)context;
    s_reboot_up_ms = up_ms() + REBOOT_AFTER_MS;
    return NULL;
}

static void update_task(void *argument) {
    (void)argument;
    const em_identity_t *identity = &s_app->identity;
    const esp_err_t error =
        s_update_kind == EM_UPDATE_MODEL
            ? em_models_update(s_update_version, identity->ca, identity->ca_bytes)
            : em_app_update(s_update_version, identity->ca, identity->ca_bytes);
    atomic_store(&s_update, error == ESP_OK ? UPDATE_DONE : UPDATE_FAILED);
    vTaskDelete(NULL);
}

static const char *update(void *context, em_update_kind_t kind, const char *version) {
    (void)context;
    if (kind == EM_UPDATE_MODEL && em_models_refusal() != NULL) {
        return em_models_refusal();
    }
    s_update_kind = kind;
    memcpy(s_update_version, version, strlen(version) + 1);
    atomic_store(&s_update, UPDATE_RUNNING);
    if (xTaskCreatePinnedToCore(update_task, "update", UPDATE_STACK_BYTES, NULL, UPDATE_PRIORITY,
                                NULL, 0) != pdPASS) {
        atomic_store(&s_update, UPDATE_NONE);
        return "no_memory";
    }
    em_device_set_updating(s_device, true);
    return NULL;
}

static void poll_update(void) {
    switch (atomic_load(&s_update)) {
    case UPDATE_DONE:
        s_reboot_up_ms = up_ms() + REBOOT_AFTER_MS;
        atomic_store(&s_update, UPDATE_NONE);
        break;
    case UPDATE_FAILED:
        em_device_set_updating(s_device, false);
        atomic_store(&s_update, UPDATE_NONE);
        break;
    case UPDATE_NONE:
    case UPDATE_RUNNING:
        break;
    }
}

static void show_state(void) {
    static const em_led_pattern_t PATTERNS[] = {
        [EM_STATE_UNPROVISIONED] = EM_LED_UNPROVISIONED,
        [EM_STATE_CONNECTING] = EM_LED_CONNECTING,
        [EM_STATE_ONLINE] = EM_LED_ONLINE,
        [EM_STATE_OFFLINE] = EM_LED_OFFLINE,
        [EM_STATE_UPDATING] = EM_LED_UPDATING,
        [EM_STATE_FAULT] = EM_LED_FAULT,
    };
    em_panel_show(em_handover_muted(&s_app->handover) ? EM_LED_MUTED : PATTERNS[s_device->state]);
}

static void state_changed(void *context, em_device_state_t from, em_device_state_t to) {
    (void)context;
    ESP_LOGI(TAG, "%s -> %s", em_device_state_name(from), em_device_state_name(to));
}

static uint32_t count_watchdog_resets(void) {
    static const char KEY[] = "wdt_resets";
    const em_kv_t *kv = &s_app->settings;
    const esp_reset_reason_t reason = esp_reset_reason();
    uint32_t n = 0;
    size_t bytes = sizeof n;
    if (kv->get(kv->context, KEY, &n, &bytes) != EM_OK) {
        n = 0;
    }
    if (reason == ESP_RST_TASK_WDT || reason == ESP_RST_INT_WDT || reason == ESP_RST_WDT) {
        n++;
        (void)kv->set(kv->context, KEY, &n, sizeof n);
    }
    return n;
}

static void fill_health(void *context, em_health_report_t *health) {
    static uint32_t watchdog_resets = UINT32_MAX;
    const uint32_t own_stack = (uint32_t)uxTaskGetStackHighWaterMark(NULL);
    (void)context;
    if (watchdog_resets == UINT32_MAX) {
        watchdog_resets = count_watchdog_resets();
    }
    health->heap_min_bytes = (uint32_t)heap_caps_get_minimum_free_size(MALLOC_CAP_INTERNAL);
    if (own_stack < health->stack_min_bytes || health->stack_min_bytes == 0) {
        health->stack_min_bytes = own_stack;
    }
    health->watchdog_resets = watchdog_resets;
#if CONFIG_EARMARK_NETWORK_MQTT
    health->has_rssi = em_wifi_rssi_dbm(&health->rssi_dbm);
#endif
}

static void fill_random(void *context, void *bytes, size_t n_bytes) {
    (void)context;
    esp_fill_random(bytes, n_bytes);
}

static void init_device(void) {
    const em_device_config_t config = {
        .device_id = s_app->identity.device_id,
        .firmware = esp_app_get_description()->version,
        .catalog = &s_app->catalog,
        .clock = em_wall_clock_port(),
        .kv = s_app->settings,
        .event_log = s_app->has_event_log ? &s_app->event_log : NULL,
#if CONFIG_EARMARK_NETWORK_MQTT
        .network = em_mqtt_port(),
#else
        .network = em_console_network_port(),
#endif
        .random = {.fill = fill_random},
        .platform = {.identify = identify,
                     .self_test = self_test,
                     .reboot = reboot,
                     .update = update,
                     .state_changed = state_changed,
                     .fill_health = fill_health},
        .handover = &s_app->handover,
        .audio_start_up_ms = s_app->audio_start_up_ms,
        .provisioned = s_app->provisioned,
    };
    em_device_init(s_device, &config);
    s_device->kv_lost |= s_app->settings_lost;
    em_device_set_self_test(s_device, s_app->audio_ok);
}

#if CONFIG_EARMARK_NETWORK_MQTT
/* Waits for an installer, beside everything else: the button mutes before there is a network. The
 * device starts anew with its identity. */
static void provision_task(void *argument) {
    em_identity_t *identity = heap_caps_calloc(1, sizeof *identity, MALLOC_CAP_INTERNAL);
    (void)argument;
    const esp_err_t error = identity == NULL
                                ? ESP_ERR_NO_MEM
                                : em_provisioner_run(&s_app->settings, &s_app->factory, identity);
    if (error != ESP_OK) {
        ESP_LOGE(TAG, "not provisioned: %s", esp_err_to_name(error));
    }
    if (identity != NULL) {
        memset(identity, 0, sizeof *identity); /* it holds the device's private key */
        heap_caps_free(identity);
    }
    atomic_store(&s_provisioned_now, error == ESP_OK);
    vTaskDelete(NULL);
}
#endif

#if CONFIG_EARMARK_NETWORK_MQTT
static esp_err_t start_clock(void) {
    return em_wall_clock_start(CONFIG_EARMARK_NTP_SERVER);
}

static esp_err_t start_mqtt(void) {
    const em_message_t will = em_uplink_will(&s_device->uplink);
    return em_mqtt_start(&s_app->identity, &will, on_link);
}

/* What fails is tried again; meanwhile it listens, and a trial ends for want of a broker. */
static void poll_network(void) {
    static esp_err_t (*const STEPS[])(void) = {em_wifi_start, start_clock, start_mqtt};
    static size_t n_done;
    static uint64_t next_up_ms;
    while (s_app->has_network && s_app->provisioned && up_ms() >= next_up_ms &&
           n_done < sizeof STEPS / sizeof STEPS[0]) {
        const esp_err_t error = STEPS[n_done]();
        if (error != ESP_OK) {
            ESP_LOGE(TAG, "network, step %u: %s", (unsigned)n_done, esp_err_to_name(error));
            next_up_ms = up_ms() + NETWORK_RETRY_MS;
            return;
        }
        n_done++;
    }
}

static void start_network(void) {
    if (s_app->has_network && !s_app->provisioned &&
        xTaskCreatePinnedToCore(provision_task, "provision", PROVISION_STACK_BYTES, NULL,
                                PROVISION_PRIORITY, NULL, 0) != pdPASS) {
        ESP_LOGE(TAG, "no memory for provisioning");
    }
}
#else
static void poll_network(void) {
    em_console_acknowledge(s_device);
}

static void start_network(void) {
    em_boot_check_pass(&s_boot_check, EM_CHECK_BROKER); /* there is none to reach */
    em_device_set_connected(s_device, true);
}
#endif

static void poll_boot_check(void) {
    const em_audio_status_t audio = em_handover_status(&s_app->handover);
    if (s_app->audio_ok) {
        em_boot_check_pass(&s_boot_check, EM_CHECK_GOLDEN);
    }
    if (audio.heard && audio.mic_flags == 0) {
        em_boot_check_pass(&s_boot_check, EM_CHECK_MICROPHONE);
    }
    if (!s_app->settings_lost && s_device->outbox.log_errors == 0) {
        em_boot_check_pass(&s_boot_check, EM_CHECK_STORAGE);
    }
    const em_boot_t decision = s_app->audio_ok ? em_boot_check_poll(&s_boot_check, up_ms())
                                               : em_boot_check_fail(&s_boot_check);
    if (em_app_apply(decision) != ESP_OK) {
        ESP_LOGE(TAG, "boot decision %d failed", decision);
    }
}

static void factory_reset(void) {
    ESP_LOGW(TAG, "factory reset");
    (void)em_device_factory_reset(s_device);
#if CONFIG_EARMARK_NETWORK_MQTT
    (void)esp_wifi_restore();
#endif
    esp_restart();
}

void em_device_task_run(em_app_t *app) {
    static link_message_t message;
    s_app = app;
    s_queue =
        xQueueCreateStatic(QUEUE_LENGTH, sizeof(link_message_t), s_queue_storage, &s_queue_memory);
    s_device =
        heap_caps_calloc_prefer(1, sizeof *s_device, 2, MALLOC_CAP_SPIRAM, MALLOC_CAP_INTERNAL);
    em_boot_check_init(&s_boot_check, app->on_trial);
    if (s_device == NULL) {
        ESP_LOGE(TAG, "no memory for the device core");
        (void)em_app_apply(em_boot_check_fail(&s_boot_check));
        return;
    }
    init_device();
    start_network();
    (void)esp_task_wdt_add(NULL);
    for (;;) {
        if (xQueueReceive(s_queue, &message, pdMS_TO_TICKS(TICK_MS)) == pdTRUE) {
            handle_link(&message);
        }
        em_device_tick(s_device);
        poll_network();
        poll_update();
        poll_boot_check();
        if (atomic_exchange(&s_provisioned_now, false)) {
            s_reboot_up_ms = up_ms() + REBOOT_AFTER_MS;
        }
        if (em_panel_mute_pressed()) {
            em_device_set_muted(s_device, !em_handover_muted(&s_app->handover));
        }
        show_state();
        if (em_panel_factory_reset_wanted()) {
            factory_reset();
        }
        if (s_reboot_up_ms != 0 && up_ms() >= s_reboot_up_ms) {
            (void)em_uplink_stop(&s_device->uplink);
            vTaskDelay(pdMS_TO_TICKS(TICK_MS));
            esp_restart();
        }
        (void)esp_task_wdt_reset();
    }
}
