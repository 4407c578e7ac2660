#include "earmark/model_update.h"

#include "earmark/update_url.h"

#include <esp_check.h>
#include <esp_http_client.h>
#include <esp_log.h>
#include <sdkconfig.h>

static const char TAG[] = "model";
enum { TIMEOUT_MS = 15000, PIECE_BYTES = 512, HTTP_OK = 200 };

static esp_err_t from_status(em_status_t status) {
    switch (status) {
    case EM_OK:
        return ESP_OK;
    case EM_ERR_FORMAT:
        return ESP_ERR_INVALID_CRC;
    case EM_ERR_MISMATCH:
    case EM_ERR_ARGUMENT:
        return ESP_ERR_INVALID_VERSION;
    case EM_ERR_FULL:
        return ESP_ERR_INVALID_SIZE;
    default:
        return ESP_FAIL;
    }
}

static esp_err_t receive(esp_http_client_handle_t client, em_model_store_t *store) {
    char piece[PIECE_BYTES];
    ESP_RETURN_ON_ERROR(esp_http_client_open(client, 0), TAG, "open");
    ESP_RETURN_ON_FALSE(esp_http_client_fetch_headers(client) >= 0, ESP_FAIL, TAG, "headers");
    ESP_RETURN_ON_FALSE(esp_http_client_get_status_code(client) == HTTP_OK, ESP_ERR_NOT_FOUND, TAG,
                        "status %d", esp_http_client_get_status_code(client));
    em_status_t status = em_model_store_begin(store);
    while (status == EM_OK) {
        const int n = esp_http_client_read(client, piece, sizeof piece);
        ESP_RETURN_ON_FALSE(n >= 0, ESP_FAIL, TAG, "read");
        if (n == 0) {
            break; /* the end, or a connection that was cut: the signature tells */
        }
        status = em_model_store_write(store, piece, (uint32_t)n);
    }
    return from_status(status == EM_OK ? em_model_store_finish(store) : status);
}

esp_err_t em_model_update(em_model_store_t *store, const char *version, const void *ca,
                          size_t ca_bytes) {
    char url[EM_UPDATE_URL_BYTES];
    ESP_RETURN_ON_FALSE(em_update_url(url, CONFIG_EARMARK_UPDATE_URL, version, "model.img"),
                        ESP_ERR_INVALID_ARG, TAG, "version");
    const esp_http_client_config_t config = {
        .url = url,
        .cert_pem = ca,
        .cert_len = ca_bytes,
        .timeout_ms = TIMEOUT_MS,
    };
    esp_http_client_handle_t client = esp_http_client_init(&config);
    ESP_RETURN_ON_FALSE(client != NULL, ESP_ERR_NO_MEM, TAG, "client");
    const esp_err_t error = receive(client, store);
    (void)esp_http_client_close(client);
    (void)esp_http_client_cleanup(client);
    ESP_LOGI(TAG, "%s: %s", url, error == ESP_OK ? "on trial" : esp_err_to_name(error));
    return error;
}
