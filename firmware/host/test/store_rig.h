/* A model store over simulated flash and settings, with a stand-in for SHA-256 and ECDSA. */
#ifndef EARMARK_STORE_RIG_H
#define EARMARK_STORE_RIG_H

#include "earmark/model_store.h"
#include "host_flash.h"
#include "host_kv.h"

#include <string.h>

#define STORE_HASH "0123456789abcdef"
enum { STORE_SECTORS = 8, STORE_LABELS_CRC32 = 42 };

/* FNV-1a: the "signature" repeats a sum that the image must have. */
static uint32_t s_sum;

static void sum_begin(void *context) {
    (void)context;
    s_sum = 2166136261u;
}

static void sum_update(void *context, const void *data, size_t n) {
    (void)context;
    for (size_t i = 0; i < n; i++) {
        s_sum = (s_sum ^ ((const uint8_t *)data)[i]) * 16777619u;
    }
}

static void sum_end(void *context, uint8_t digest[32]) {
    (void)context;
    memset(digest, 0, 32);
    memcpy(digest, &s_sum, sizeof s_sum);
}

static bool sum_verify(void *context, const uint8_t digest[32], const uint8_t signature[64]) {
    (void)context;
    return memcmp(digest, signature, 4) == 0;
}

static const em_crypto_t SUM = {.sha256_begin = sum_begin,
                                .sha256_update = sum_update,
                                .sha256_end = sum_end,
                                .verify = sum_verify};

/* Header and signature in front of a payload that is already in place. */
static void seal_image(uint8_t *image, uint32_t n_bytes, const char *hash, uint32_t labels,
                       const char *version) {
    const uint32_t payload = n_bytes - EM_BUNDLE_HEADER_BYTES;
    memset(image, 0, EM_BUNDLE_HEADER_BYTES);
    memcpy(image, "EMB1", 4);
    memcpy(image + 4, &payload, 4);
    image[8] = 1;
    memcpy(image + 12, hash, 16);
    memcpy(image + 28, version, strlen(version));
    memcpy(image + 56, &labels, 4);
    sum_begin(NULL);
    sum_update(NULL, image, 64);
    sum_update(NULL, image + EM_BUNDLE_HEADER_BYTES, payload);
    memcpy(image + 64, &s_sum, 4);
}

/* In pieces, as a download comes. The first error ends it, as in the update task. */
static em_status_t install_image(em_model_store_t *store, const uint8_t *image, uint32_t n_bytes) {
    enum { PIECE_BYTES = 1000 };
    em_status_t status = em_model_store_begin(store);
    for (uint32_t at = 0; at < n_bytes && status == EM_OK; at += PIECE_BYTES) {
        const uint32_t left = n_bytes - at;
        status = em_model_store_write(store, image + at, left < PIECE_BYTES ? left : PIECE_BYTES);
    }
    return status == EM_OK ? em_model_store_finish(store) : status;
}

#endif
