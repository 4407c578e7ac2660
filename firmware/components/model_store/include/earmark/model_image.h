/* The payload of a model image: everything the device needs beside its own front end and operators.
 * It is used where it lies (mapped flash); only what the engine and the detector want as structs is
 * copied. Little-endian; offsets from the start of the payload; written by `earmark pack-model`.
 *
 *   0 "EMP1"
 *   4 sample rate, Hz u32 | 8 hop length u16 | 10 features per row u16 | 12 rows per window u16
 *  14 rows between inferences u16 | 16 labels u16 | 18 scores u16 | 20 inference period, us u32
 *  24 cadence: row period, us u32 | 28 features u16 | 30 min_contrast u8 | 31 clip_steps u8
 *  32 network input, 20 bytes: scale f32, zero point i16, rank u16, 6 dimensions u16
 *  52 network output, likewise
 *  72 bytes of TFLM's tensor arena u32
 *  76 offset of the .tflite u32 (a multiple of 16) | 80 its bytes u32
 *  84 offset of the golden vector u32: input, then output | 88 its CRC-32 u32
 *  92 offset of the labels u32 (a multiple of 4)
 *  96 SHA-256 of the .tflite, 64 hex digits | 160 end
 *
 * A label, 72 bytes:
 *   0 name, zero-padded to 36 | 36 classes u16 | 38 on u16 | 40 off u16 | 42 min u16 | 44 max u16
 *  46 alpha_q15 u16 | 48 min_duration_ms u32 | 52 refractory_ms u32 | 56 update_ms u32
 *  60 flags u8 | 61 cadence u8 | 62 cadence u16 | 64 cadence_alone u16 | 66 gate u16
 *  68 offset of the class indices u32 (u16 each, even; 0: none, the label's own index) */
#ifndef EARMARK_MODEL_IMAGE_H
#define EARMARK_MODEL_IMAGE_H

#include "earmark/bundle.h"
#include "earmark/model.h"

enum {
    EM_IMAGE_HEADER_BYTES = 160,
    EM_IMAGE_LABEL_BYTES = 72,
    EM_IMAGE_MAX_LABELS = 32,
    EM_IMAGE_HASH_CHARS = 16,
    EM_IMAGE_VERSION_CHARS = 28
};

/* A model out of an image; points into the payload, which must outlive it. */
typedef struct {
    em_bundle_t bundle;
    em_model_t model;
    em_tensor_t input, output;
    em_golden_t golden;
    const void *golden_inputs[1], *golden_outputs[1];
    em_label_t labels[EM_IMAGE_MAX_LABELS];
    char front_end_hash[EM_IMAGE_HASH_CHARS + 1];
    char version[EM_IMAGE_VERSION_CHARS + 1];
    char weights_sha256[65];
} em_image_model_t;

/* payload: 16-byte aligned. hash and version come from the signed header. operators: those of the
 * application's own model; an image that needs others does not load. EM_ERR_FORMAT: damaged.
 * Whether the parts belong together is for em_pipeline_init to say. */
em_status_t em_model_image_open(em_image_model_t *model, const uint8_t *payload, uint32_t n_bytes,
                                const char *front_end_hash, const char *version,
                                const em_tflm_model_t *operators);

#endif
