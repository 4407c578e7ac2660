/* Runs two compiled forms of each model on inputs from stdin; built under sanitizers by the tests.
 * The arena is allocated to the byte, so that AddressSanitizer sees every overrun. */
#include "earmark/engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Generated: whole and banded form of each network, in turn. */
extern const em_model_t *const models[];
extern const int n_networks, n_input_sets;

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

static int run_network(const em_model_t *whole, const em_model_t *banded) {
    void *inputs[16];
    for (int i = 0; i < whole->n_inputs; i++) {
        inputs[i] = exact(bytes_of(&whole->inputs[i]));
    }
    int status = 0;
    for (int set = 0; set < n_input_sets && status == 0; set++) {
        for (int i = 0; i < whole->n_inputs; i++) {
            const size_t n_bytes = bytes_of(&whole->inputs[i]);
            if (fread(inputs[i], 1, n_bytes, stdin) != n_bytes) {
                status = 5;
            }
        }
        if (status == 0) {
            status = run(whole, inputs);
        }
        if (status == 0) {
            status = run(banded, inputs);
        }
    }
    for (int i = 0; i < whole->n_inputs; i++) {
        free(inputs[i]);
    }
    return status;
}

int main(void) {
    for (int k = 0; k < n_networks; k++) {
        const int status = run_network(models[2 * k], models[2 * k + 1]);
        if (status != 0) {
            return status;
        }
    }
    return 0;
}
