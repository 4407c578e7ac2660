/* What a compiled or interpreted model looks like to the engine. Filled in by `earmark compile`. */
#ifndef EARMARK_MODEL_H
#define EARMARK_MODEL_H

#include "earmark/status.h"

#include <stddef.h>
#include <stdint.h>

typedef enum { EM_TENSOR_INT8 = 1, EM_TENSOR_FLOAT32 = 2 } em_tensor_type_t;

typedef struct {
    em_tensor_type_t type;
    uint32_t elements; /* product of the dimensions */
    uint8_t rank;
    uint16_t dims[6];
    float scale;        /* real = scale * (q - zero_point); 0 for float tensors */
    int32_t zero_point; /* -128..127 */
} em_tensor_t;

/* The boot-time proof that this chip computes what the workstation computed. */
typedef struct {
    const void *const *inputs;  /* one pointer per model input */
    const void *const *outputs; /* one pointer per model output, expected bytes */
    uint32_t crc32;             /* CRC-32 (IEEE) over inputs, then outputs */
} em_golden_t;

typedef struct em_tflm_model em_tflm_model_t; /* earmark/engine_tflm.h */

typedef struct {
    const char *name;
    const char *weights_sha256; /* 64 hex digits over the source .tflite */
    uint32_t arena_bytes;       /* needed by run(); 16-byte aligned */
    uint8_t n_inputs, n_outputs;
    const em_tensor_t *inputs, *outputs;
    const em_golden_t *golden; /* its pointers are NULL when the model carries no test */
    /* Reads inputs, writes outputs, uses only the arena. Neither may alias the arena. */
    em_status_t (*run)(uint8_t *arena, const void *const inputs[], void *const outputs[]);
    const em_tflm_model_t *tflm; /* instead of run, in builds with EM_ENGINE_TFLM */
    const uint8_t *tflite;       /* with it: the file, 16-byte aligned; may lie in a model slot */
    uint32_t tflite_bytes;
} em_model_t;

#endif
