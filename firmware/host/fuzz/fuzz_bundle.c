/* A download of arbitrary bytes that even carries a valid signature. */
#include "earmark/model_store.h"
#include "host_flash.h"
#include "host_kv.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void nothing(void *context) {
    (void)context;
}
static void ignore(void *context, const void *bytes, size_t n) {
    (void)context, (void)bytes, (void)n;
}
static void zeros(void *context, uint8_t digest[32]) {
    (void)context;
    digest[0] = 0;
}
static bool accept(void *context, const uint8_t digest[32], const uint8_t signature[64]) {
    (void)context, (void)digest, (void)signature;
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const em_crypto_t TRUSTING = {
        .sha256_begin = nothing, .sha256_update = ignore, .sha256_end = zeros, .verify = accept};
    static const em_model_needs_t NEEDS = {.front_end_hash = "0123456789abcdef"};
    static host_kv_t kv;
    host_flash_t flash;
    em_model_store_t store;
    em_bundle_image_t image;
    if (host_flash_open(&flash, 4) != EM_OK) {
        abort();
    }
    const em_flash_t port = host_flash_port(&flash);
    host_kv_open(&kv);
    const em_kv_t kv_port = host_kv_port(&kv);
    em_model_store_init(&store, &port, &kv_port, &TRUSTING, &NEEDS);
    (void)em_model_store_begin(&store);
    (void)em_model_store_write(&store, data, (uint32_t)size);
    if (em_model_store_finish(&store) == EM_OK &&
        (em_model_store_select(&store, &image) != EM_OK ||
         image.payload_offset + image.payload_bytes > 2 * HOST_FLASH_SECTOR_BYTES)) {
        abort();
    }
    if (flash.n_rule_violations > 0) {
        abort();
    }
    host_flash_close(&flash);
    return 0;
}
