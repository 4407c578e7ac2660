/* A payload of arbitrary bytes behind a valid signature: what opens must lie inside. */
#include "earmark/engine.h"
#include "earmark/model_image.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ALIGNMENT = 16 };

struct em_tflm_model {
    int unused;
};

uint32_t em_engine_arena_bytes(const em_tflm_model_t *operators, uint32_t tensor_arena_bytes) {
    (void)operators;
    return tensor_arena_bytes;
}

/* Reads every byte that the model points to; the sanitizer watches. */
static uint32_t touch(const em_image_model_t *model) {
    const em_detector_config_t *detector = &model->bundle.detector;
    uint32_t sum = 0;
    for (uint16_t i = 0; i < detector->n_labels; i++) {
        sum += (uint32_t)strlen(detector->labels[i].name);
        for (uint16_t k = 0; detector->labels[i].classes && k < detector->labels[i].n_classes;
             k++) {
            sum += detector->labels[i].classes[k];
        }
    }
    for (uint32_t i = 0; i < model->model.tflite_bytes; i++) {
        sum += model->model.tflite[i];
    }
    for (uint32_t i = 0; i < model->input.elements; i++) {
        sum += ((const uint8_t *)model->golden_inputs[0])[i];
    }
    for (uint32_t i = 0; i < model->output.elements; i++) {
        sum += ((const uint8_t *)model->golden_outputs[0])[i];
    }
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const em_tflm_model_t OPERATORS;
    static em_image_model_t model;
    /* The exact size, so that one byte beyond it is noticed. */
    void *payload;
    if (posix_memalign(&payload, ALIGNMENT, size > 0 ? size : 1) != 0) {
        abort();
    }
    if (size > 0) {
        memcpy(payload, data, size);
    }
    if (em_model_image_open(&model, payload, (uint32_t)size, "0123456789abcdef", "em-1.0.0",
                            &OPERATORS) == EM_OK &&
        touch(&model) == UINT32_MAX) {
        abort(); /* cannot be: the sum of so few bytes */
    }
    free(payload);
    return 0;
}
