/* SHA-256 and ECDSA P-256 through PSA, with the public key of the release (Kconfig). */
#ifndef EARMARK_PSA_CRYPTO_H
#define EARMARK_PSA_CRYPTO_H

#include "earmark/model_store.h"

#include <esp_err.h>

/* ESP_ERR_INVALID_ARG: the configured key is not an uncompressed P-256 point in hex. */
esp_err_t em_psa_crypto_open(em_crypto_t *crypto);

#endif
