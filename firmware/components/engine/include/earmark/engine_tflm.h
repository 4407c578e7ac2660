/* What `earmark compile` generates for the TensorFlow Lite Micro engine (C++ only). */
#ifndef EARMARK_ENGINE_TFLM_H
#define EARMARK_ENGINE_TFLM_H

#include "earmark/model.h"

#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/micro/micro_op_resolver.h"

constexpr size_t EM_TFLM_ALIGNMENT = 16;

constexpr size_t em_tflm_aligned(size_t n_bytes) {
    return (n_bytes + EM_TFLM_ALIGNMENT - 1) / EM_TFLM_ALIGNMENT * EM_TFLM_ALIGNMENT;
}

/* Interpreter and resolver stand before TFLM's own arena. */
constexpr size_t em_tflm_head_bytes(size_t resolver_bytes) {
    return em_tflm_aligned(sizeof(tflite::MicroInterpreter)) + em_tflm_aligned(resolver_bytes);
}

struct em_tflm_model {
    size_t resolver_bytes;
    /* Builds a resolver with exactly the operators of the application's own model in `memory`;
     * nullptr if one is refused. */
    const tflite::MicroOpResolver *(*create_resolver)(void *memory);
};

#endif
