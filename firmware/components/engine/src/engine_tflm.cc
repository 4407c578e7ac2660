/* engine.h over TensorFlow Lite Micro. No heap and no globals: resolver and interpreter live at the
 * start of the caller's arena, TFLM's own arena behind them. No exceptions: every check ends in a
 * status. */
#include "earmark/engine_tflm.h"

extern "C" {
#include "earmark/engine.h"
}

#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/schema/schema_generated.h"

#include <cstring>
#include <new>

namespace {

size_t tensor_bytes(const em_tensor_t &tensor) {
    return tensor.elements * (tensor.type == EM_TENSOR_FLOAT32 ? sizeof(float) : 1);
}

tflite::MicroInterpreter *interpreter_of(const em_engine_t *engine) {
    return std::launder(reinterpret_cast<tflite::MicroInterpreter *>(engine->arena));
}

/* The interpreter must see the tensor that the generated description promises. */
bool matches(const em_tensor_t &expected, const TfLiteTensor *tensor) {
    if (tensor == nullptr || tensor->bytes != tensor_bytes(expected) ||
        tensor->dims->size != expected.rank) {
        return false;
    }
    for (int i = 0; i < expected.rank; i++) {
        if (tensor->dims->data[i] != expected.dims[i]) {
            return false;
        }
    }
    if (expected.type == EM_TENSOR_FLOAT32) {
        return tensor->type == kTfLiteFloat32;
    }
    const auto *quantisation =
        static_cast<const TfLiteAffineQuantization *>(tensor->quantization.params);
    return tensor->type == kTfLiteInt8 && quantisation != nullptr &&
           quantisation->scale != nullptr && quantisation->scale->size == 1 &&
           quantisation->zero_point != nullptr && quantisation->zero_point->size == 1 &&
           tensor->params.scale == expected.scale &&
           tensor->params.zero_point == expected.zero_point;
}

bool tensors_match(const em_model_t *model, tflite::MicroInterpreter *interpreter) {
    if (interpreter->inputs_size() != model->n_inputs ||
        interpreter->outputs_size() != model->n_outputs) {
        return false;
    }
    for (uint32_t i = 0; i < model->n_inputs; i++) {
        if (!matches(model->inputs[i], interpreter->input(i))) {
            return false;
        }
    }
    for (uint32_t i = 0; i < model->n_outputs; i++) {
        if (!matches(model->outputs[i], interpreter->output(i))) {
            return false;
        }
    }
    return true;
}

} // namespace

uint32_t em_engine_arena_bytes(const em_tflm_model_t *operators, uint32_t tensor_arena_bytes) {
    return static_cast<uint32_t>(em_tflm_head_bytes(operators->resolver_bytes)) +
           tensor_arena_bytes;
}

em_status_t em_engine_init(em_engine_t *engine, const em_model_t *model, void *arena,
                           size_t arena_bytes) {
    if (engine == nullptr || model == nullptr || model->tflm == nullptr ||
        model->tflite == nullptr || arena == nullptr) {
        return EM_ERR_ARGUMENT;
    }
    const em_tflm_model &source = *model->tflm;
    if (arena_bytes < model->arena_bytes ||
        reinterpret_cast<uintptr_t>(arena) % EM_TFLM_ALIGNMENT != 0) {
        return EM_ERR_SIZE;
    }
    const tflite::Model *flatbuffer = tflite::GetModel(model->tflite);
    if (flatbuffer->version() != TFLITE_SCHEMA_VERSION || flatbuffer->subgraphs() == nullptr ||
        flatbuffer->subgraphs()->size() != 1) {
        return EM_ERR_FORMAT;
    }
    auto *memory = static_cast<uint8_t *>(arena);
    const tflite::MicroOpResolver *resolver =
        source.create_resolver(memory + em_tflm_aligned(sizeof(tflite::MicroInterpreter)));
    if (resolver == nullptr) {
        return EM_ERR_MISMATCH;
    }
    const size_t head = em_tflm_head_bytes(source.resolver_bytes);
    auto *interpreter = new (memory)
        tflite::MicroInterpreter(flatbuffer, *resolver, memory + head, arena_bytes - head);
    if (interpreter->initialization_status() != kTfLiteOk ||
        interpreter->AllocateTensors() != kTfLiteOk) {
        return EM_ERR_SIZE;
    }
    if (!tensors_match(model, interpreter)) {
        return EM_ERR_MISMATCH;
    }
    engine->model = model;
    engine->arena = memory;
    return EM_OK;
}

em_status_t em_engine_invoke(em_engine_t *engine, const void *const inputs[],
                             void *const outputs[]) {
    if (engine == nullptr || inputs == nullptr || outputs == nullptr) {
        return EM_ERR_ARGUMENT;
    }
    if (engine->model == nullptr) {
        return EM_ERR_STATE;
    }
    const em_model_t *model = engine->model;
    tflite::MicroInterpreter *interpreter = interpreter_of(engine);
    for (uint32_t i = 0; i < model->n_inputs; i++) {
        std::memcpy(interpreter->input(i)->data.raw, inputs[i], tensor_bytes(model->inputs[i]));
    }
    if (interpreter->Invoke() != kTfLiteOk) {
        return EM_ERR_STATE;
    }
    for (uint32_t i = 0; i < model->n_outputs; i++) {
        std::memcpy(outputs[i], interpreter->output(i)->data.raw, tensor_bytes(model->outputs[i]));
    }
    return EM_OK;
}

/* The interpreter itself lives in the arena: it is built anew. */
em_status_t em_engine_clear(em_engine_t *engine) {
    const em_model_t *model = engine->model;
    std::memset(engine->arena, 0, model->arena_bytes);
    return em_engine_init(engine, model, engine->arena, model->arena_bytes);
}
