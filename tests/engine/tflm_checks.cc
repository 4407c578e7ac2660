// Every check of engine_tflm.cc's load, each with one thing spoiled. Exit status: the failing case.
#include "earmark/engine_tflm.h"

extern "C" {
#include "earmark/engine.h"
}

#include "tensorflow/lite/schema/schema_generated.h"

#include <functional>
#include <vector>

Fake fake;

namespace {

TfLiteIntArray dims, zero_point;
TfLiteFloatArray scale;
TfLiteAffineQuantization quantisation{&scale, &zero_point};
char in_byte, out_byte;
tflite::Model flatbuffer;
tflite::MicroOpResolver resolver;
bool resolver_fails;

const tflite::MicroOpResolver *create(void *) {
    return resolver_fails ? nullptr : &resolver;
}

void reset() {
    dims = {2, {1, 1}};
    scale = {1, {0.5f}};
    zero_point = {1, {-3}};
    const TfLiteTensor good{kTfLiteInt8, &dims, 1, {&quantisation}, {0.5f, -3}, {nullptr}};
    fake = Fake{};
    fake.in = fake.out = good;
    fake.in.data.raw = &in_byte;
    fake.out.data.raw = &out_byte;
    flatbuffer = {3, {1}};
    resolver_fails = false;
}

} // namespace

int main() {
    const em_tensor_t tensor{EM_TENSOR_INT8, 1, 2, {1, 1}, 0.5f, -3};
    const em_tflm_model tflm{sizeof(tflite::MicroOpResolver), create};
    em_model_t model{};
    model.arena_bytes = em_engine_arena_bytes(&tflm, 64);
    model.n_inputs = model.n_outputs = 1;
    model.inputs = model.outputs = &tensor;
    model.tflm = &tflm;
    model.tflite = reinterpret_cast<const uint8_t *>(&flatbuffer);
    model.tflite_bytes = 8;
    alignas(16) static uint8_t arena[256];

    struct Case {
        em_status_t expected;
        std::function<void()> spoil;
    };
    TfLiteIntArray other{2, {1, 2}};
    const std::vector<Case> cases{
        {EM_OK, [] {}},
        {EM_ERR_FORMAT, [] { flatbuffer.schema_version = 4; }},
        {EM_ERR_FORMAT, [] { flatbuffer.graphs.n = 2; }},
        {EM_ERR_MISMATCH, [] { resolver_fails = true; }},
        {EM_ERR_SIZE, [] { fake.allocate = kTfLiteError; }},
        {EM_ERR_MISMATCH, [] { fake.n_inputs = 2; }},
        {EM_ERR_MISMATCH, [] { fake.in.type = kTfLiteFloat32; }},
        {EM_ERR_MISMATCH, [] { fake.out.bytes = 2; }},
        {EM_ERR_MISMATCH, [&] { fake.in.dims = &other; }},
        {EM_ERR_MISMATCH, [] { scale.size = 2; }},
        {EM_ERR_MISMATCH, [] { zero_point.size = 2; }},
        {EM_ERR_MISMATCH, [] { fake.in.quantization.params = nullptr; }},
        {EM_ERR_MISMATCH, [] { fake.out.params.scale = 0.25f; }},
        {EM_ERR_MISMATCH, [] { fake.out.params.zero_point = 0; }},
    };
    em_engine_t engine{};
    for (size_t i = 0; i < cases.size(); i++) {
        reset();
        cases[i].spoil();
        engine = {};
        if (em_engine_init(&engine, &model, arena, sizeof arena) != cases[i].expected) {
            return static_cast<int>(i) + 1;
        }
    }
    reset();
    if (em_engine_init(&engine, &model, arena, model.arena_bytes - 1) != EM_ERR_SIZE ||
        em_engine_init(&engine, &model, arena + 1, sizeof arena - 1) != EM_ERR_SIZE ||
        em_engine_init(&engine, &model, arena, sizeof arena) != EM_OK) {
        return 100;
    }
    const char given = 41;
    char got = 0;
    const void *const inputs[] = {&given};
    void *const outputs[] = {&got};
    if (em_engine_invoke(&engine, inputs, outputs) != EM_OK || got != 42) {
        return 101;
    }
    // Mute overwrites the arena, interpreter included: the engine must still run afterwards.
    if (em_engine_clear(&engine) != EM_OK || em_engine_invoke(&engine, inputs, outputs) != EM_OK ||
        got != 42) {
        return 103;
    }
    fake.invoke = kTfLiteError;
    return em_engine_invoke(&engine, inputs, outputs) == EM_ERR_STATE ? 0 : 102;
}
