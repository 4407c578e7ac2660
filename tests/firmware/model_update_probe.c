/* The device's side of a model update, with SHA-256 and ECDSA called back in Python; linked with
 * the C of a bundle, to which an image of the same bundle is compared field by field. */
#include "earmark/model_boot.h"
#include "host_flash.h"
#include "host_kv.h"

#include <string.h>

extern const em_bundle_t em_bundle;
extern const em_model_t em_model;

enum { SLOT_SECTORS = 64 };

struct em_tflm_model {
    int unused;
};
static const em_tflm_model_t OPERATORS;
static host_flash_t s_flash;
static em_flash_t s_flash_port;
static host_kv_t s_kv;
static em_crypto_t s_crypto;
static em_model_store_t s_store;
static em_image_model_t s_image;
static int s_difference;

uint32_t em_engine_arena_bytes(const em_tflm_model_t *operators, uint32_t tensor_arena_bytes) {
    return operators == &OPERATORS ? tensor_arena_bytes : 0;
}

#define SAME(what)                                                                                 \
    if (!(what)) {                                                                                 \
        return __LINE__;                                                                           \
    }

static int compare_tensor(const em_tensor_t *a, const em_tensor_t *b) {
    SAME(a->type == b->type && a->elements == b->elements && a->rank == b->rank)
    SAME(memcmp(a->dims, b->dims, a->rank * sizeof a->dims[0]) == 0)
    SAME(a->scale == b->scale && a->zero_point == b->zero_point)
    return 0;
}

static int compare_label(const em_label_t *a, const em_label_t *b) {
    SAME(strcmp(a->name, b->name) == 0 && a->n_classes == b->n_classes)
    SAME((a->classes == NULL) == (b->classes == NULL))
    SAME(a->classes == NULL || memcmp(a->classes, b->classes, a->n_classes * 2u) == 0)
    SAME(a->on_permille == b->on_permille && a->off_permille == b->off_permille)
    SAME(a->min_permille == b->min_permille && a->max_permille == b->max_permille)
    SAME(a->alpha_q15 == b->alpha_q15 && a->min_duration_ms == b->min_duration_ms)
    SAME(a->refractory_ms == b->refractory_ms && a->update_ms == b->update_ms)
    SAME(a->flags == b->flags && a->cadence == b->cadence)
    SAME(a->cadence_permille == b->cadence_permille && a->gate_permille == b->gate_permille)
    SAME(a->cadence_alone_permille == b->cadence_alone_permille)
    return 0;
}

static int compare(const em_bundle_t *a, const em_model_t *m) {
    const em_bundle_t *b = &em_bundle;
    SAME(strcmp(a->model_version, b->model_version) == 0)
    SAME(strcmp(a->frontend_hash, b->frontend_hash) == 0)
    SAME(a->sample_rate_hz == b->sample_rate_hz && a->hop_length == b->hop_length)
    SAME(a->n_features == b->n_features && a->context_frames == b->context_frames)
    SAME(a->hop_frames == b->hop_frames && a->detector.n_labels == b->detector.n_labels)
    SAME(a->detector.n_scores == b->detector.n_scores)
    SAME(a->detector.inference_period_us == b->detector.inference_period_us)
    SAME(a->detector.cadence.row_period_us == b->detector.cadence.row_period_us)
    SAME(a->detector.cadence.n_features == b->detector.cadence.n_features)
    SAME(a->detector.cadence.min_contrast == b->detector.cadence.min_contrast)
    SAME(a->detector.cadence.clip_steps == b->detector.cadence.clip_steps)
    for (uint16_t i = 0; i < b->detector.n_labels; i++) {
        const int line = compare_label(&a->detector.labels[i], &b->detector.labels[i]);
        SAME(line == 0)
    }
    SAME(compare_tensor(m->inputs, em_model.inputs) == 0)
    SAME(compare_tensor(m->outputs, em_model.outputs) == 0)
    SAME(strcmp(m->weights_sha256, em_model.weights_sha256) == 0)
    SAME(m->golden->crc32 == em_model.golden->crc32)
    SAME(memcmp(m->golden->inputs[0], em_model.golden->inputs[0], m->inputs->elements) == 0)
    SAME(memcmp(m->golden->outputs[0], em_model.golden->outputs[0], m->outputs->elements) == 0)
    SAME(m->tflm == &OPERATORS && (uintptr_t)m->tflite % 16 == 0)
    return 0;
}

static const uint8_t *map(void *context, const em_bundle_image_t *image) {
    (void)context;
    return s_flash.bytes + image->payload_offset;
}

static void unmap(void *context) {
    (void)context;
}

static em_status_t start(void *context, const em_bundle_t *bundle, const em_model_t *model) {
    (void)context;
    s_difference = model == &em_model ? 0 : compare(bundle, model);
    return s_difference == 0 ? EM_OK : EM_ERR_SELF_TEST;
}

/* An empty device whose application carries em_bundle. */
int probe_open(void (*begin)(void *), void (*update)(void *, const void *, size_t),
               void (*end)(void *, uint8_t *),
               bool (*verify)(void *, const uint8_t *, const uint8_t *)) {
    const em_model_needs_t needs = em_model_needs(&em_bundle);
    s_crypto = (em_crypto_t){
        .sha256_begin = begin, .sha256_update = update, .sha256_end = end, .verify = verify};
    if (s_flash.bytes != NULL) {
        host_flash_close(&s_flash);
    }
    if (host_flash_open(&s_flash, 2 * SLOT_SECTORS) != EM_OK) {
        return EM_ERR_SIZE;
    }
    s_flash_port = host_flash_port(&s_flash);
    host_kv_open(&s_kv);
    const em_kv_t kv = host_kv_port(&s_kv);
    em_model_store_init(&s_store, &s_flash_port, &kv, &s_crypto, &needs);
    return EM_OK;
}

int probe_install(const uint8_t *image, uint32_t n_bytes) {
    em_status_t status = em_model_store_begin(&s_store);
    if (status == EM_OK) {
        status = em_model_store_write(&s_store, image, n_bytes);
    }
    return status == EM_OK ? em_model_store_finish(&s_store) : status;
}

/* 0: the application's own model runs; 1: that of a slot; -line: what differs from em_bundle. */
int probe_boot(const uint8_t **tflite, uint32_t *tflite_bytes) {
    em_model_t own = em_model;
    const em_bundle_t *used;
    own.tflm = &OPERATORS;
    const em_model_boot_t boot = {.store = &s_store,
                                  .bundle = &em_bundle,
                                  .model = &own,
                                  .map = map,
                                  .unmap = unmap,
                                  .start = start};
    (void)em_model_boot(&boot, &s_image, &used);
    *tflite = s_image.model.tflite;
    *tflite_bytes = s_image.model.tflite_bytes;
    return s_difference != 0 ? -s_difference : used == &s_image.bundle;
}
