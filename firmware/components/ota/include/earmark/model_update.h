/* Model update over HTTPS into the free slot of the model store. */
#ifndef EARMARK_MODEL_UPDATE_H
#define EARMARK_MODEL_UPDATE_H

#include "earmark/model_store.h"

#include <esp_err.h>

/* Downloads BASE_URL/version/model.img (Kconfig) in small pieces; blocks for a minute. The image is
 * verified and then on trial from the next boot on; the caller reboots. ca as for em_app_update.
 * ESP_ERR_INVALID_CRC: not signed by the release key. ESP_ERR_INVALID_VERSION: for another front
 * end or other labels, or older than the model in use. */
esp_err_t em_model_update(em_model_store_t *store, const char *version, const void *ca,
                          size_t ca_bytes);

#endif
