/* NVS as key-value store, a data partition as raw flash. */
#ifndef EARMARK_STORAGE_H
#define EARMARK_STORAGE_H

#include "earmark/ports.h"

#include <esp_err.h>

/* Opens NVS (encrypted where the configuration says so). A corrupt NVS is erased and started
 * afresh; *lost then becomes true. Both stores stay valid for ever; factory is read-only. */
esp_err_t em_storage_open(em_kv_t *settings, em_kv_t *factory, bool *lost);

/* Fills *flash with the data partition of that label. ESP_ERR_NOT_FOUND: no such partition. */
esp_err_t em_storage_partition(const char *label, em_flash_t *flash);

#endif
