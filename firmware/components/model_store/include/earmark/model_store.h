/* Signed model bundles in two slots of one partition. Nothing of a bundle is looked at before its
 * signature is verified; a new one stays on trial until it reproduces its golden vector, and the
 * previous one is kept until then. An older release than the one in use is refused: a signature
 * once given must not bring back a model that was replaced.
 *
 * A bundle image (written by `earmark pack-model`, little-endian):
 *   0 "EMB1" | 4 payload bytes u32 | 8 format of the payload u32, 1 | 12 front-end hash, 16 hex
 *   digits | 28 model version, 28 bytes, zero-padded | 56 labels hash u32 (CRC-32 of the names
 *   joined by LF) | 60 reserved, zero
 *   64 signature: ECDSA P-256, r and s, over SHA-256(bytes 0..63, payload) | 128 payload
 *   (model_image.h) */
#ifndef EARMARK_MODEL_STORE_H
#define EARMARK_MODEL_STORE_H

#include "earmark/ports.h"

enum { EM_BUNDLE_HEADER_BYTES = 128, EM_BUNDLE_SIGNATURE_BYTES = 64, EM_MODEL_VERSION_CHARS = 28 };

/* SHA-256 and ECDSA P-256 of the platform (PSA on the device). */
typedef struct {
    void *context;
    void (*sha256_begin)(void *context);
    void (*sha256_update)(void *context, const void *data, size_t n_bytes);
    void (*sha256_end)(void *context, uint8_t digest[32]);
    bool (*verify)(void *context, const uint8_t digest[32],
                   const uint8_t signature[EM_BUNDLE_SIGNATURE_BYTES]);
} em_crypto_t;

typedef struct {
    uint32_t payload_bytes;
    uint32_t payload_offset; /* in the partition */
    uint32_t labels_crc32;
    uint32_t release; /* em_model_release of the version */
    char front_end_hash[17];
    char version[EM_MODEL_VERSION_CHARS + 1];
} em_bundle_image_t;

/* What a model must belong to. */
typedef struct {
    const char *front_end_hash;
    uint32_t labels_crc32;
    uint32_t release; /* of the application's own model: an older one is not selected */
} em_model_needs_t;

typedef struct {
    const em_flash_t *flash; /* the model partition: two equal slots */
    em_kv_t kv;
    const em_crypto_t *crypto;
    em_model_needs_t needs;
    uint32_t write_slot, write_offset; /* of the download in progress */
    uint8_t tail[16];                  /* bytes that do not fill a flash block yet */
    uint32_t n_tail;
    bool writing;
    bool trying; /* the newest select returned the slot on trial */
} em_model_store_t;

/* "em-1.4.0+3fa9" -> a number that grows with MAJOR.MINOR.PATCH, each below 1024. */
em_status_t em_model_release(const char *version, uint32_t *release);

void em_model_store_init(em_model_store_t *store, const em_flash_t *flash, const em_kv_t *kv,
                         const em_crypto_t *crypto, const em_model_needs_t *needs);

/* The image to run now; EM_ERR_STATE: none, use the model compiled into the application. A slot on
 * trial is handed out for at most one boot: if that boot did not confirm it, it is given up. */
em_status_t em_model_store_select(em_model_store_t *store, em_bundle_image_t *image);
/* The selected image reproduced its golden vector: it stays, the older one becomes free. */
em_status_t em_model_store_confirm(em_model_store_t *store);
/* It did not: back to the previous one from the next select on. */
em_status_t em_model_store_reject(em_model_store_t *store);

/* Download: begin, write any sizes, finish. Finish verifies and puts the slot on trial.
 * EM_ERR_FORMAT: not a bundle or signature wrong. EM_ERR_MISMATCH: another front end or labels.
 * EM_ERR_ARGUMENT: an older release than the one in use. */
em_status_t em_model_store_begin(em_model_store_t *store);
em_status_t em_model_store_write(em_model_store_t *store, const void *data, uint32_t n_bytes);
em_status_t em_model_store_finish(em_model_store_t *store);

/* Header alone; for the store itself and the fuzzer. */
em_status_t em_bundle_image_parse(em_bundle_image_t *image,
                                  const uint8_t header[EM_BUNDLE_HEADER_BYTES],
                                  uint32_t slot_bytes);

#endif
