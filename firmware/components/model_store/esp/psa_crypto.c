#include "earmark/psa_crypto.h"

#include <psa/crypto.h>
#include <sdkconfig.h>
#include <string.h>

enum { POINT_BYTES = 65 }; /* 0x04, x, y */

static psa_hash_operation_t s_hash;
static psa_key_id_t s_key;

static void sha256_begin(void *context) {
    (void)context;
    s_hash = psa_hash_operation_init();
    (void)psa_hash_setup(&s_hash, PSA_ALG_SHA_256);
}

static void sha256_update(void *context, const void *data, size_t n_bytes) {
    (void)context;
    (void)psa_hash_update(&s_hash, data, n_bytes);
}

/* A failed hash leaves zeros, which no signature matches. */
static void sha256_end(void *context, uint8_t digest[32]) {
    size_t n = 0;
    (void)context;
    memset(digest, 0, 32);
    if (psa_hash_finish(&s_hash, digest, 32, &n) != PSA_SUCCESS) {
        (void)psa_hash_abort(&s_hash);
        memset(digest, 0, 32);
    }
}

static bool verify(void *context, const uint8_t digest[32],
                   const uint8_t signature[EM_BUNDLE_SIGNATURE_BYTES]) {
    (void)context;
    return psa_verify_hash(s_key, PSA_ALG_ECDSA(PSA_ALG_SHA_256), digest, 32, signature,
                           EM_BUNDLE_SIGNATURE_BYTES) == PSA_SUCCESS;
}

static int hex_digit(char c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

esp_err_t em_psa_crypto_open(em_crypto_t *crypto) {
    static const char HEX[] = CONFIG_EARMARK_MODEL_PUBLIC_KEY;
    uint8_t point[POINT_BYTES];
    if (sizeof HEX - 1 != 2 * POINT_BYTES) {
        return ESP_ERR_INVALID_ARG;
    }
    for (int i = 0; i < POINT_BYTES; i++) {
        const int high = hex_digit(HEX[2 * i]), low = hex_digit(HEX[2 * i + 1]);
        if (high < 0 || low < 0) {
            return ESP_ERR_INVALID_ARG;
        }
        point[i] = (uint8_t)(high << 4 | low);
    }
    psa_key_attributes_t attributes = psa_key_attributes_init();
    psa_set_key_type(&attributes, PSA_KEY_TYPE_ECC_PUBLIC_KEY(PSA_ECC_FAMILY_SECP_R1));
    psa_set_key_bits(&attributes, 256);
    psa_set_key_usage_flags(&attributes, PSA_KEY_USAGE_VERIFY_HASH);
    psa_set_key_algorithm(&attributes, PSA_ALG_ECDSA(PSA_ALG_SHA_256));
    if (psa_crypto_init() != PSA_SUCCESS ||
        psa_import_key(&attributes, point, sizeof point, &s_key) != PSA_SUCCESS) {
        return ESP_ERR_INVALID_ARG;
    }
    *crypto = (em_crypto_t){
        .sha256_begin = sha256_begin,
        .sha256_update = sha256_update,
        .sha256_end = sha256_end,
        .verify = verify,
    };
    return ESP_OK;
}
