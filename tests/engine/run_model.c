/* Runs two compiled forms of one model on inputs from stdin; built under sanitizers by the tests.
 * The arena is allocated to the byte, so that AddressSanitizer sees every overrun. */
#include "earmark/engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern const em_model_t em_whole, em_banded;

static size_t bytes_of(const em_tensor_t *t) {
    return t->elements * (t->type == EM_TENSOR_FLOAT32 ? sizeof(float) : 1);
}

static void *exact(size_t n_bytes) {
    void *p = NULL;
    if (posix_memalign(&p, 16, n_bytes > 0 ? n_bytes : 1) != 0) {
        exit(2);
    }
    return p;
}

static int run(const em_model_t *model, void *const inputs[]) {
    uint8_t *arena = exact(model->arena_bytes);
    memset(arena, 0xA5, model->arena_bytes);
    em_engine_t engine;
    if (em_engine_init(&engine, model, arena, model->arena_bytes) != EM_OK) {
        return 3;
    }
    void *outputs[16];
    for (int i = 0; i < model->n_outputs; i++) {
        outputs[i] = exact(bytes_of(&model->outputs[i]));
    }
    if (em_engine_invoke(&engine, (const void *const *)inputs, outputs) != EM_OK) {
        return 4;
    }
    for (int i = 0; i < model->n_outputs; i++) {
        fwrite(outputs[i], 1, bytes_of(&model->outputs[i]), stdout);
        free(outputs[i]);
    }
    free(arena);
    return 0;
}

int main(void) {
    void *inputs[16];
    for (int i = 0; i < em_whole.n_inputs; i++) {
        inputs[i] = exact(bytes_of(&em_whole.inputs[i]));
    }
    for (;;) {
        for (int i = 0; i < em_whole.n_inputs; i++) {
            if (fread(inputs[i], 1, bytes_of(&em_whole.inputs[i]), stdin) == 0) {
                for (int k = 0; k < em_whole.n_inputs; k++) {
                    free(inputs[k]);
                }
                return 0;
            }
        }
        const int status = run(&em_whole, inputs);
        if (status != 0 || run(&em_banded, inputs) != 0) {
            return status + 10;
        }
    }
}
