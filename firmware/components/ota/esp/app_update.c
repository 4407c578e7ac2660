#include "earmark/app_update.h"

#include "earmark/update_url.h"

#include <esp_app_desc.h>
#include <esp_check.h>
#include <esp_http_client.h>
#include <esp_https_ota.h>
#include <esp_log.h>
#include <esp_ota_ops.h>
#include <sdkconfig.h>
#include <string.h>

static const char TAG[] = "ota";
enum { TIMEOUT_MS = 15000 };

bool em_app_is_on_trial(void) {
    esp_ota_img_states_t state;
    return esp_ota_get_state_partition(esp_ota_get_running_partition(), &state) == ESP_OK &&
           state == ESP_OTA_IMG_PENDING_VERIFY;
}

esp_err_t em_app_update(const char *version, const void *ca, size_t ca_bytes) {
    char url[EM_UPDATE_URL_BYTES];
    esp_https_ota_handle_t handle = NULL;
    esp_app_desc_t description;
    ESP_RETURN_ON_FALSE(em_update_url(url, CONFIG_EARMARK_UPDATE_URL, version, "earmark.bin"),
                        ESP_ERR_INVALID_ARG, TAG, "version");
    const esp_http_client_config_t http = {
        .url = url,
        .cert_pem = ca,
        .cert_len = ca_bytes,
        .timeout_ms = TIMEOUT_MS,
        .keep_alive_enable = true,
    };
    const esp_https_ota_config_t config = {.http_config = &http};
    ESP_RETURN_ON_ERROR(esp_https_ota_begin(&config, &handle), TAG, "begin");
    esp_err_t error = esp_https_ota_get_img_desc(handle, &description);
    if (error == ESP_OK &&
        strcmp(description.project_name, esp_app_get_description()->project_name) != 0) {
        error = ESP_ERR_INVALID_VERSION; /* the recorder, or somebody else's program */
    }
    while (error == ESP_OK) {
        error = esp_https_ota_perform(handle);
        if (error == ESP_ERR_HTTPS_OTA_IN_PROGRESS) {
            error = ESP_OK;
        } else {
            break;
        }
    }
    if (error != ESP_OK || !esp_https_ota_is_complete_data_received(handle)) {
        ESP_LOGE(TAG, "%s: %s", url, esp_err_to_name(error));
        (void)esp_https_ota_abort(handle);
        return error == ESP_OK ? ESP_ERR_INVALID_SIZE : error;
    }
    return esp_https_ota_finish(handle);
}

esp_err_t em_app_apply(em_boot_t decision) {
    switch (decision) {
    case EM_BOOT_CONFIRM:
        ESP_LOGI(TAG, "new image confirmed");
        return esp_ota_mark_app_valid_cancel_rollback();
    case EM_BOOT_ROLL_BACK:
        ESP_LOGE(TAG, "new image failed its checks: back to the one before");
        return esp_ota_mark_app_invalid_rollback_and_reboot();
    case EM_BOOT_WAITING:
    case EM_BOOT_DECIDED:
        break;
    }
    return ESP_OK;
}
