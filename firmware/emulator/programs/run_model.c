/* Runs a compiled model on every set of inputs in inputs.bin; writes outputs.bin, its layout and
 * the total of executed instructions. -DEM_MODEL=em_<name>. Exit status: the em_status_t, or 20
 * when the kernels wrote beyond the arena. */
#include "emulator.h"

#include "earmark/model.h"

enum { ALIGNMENT = 16, GUARD_BYTES = 64, GUARD = 0xA5, MAX_TENSORS = 16, STATUS_OVERRUN = 20 };

extern const em_model_t EM_MODEL;
extern uint8_t em_free_memory[]; /* sim.ld */

static uint32_t bytes_of(const em_tensor_t *tensor) {
    return tensor->elements * (tensor->type == EM_TENSOR_FLOAT32 ? 4u : 1u);
}

static uint8_t *align(uint8_t *p) {
    return p + (0u - (uintptr_t)p) % ALIGNMENT;
}

/* Points each tensor at its part of a set that starts at `p`, aligned; returns the end. */
static uint8_t *lay_out(const em_tensor_t *tensors, uint32_t n, void **pointers, uint8_t *p) {
    for (uint32_t i = 0; i < n; i++) {
        pointers[i] = p = align(p);
        p += bytes_of(&tensors[i]);
    }
    return align(p);
}

static uint8_t *copy(uint8_t *to, const uint8_t *from, uint32_t n) {
    while (n-- > 0) {
        *to++ = *from++;
    }
    return to;
}

int main(void) {
    const em_model_t *model = &EM_MODEL;
    void *inputs[MAX_TENSORS], *outputs[MAX_TENSORS];
    uint8_t *const arena = align(em_free_memory);
    uint8_t *const guard = arena + model->arena_bytes;
    uint8_t *p = lay_out(model->inputs, model->n_inputs, inputs, guard + GUARD_BYTES);
    p = lay_out(model->outputs, model->n_outputs, outputs, p);

    uint32_t input_bytes = 0, output_bytes = 0;
    for (uint32_t i = 0; i < model->n_inputs; i++) {
        input_bytes += bytes_of(&model->inputs[i]);
    }
    for (uint32_t i = 0; i < model->n_outputs; i++) {
        output_bytes += bytes_of(&model->outputs[i]);
    }
    const uint8_t *received = p;
    const uint32_t n_runs = (uint32_t)emulator_read("inputs.bin", p, 1u << 26) / input_bytes;
    uint8_t *const results = align(p + n_runs * input_bytes);
    uint8_t *result = results;

    uint64_t instructions = 0;
    for (uint32_t run = 0; run < n_runs; run++) {
        for (uint8_t *byte = arena; byte < guard + GUARD_BYTES; byte++) {
            *byte = GUARD;
        }
        for (uint32_t i = 0; i < model->n_inputs; i++) {
            copy(inputs[i], received, bytes_of(&model->inputs[i]));
            received += bytes_of(&model->inputs[i]);
        }
        const uint64_t start = emulator_instructions();
        const em_status_t status = model->run(arena, (const void *const *)inputs, outputs);
        instructions += emulator_instructions() - start;
        if (status != EM_OK) {
            return (int)status;
        }
        for (uint32_t i = 0; i < model->n_outputs; i++) {
            result = copy(result, outputs[i], bytes_of(&model->outputs[i]));
        }
        for (uint32_t i = 0; i < GUARD_BYTES; i++) {
            if (guard[i] != GUARD) {
                return STATUS_OVERRUN;
            }
        }
    }
    emulator_write("outputs.bin", results, n_runs * output_bytes);
    emulator_write("layout.bin", model->outputs, model->n_outputs * (uint32_t)sizeof(em_tensor_t));
    emulator_write("instructions.bin", &instructions, sizeof instructions);
    return 0;
}
