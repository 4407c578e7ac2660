/* Boot: storage, model, audio first (it listens before it can talk), then identity and network. */
#include "earmark/app_update.h"
#include "earmark/audio_task.h"
#include "earmark/catalog.h"
#include "earmark/microphone.h"
#include "earmark/pcm_partition.h"
#include "earmark/provisioner.h"
#include "earmark/storage.h"
#include "earmark/wifi.h"
#include "tasks.h"

#include <esp_chip_info.h>
#include <esp_log.h>
#include <esp_timer.h>
#include <sdkconfig.h>
#include <stdio.h>
#include <stdlib.h>

static const char TAG[] = "main";

extern const em_bundle_t em_bundle;
extern const em_frontend_tables_t em_frontend_tables;
extern const em_model_t em_model;

enum { SECURE_REVISION = 300 }; /* 3.0: first with secure boot v2 on the classic ESP32 */

/* The ring is static and therefore in internal SRAM; em_audio_start checks it. */
static em_pcm_ring_t s_ring;
static em_app_t s_app;

static void check_chip(void) {
    esp_chip_info_t chip;
    esp_chip_info(&chip);
    ESP_LOGI(TAG, "chip revision %d.%d, %d cores", chip.revision / 100, chip.revision % 100,
             chip.cores);
#if CONFIG_EARMARK_RELEASE
    if (chip.revision < SECURE_REVISION) {
        ESP_LOGE(TAG, "this chip has no secure boot v2: not for release");
        abort();
    }
#endif
}

static void open_storage(em_kv_t *factory) {
    const esp_err_t settings = em_storage_open(&s_app.settings, factory, &s_app.settings_lost);
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
    if (em_catalog_from_bundle(&s_app.catalog, &em_bundle) != EM_OK) {
        return ESP_ERR_INVALID_SIZE;
    }
    const em_audio_config_t config = {
        .bundle = &em_bundle,
        .tables = &em_frontend_tables,
        .model = &em_model,
        .handover = &s_app.handover,
        .ring = &s_ring,
        .capture_stack_free_bytes = em_microphone_stack_free_bytes,
    };
    const esp_err_t error = em_audio_start(&config);
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

static void load_identity(const em_kv_t *factory) {
#if CONFIG_EARMARK_NETWORK_MQTT
    ESP_ERROR_CHECK(em_wifi_init());
    const bool known = em_provisioning_load(&s_app.settings, &s_app.identity) == EM_OK;
    s_app.provisioned = known && em_provisioner_has_wifi();
    if (!s_app.provisioned) {
        em_panel_show(EM_LED_UNPROVISIONED);
        const esp_err_t error = em_provisioner_run(&s_app.settings, factory, &s_app.identity);
        s_app.provisioned = error == ESP_OK;
        if (error != ESP_OK) {
            ESP_LOGE(TAG, "not provisioned: %s", esp_err_to_name(error));
        }
    }
#else
    (void)factory;
    snprintf(s_app.identity.device_id, sizeof s_app.identity.device_id, "emulated");
    s_app.provisioned = true;
#endif
}

void app_main(void) {
    em_kv_t factory;
    check_chip();
    if (em_panel_start() != ESP_OK) {
        ESP_LOGE(TAG, "no LED and button on these pins");
    }
    open_storage(&factory);
    s_app.on_trial = em_app_is_on_trial();
    const esp_err_t audio = start_audio();
    s_app.audio_ok = audio == ESP_OK;
    if (audio != ESP_OK) {
        ESP_LOGE(TAG, "audio: %s", esp_err_to_name(audio));
    }
    ESP_LOGI(TAG, "model %s, front end %s", em_bundle.model_version, em_bundle.frontend_hash);
    load_identity(&factory);
    em_device_task_run(&s_app);
}
