/* Boot: storage, model, audio first (it listens before it can talk), then identity and network. */
#include "earmark/app_update.h"
#include "earmark/audio_task.h"
#include "earmark/catalog.h"
#include "earmark/microphone.h"
#include "earmark/pcm_partition.h"
#include "earmark/provisioner.h"
#include "earmark/storage.h"
#include "earmark/wifi.h"
#include "models.h"
#include "tasks.h"

#include <esp_chip_info.h>
#include <esp_log.h>
#include <esp_system.h>
#include <esp_timer.h>
#include <freertos/FreeRTOS.h>
#include <freertos/task.h>
#include <sdkconfig.h>
#include <stdio.h>

static const char TAG[] = "main";

extern const em_bundle_t em_bundle;
extern const em_frontend_tables_t em_frontend_tables;
extern const em_golden_features_t em_golden_features;
extern const em_model_t em_model;

enum { RESTART_AFTER_MS = 60000 };
enum { SECURE_REVISION = 300 }; /* 3.0: first with secure boot v2 on the classic ESP32 */

/* The ring is static and therefore in internal SRAM; em_audio_start checks it. */
static em_pcm_ring_t s_ring;
static em_app_t s_app;

static bool is_chip_allowed(void) {
    esp_chip_info_t chip;
    esp_chip_info(&chip);
    ESP_LOGI(TAG, "chip revision %d.%d, %d cores", chip.revision / 100, chip.revision % 100,
             chip.cores);
#if CONFIG_EARMARK_RELEASE
    if (chip.revision < SECURE_REVISION) {
        ESP_LOGE(TAG, "this chip has no secure boot v2: not for release");
        return false;
    }
#endif
    return true;
}

static void open_storage(void) {
    const esp_err_t settings =
        em_storage_open(&s_app.settings, &s_app.factory, &s_app.settings_lost);
    if (settings != ESP_OK || s_app.settings_lost) {
        ESP_LOGE(TAG, "settings were lost: %s", esp_err_to_name(settings));
    }
    const esp_err_t log = em_storage_partition("events", &s_app.event_log);
    s_app.has_event_log = log == ESP_OK;
    if (log != ESP_OK) {
        ESP_LOGE(TAG, "event log: %s; events live in RAM only", esp_err_to_name(log));
    }
}

static esp_err_t start_audio(void) {
    em_handover_init(&s_app.handover);
    em_pcm_ring_init(&s_ring);
    const em_audio_config_t config = {
        .bundle = &em_bundle,
        .tables = &em_frontend_tables,
        .golden_features = &em_golden_features,
        .model = &em_model,
        .handover = &s_app.handover,
        .ring = &s_ring,
        .capture_stack_free_bytes = em_microphone_stack_free_bytes,
    };
    const em_bundle_t *used = &em_bundle;
    const esp_err_t error = em_models_start(&config, &s_app.settings, &used);
    ESP_LOGI(TAG, "model %s, front end %s", used->model_version, used->frontend_hash);
    if (em_catalog_from_bundle(&s_app.catalog, used) != EM_OK) {
        return ESP_ERR_INVALID_SIZE;
    }
    if (error != ESP_OK) {
        return error;
    }
    s_app.audio_start_up_ms = (uint64_t)esp_timer_get_time() / 1000u;
#if CONFIG_EARMARK_MIC_PARTITION
    return em_pcm_partition_start(&s_ring);
#else
    return em_microphone_start(&s_ring);
#endif
}

/* Whatever is missing, the device listens; what it hears waits in its outbox. */
static void load_identity(void) {
#if CONFIG_EARMARK_NETWORK_MQTT
    const esp_err_t wifi = em_wifi_init();
    s_app.has_network = wifi == ESP_OK;
    if (wifi != ESP_OK) {
        ESP_LOGE(TAG, "no Wi-Fi: %s", esp_err_to_name(wifi));
    }
    const bool known = em_provisioning_load(&s_app.settings, &s_app.identity) == EM_OK;
    s_app.provisioned = known && (!s_app.has_network || em_provisioner_has_wifi());
#else
    snprintf(s_app.identity.device_id, sizeof s_app.identity.device_id, "emulated");
    s_app.has_network = s_app.provisioned = true;
#endif
}

void app_main(void) {
    if (em_panel_start() != ESP_OK) {
        ESP_LOGE(TAG, "no LED and button on these pins");
    }
    if (!is_chip_allowed()) {
        em_panel_show(EM_LED_FAULT);
        return; /* it neither listens nor talks */
    }
    open_storage();
    s_app.on_trial = em_app_is_on_trial();
    const esp_err_t audio = start_audio();
    s_app.audio_ok = audio == ESP_OK;
    if (audio != ESP_OK) {
        ESP_LOGE(TAG, "audio: %s", esp_err_to_name(audio));
    }
    load_identity();
    em_device_task_run(&s_app);
    /* No memory for the device core: an image on trial has gone back already. */
    em_panel_show(EM_LED_FAULT);
    vTaskDelay(pdMS_TO_TICKS(RESTART_AFTER_MS));
    esp_restart();
}
