/* The compiled engine: checks once, then calls the generated code. */
#include "earmark/engine.h"

#include <string.h>

enum { ARENA_ALIGNMENT = 16 };

em_status_t em_engine_init(em_engine_t *engine, const em_model_t *model, void *arena,
                           size_t arena_bytes) {
    if (engine == NULL || model == NULL || model->run == NULL) {
        return EM_ERR_ARGUMENT;
    }
    if (model->arena_bytes > 0 && arena == NULL) {
        return EM_ERR_ARGUMENT;
    }
    if (arena_bytes < model->arena_bytes || (uintptr_t)arena % ARENA_ALIGNMENT != 0) {
        return EM_ERR_SIZE;
    }
    engine->model = model;
    engine->arena = arena;
    return EM_OK;
}

em_status_t em_engine_invoke(em_engine_t *engine, const void *const inputs[],
                             void *const outputs[]) {
    if (engine == NULL || inputs == NULL || outputs == NULL) {
        return EM_ERR_ARGUMENT;
    }
    if (engine->model == NULL) {
        return EM_ERR_STATE;
    }
    return engine->model->run(engine->arena, inputs, outputs);
}

em_status_t em_engine_clear(em_engine_t *engine) {
    if (engine->model->arena_bytes > 0) {
        memset(engine->arena, 0, engine->model->arena_bytes);
    }
    return EM_OK;
}
