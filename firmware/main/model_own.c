#include "models.h"

esp_err_t em_models_start(const em_audio_config_t *config, const em_kv_t *settings,
                          const em_bundle_t **used) {
    (void)settings;
    *used = config->bundle;
    return em_audio_start(config);
}

const char *em_models_refusal(void) {
    return "model_compiled_in"; /* a compiled network comes with its application */
}

esp_err_t em_models_update(const char *version, const void *ca, size_t ca_bytes) {
    (void)version, (void)ca, (void)ca_bytes;
    return ESP_ERR_NOT_SUPPORTED;
}
