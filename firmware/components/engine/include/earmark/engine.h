/* One interface over two engines: C from `earmark compile`, or TensorFlow Lite Micro (Kconfig). */
#ifndef EARMARK_ENGINE_H
#define EARMARK_ENGINE_H

#include "earmark/model.h"

typedef struct {
    const em_model_t *model;
    uint8_t *arena;
} em_engine_t;

/* Binds a model to a caller-owned arena. EM_ERR_SIZE: too small or not 16-byte aligned. */
em_status_t em_engine_init(em_engine_t *engine, const em_model_t *model, void *arena,
                           size_t arena_bytes);

/* One inference; input and output sizes are those of engine->model. */
em_status_t em_engine_invoke(em_engine_t *engine, const void *const inputs[],
                             void *const outputs[]);

/* TensorFlow Lite Micro only: arena_bytes of a model with these operators, from the bytes that its
 * tensors need; interpreter and resolver come on top. */
uint32_t em_engine_arena_bytes(const em_tflm_model_t *operators, uint32_t tensor_arena_bytes);

/* Overwrites everything that inputs left in the arena; the engine stays ready. */
em_status_t em_engine_clear(em_engine_t *engine);

/* Runs the golden input and compares every output byte. scratch holds one set of outputs.
 * EM_ERR_SELF_TEST: at least one differs. */
em_status_t em_engine_self_test(em_engine_t *engine, void *scratch, size_t scratch_bytes);

#endif
