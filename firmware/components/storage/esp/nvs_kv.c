#include "earmark/storage.h"

#include <nvs.h>
#include <nvs_flash.h>

static const char NAMESPACE[] = "earmark";
/* Written once at manufacture, in a partition of its own: it survives a reset and a corrupt NVS. */
static const char FACTORY_PARTITION[] = "factory_nvs";
static nvs_handle_t s_settings, s_factory;

static em_status_t get(void *context, const char *key, void *value, size_t *bytes) {
    const nvs_handle_t handle = *(const nvs_handle_t *)context;
    const esp_err_t error = nvs_get_blob(handle, key, value, bytes);
    switch (error) {
    case ESP_OK:
        return EM_OK;
    case ESP_ERR_NVS_NOT_FOUND:
        return EM_ERR_STATE;
    case ESP_ERR_NVS_INVALID_LENGTH:
        return EM_ERR_SIZE;
    default:
        return EM_ERR_IO;
    }
}

static em_status_t set(void *context, const char *key, const void *value, size_t bytes) {
    const nvs_handle_t handle = *(const nvs_handle_t *)context;
    if (nvs_set_blob(handle, key, value, bytes) != ESP_OK) {
        return EM_ERR_IO;
    }
    return nvs_commit(handle) == ESP_OK ? EM_OK : EM_ERR_IO;
}

static em_status_t erase_all(void *context) {
    const nvs_handle_t handle = *(const nvs_handle_t *)context;
    if (nvs_erase_all(handle) != ESP_OK) {
        return EM_ERR_IO;
    }
    return nvs_commit(handle) == ESP_OK ? EM_OK : EM_ERR_IO;
}

esp_err_t em_storage_open(em_kv_t *settings, em_kv_t *factory, bool *lost) {
    esp_err_t error = nvs_flash_init();
    *lost = error != ESP_OK;
    if (*lost) {
        /* No free pages, another version, or a page that does not read. */
        error = nvs_flash_erase();
        if (error == ESP_OK) {
            error = nvs_flash_init();
        }
    }
    if (error == ESP_OK) {
        error = nvs_open(NAMESPACE, NVS_READWRITE, &s_settings);
    }
    *settings = (em_kv_t){.context = &s_settings, .get = get, .set = set, .erase_all = erase_all};
    /* A board without factory data still listens; it cannot be provisioned. */
    if (nvs_flash_init_partition(FACTORY_PARTITION) != ESP_OK ||
        nvs_open_from_partition(FACTORY_PARTITION, NAMESPACE, NVS_READONLY, &s_factory) != ESP_OK) {
        s_factory = 0;
    }
    *factory = (em_kv_t){.context = &s_factory, .get = get, .set = set, .erase_all = erase_all};
    return error;
}
