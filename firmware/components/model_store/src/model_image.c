#include "earmark/model_image.h"

#include "earmark/engine.h"
#include "little_endian.h"

#include <stdbool.h>
#include <string.h>

enum { TENSOR_BYTES = 20, NAME_BYTES = 36, TFLITE_ALIGNMENT = 16 };
enum { MAX_ELEMENTS = 1 << 20, MAX_ARENA_BYTES = 1 << 22 }; /* beyond any ESP32 */

typedef struct {
    const uint8_t *bytes;
    uint32_t n_bytes;
} payload_t;

/* The range lies behind the header and inside the payload. */
static bool has(const payload_t *payload, uint32_t offset, uint32_t bytes, uint32_t alignment) {
    return offset >= EM_IMAGE_HEADER_BYTES && offset % alignment == 0 &&
           offset <= payload->n_bytes && bytes <= payload->n_bytes - offset;
}

static bool read_tensor(em_tensor_t *tensor, const uint8_t *bytes) {
    const uint32_t scale = em_u32(bytes);
    const uint16_t rank = em_u16(bytes + 6);
    *tensor = (em_tensor_t){.type = EM_TENSOR_INT8, .elements = 1};
    memcpy(&tensor->scale, &scale, sizeof scale);
    tensor->zero_point = (int16_t)em_u16(bytes + 4);
    if (rank > sizeof tensor->dims / sizeof tensor->dims[0]) {
        return false;
    }
    tensor->rank = (uint8_t)rank;
    for (uint16_t i = 0; i < rank; i++) {
        tensor->dims[i] = em_u16(bytes + 8 + 2 * i);
        if (tensor->dims[i] == 0 || tensor->elements > MAX_ELEMENTS / tensor->dims[i]) {
            return false;
        }
        tensor->elements *= tensor->dims[i];
    }
    return true;
}

static bool read_label(em_label_t *label, const payload_t *payload, const uint8_t *bytes) {
    const uint32_t classes = em_u32(bytes + 68);
    *label = (em_label_t){
        .name = (const char *)bytes,
        .n_classes = em_u16(bytes + 36),
        .on_permille = em_u16(bytes + 38),
        .off_permille = em_u16(bytes + 40),
        .min_permille = em_u16(bytes + 42),
        .max_permille = em_u16(bytes + 44),
        .alpha_q15 = em_u16(bytes + 46),
        .min_duration_ms = em_u32(bytes + 48),
        .refractory_ms = em_u32(bytes + 52),
        .update_ms = em_u32(bytes + 56),
        .flags = bytes[60],
        .cadence = bytes[61],
        .cadence_permille = em_u16(bytes + 62),
        .cadence_alone_permille = em_u16(bytes + 64),
        .gate_permille = em_u16(bytes + 66),
    };
    if (bytes[0] == '\0' || memchr(bytes, '\0', NAME_BYTES) == NULL) {
        return false;
    }
    if (classes != 0) {
        if (!has(payload, classes, label->n_classes * 2u, 2)) {
            return false;
        }
        label->classes = (const uint16_t *)(const void *)(payload->bytes + classes);
    }
    return true;
}

static void read_bundle(em_bundle_t *bundle, const uint8_t *bytes) {
    *bundle = (em_bundle_t){
        .sample_rate_hz = em_u32(bytes + 4),
        .hop_length = em_u16(bytes + 8),
        .n_features = em_u16(bytes + 10),
        .context_frames = em_u16(bytes + 12),
        .hop_frames = em_u16(bytes + 14),
        .detector =
            {
                .n_labels = em_u16(bytes + 16),
                .n_scores = em_u16(bytes + 18),
                .inference_period_us = em_u32(bytes + 20),
                .cadence =
                    {
                        .row_period_us = em_u32(bytes + 24),
                        .n_features = em_u16(bytes + 28),
                        .min_contrast = bytes[30],
                        .clip_steps = bytes[31],
                    },
            },
    };
}

static bool read_labels(em_image_model_t *model, const payload_t *payload) {
    const uint32_t offset = em_u32(payload->bytes + 92);
    const uint16_t n_labels = model->bundle.detector.n_labels;
    if (n_labels == 0 || n_labels > EM_IMAGE_MAX_LABELS ||
        !has(payload, offset, (uint32_t)n_labels * EM_IMAGE_LABEL_BYTES, 4)) {
        return false;
    }
    for (uint16_t i = 0; i < n_labels; i++) {
        const uint8_t *record = payload->bytes + offset + (uint32_t)i * EM_IMAGE_LABEL_BYTES;
        if (!read_label(&model->labels[i], payload, record)) {
            return false;
        }
    }
    model->bundle.detector.labels = model->labels;
    return true;
}

static bool read_network(em_image_model_t *model, const payload_t *payload,
                         const em_tflm_model_t *operators) {
    const uint8_t *header = payload->bytes;
    const uint32_t arena_bytes = em_u32(header + 72);
    const uint32_t tflite = em_u32(header + 76), tflite_bytes = em_u32(header + 80);
    const uint32_t golden = em_u32(header + 84);
    if (!read_tensor(&model->input, header + 32) ||
        !read_tensor(&model->output, header + 32 + TENSOR_BYTES) || tflite_bytes == 0 ||
        arena_bytes > MAX_ARENA_BYTES || !has(payload, tflite, tflite_bytes, TFLITE_ALIGNMENT) ||
        !has(payload, golden, model->input.elements + model->output.elements, 1)) {
        return false;
    }
    model->golden_inputs[0] = header + golden;
    model->golden_outputs[0] = header + golden + model->input.elements;
    model->golden = (em_golden_t){.inputs = model->golden_inputs,
                                  .outputs = model->golden_outputs,
                                  .crc32 = em_u32(header + 88)};
    memcpy(model->weights_sha256, header + 96, sizeof model->weights_sha256 - 1);
    model->model = (em_model_t){
        .name = model->version,
        .weights_sha256 = model->weights_sha256,
        .arena_bytes = em_engine_arena_bytes(operators, arena_bytes),
        .n_inputs = 1,
        .n_outputs = 1,
        .inputs = &model->input,
        .outputs = &model->output,
        .golden = &model->golden,
        .tflm = operators,
        .tflite = header + tflite,
        .tflite_bytes = tflite_bytes,
    };
    return true;
}

em_status_t em_model_image_open(em_image_model_t *model, const uint8_t *payload, uint32_t n_bytes,
                                const char *front_end_hash, const char *version,
                                const em_tflm_model_t *operators) {
    const payload_t range = {payload, n_bytes};
    memset(model, 0, sizeof *model);
    if ((uintptr_t)payload % TFLITE_ALIGNMENT != 0 || strlen(version) > EM_IMAGE_VERSION_CHARS ||
        strlen(front_end_hash) != EM_IMAGE_HASH_CHARS) {
        return EM_ERR_ARGUMENT;
    }
    if (n_bytes < EM_IMAGE_HEADER_BYTES || memcmp(payload, "EMP1", 4) != 0) {
        return EM_ERR_FORMAT;
    }
    read_bundle(&model->bundle, payload);
    memcpy(model->version, version, strlen(version));
    memcpy(model->front_end_hash, front_end_hash, EM_IMAGE_HASH_CHARS);
    model->bundle.model_version = model->version;
    model->bundle.frontend_hash = model->front_end_hash;
    return read_labels(model, &range) && read_network(model, &range, operators) ? EM_OK
                                                                                : EM_ERR_FORMAT;
}
