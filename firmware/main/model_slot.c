#include "earmark/model_boot.h"
#include "earmark/model_update.h"
#include "earmark/psa_crypto.h"
#include "earmark/storage.h"
#include "models.h"

#include <esp_log.h>
#include <esp_partition.h>

static const char TAG[] = "model";

static em_flash_t s_flash;
static em_crypto_t s_crypto;
static em_model_store_t s_store;
static em_image_model_t s_image; /* the parts of a model that runs from flash */
static em_audio_config_t s_config;
static esp_partition_mmap_handle_t s_mapping;
static esp_err_t s_error; /* of the newest candidate */
static const char *s_refusal = "no_model_slot";

static const uint8_t *map(void *context, const em_bundle_image_t *image) {
    const void *memory = NULL;
    (void)context;
    const esp_err_t error =
        esp_partition_mmap(s_flash.context, image->payload_offset, image->payload_bytes,
                           ESP_PARTITION_MMAP_DATA, &memory, &s_mapping);
    if (error != ESP_OK) {
        ESP_LOGE(TAG, "%s cannot be mapped: %s", image->version, esp_err_to_name(error));
        return NULL;
    }
    return memory;
}

static void unmap(void *context) {
    (void)context;
    esp_partition_munmap(s_mapping);
}

static em_status_t start(void *context, const em_bundle_t *bundle, const em_model_t *model) {
    (void)context;
    em_audio_config_t config = s_config;
    config.bundle = bundle;
    config.model = model;
    s_error = em_audio_start(&config);
    if (s_error != ESP_OK) {
        ESP_LOGE(TAG, "%s does not run: %s", bundle->model_version, esp_err_to_name(s_error));
    }
    return s_error == ESP_OK ? EM_OK : EM_ERR_SELF_TEST;
}

/* Without a key or a partition the application's own model runs, and none can be installed. */
static bool open_store(const em_bundle_t *own, const em_kv_t *settings) {
    esp_err_t error = em_storage_partition("model", &s_flash);
    if (error == ESP_OK) {
        error = em_psa_crypto_open(&s_crypto);
        s_refusal = error == ESP_OK ? NULL : "no_model_key";
    }
    if (error != ESP_OK) {
        ESP_LOGW(TAG, "no model updates (%s)", s_refusal);
        return false;
    }
    const em_model_needs_t needs = em_model_needs(own);
    em_model_store_init(&s_store, &s_flash, settings, &s_crypto, &needs);
    return true;
}

esp_err_t em_models_start(const em_audio_config_t *config, const em_kv_t *settings,
                          const em_bundle_t **used) {
    s_config = *config;
    if (!open_store(config->bundle, settings)) {
        *used = config->bundle;
        return em_audio_start(config);
    }
    const em_model_boot_t boot = {
        .store = &s_store,
        .bundle = config->bundle,
        .model = config->model,
        .map = map,
        .unmap = unmap,
        .start = start,
    };
    return em_model_boot(&boot, &s_image, used) == EM_OK ? ESP_OK : s_error;
}

const char *em_models_refusal(void) {
    return s_refusal;
}

esp_err_t em_models_update(const char *version, const void *ca, size_t ca_bytes) {
    return em_model_update(&s_store, version, ca, ca_bytes);
}
