// Stand-in: an interpreter over one input and one output tensor that the test can spoil.
#pragma once
#include "tensorflow/lite/micro/micro_op_resolver.h"
#include "tensorflow/lite/schema/schema_generated.h"

enum TfLiteStatus { kTfLiteOk, kTfLiteError };
enum TfLiteType { kTfLiteFloat32 = 1, kTfLiteInt8 = 9 };
struct TfLiteIntArray {
    int size;
    int data[4];
};
struct TfLiteFloatArray {
    int size;
    float data[4];
};
struct TfLiteAffineQuantization {
    TfLiteFloatArray *scale;
    TfLiteIntArray *zero_point;
};
struct TfLiteTensor {
    TfLiteType type;
    TfLiteIntArray *dims;
    size_t bytes;
    struct {
        void *params;
    } quantization;
    struct {
        float scale;
        int zero_point;
    } params;
    struct {
        char *raw;
    } data;
};

struct Fake {
    TfLiteTensor in, out;
    size_t n_inputs = 1;
    TfLiteStatus allocate = kTfLiteOk, invoke = kTfLiteOk;
};
extern Fake fake;

namespace tflite {
class MicroInterpreter {
  public:
    MicroInterpreter(const Model *, const MicroOpResolver &, uint8_t *, size_t) {
    }
    TfLiteStatus initialization_status() const {
        return kTfLiteOk;
    }
    TfLiteStatus AllocateTensors() {
        return fake.allocate;
    }
    TfLiteStatus Invoke() {
        fake.out.data.raw[0] = static_cast<char>(fake.in.data.raw[0] + 1);
        return fake.invoke;
    }
    size_t inputs_size() const {
        return fake.n_inputs;
    }
    size_t outputs_size() const {
        return 1;
    }
    TfLiteTensor *input(size_t) {
        return &fake.in;
    }
    TfLiteTensor *output(size_t) {
        return &fake.out;
    }
};
} // namespace tflite
