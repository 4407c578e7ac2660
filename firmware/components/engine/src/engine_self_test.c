/* The golden self-test, the same for both engines. */
#include "earmark/engine.h"

#include "engine_crc32.h"

#include <string.h>

static size_t tensor_bytes(const em_tensor_t *tensor) {
    return tensor->elements * (tensor->type == EM_TENSOR_FLOAT32 ? sizeof(float) : 1);
}

/* Tells a damaged flash image from a kernel that computes something else. */
static uint32_t golden_crc32(const em_model_t *model) {
    uint32_t crc = 0;
    for (uint32_t i = 0; i < model->n_inputs; i++) {
        crc = em_crc32(crc, model->golden->inputs[i], tensor_bytes(&model->inputs[i]));
    }
    for (uint32_t i = 0; i < model->n_outputs; i++) {
        crc = em_crc32(crc, model->golden->outputs[i], tensor_bytes(&model->outputs[i]));
    }
    return crc;
}

em_status_t em_engine_self_test(em_engine_t *engine, void *scratch, size_t scratch_bytes) {
    enum { MAX_OUTPUTS = 16 };
    if (engine == NULL || scratch == NULL) {
        return EM_ERR_ARGUMENT;
    }
    const em_model_t *model = engine->model;
    if (model == NULL || model->n_outputs > MAX_OUTPUTS) {
        return EM_ERR_STATE;
    }
    const em_golden_t *golden = model->golden;
    if (golden == NULL || golden->inputs == NULL || golden_crc32(model) != golden->crc32) {
        return EM_ERR_SELF_TEST;
    }
    void *outputs[MAX_OUTPUTS];
    size_t used = 0;
    for (uint32_t i = 0; i < model->n_outputs; i++) {
        used = (used + sizeof(float) - 1) / sizeof(float) * sizeof(float);
        outputs[i] = (uint8_t *)scratch + used;
        used += tensor_bytes(&model->outputs[i]);
    }
    if (used > scratch_bytes || (uintptr_t)scratch % sizeof(float) != 0) {
        return EM_ERR_SIZE;
    }
    const em_status_t status = em_engine_invoke(engine, golden->inputs, outputs);
    if (status != EM_OK) {
        return status;
    }
    for (uint32_t i = 0; i < model->n_outputs; i++) {
        if (memcmp(outputs[i], golden->outputs[i], tensor_bytes(&model->outputs[i])) != 0) {
            return EM_ERR_SELF_TEST;
        }
    }
    return EM_OK;
}
