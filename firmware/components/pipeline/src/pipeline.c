#include "earmark/pipeline.h"

#include <string.h>

#define ALIGN 16u

struct em_pipeline {
    const em_bundle_t *bundle;
    em_frontend_t *frontend;
    em_detector_t *detector;
    em_engine_t engine;
    uint64_t samples; /* heard and lost since start */
    uint32_t inferences;
    uint16_t rows;  /* in the window */
    int8_t *window; /* [context_frames][n_features], oldest first */
    int8_t *scores; /* [n_scores] */
};

static size_t aligned(size_t bytes) {
    return (bytes + ALIGN - 1u) & ~(size_t)(ALIGN - 1u);
}

static size_t window_bytes(const em_bundle_t *bundle) {
    return (size_t)bundle->context_frames * bundle->n_features;
}

size_t em_pipeline_needed_bytes(const em_bundle_t *bundle, const em_frontend_tables_t *tables,
                                const em_model_t *model) {
    if (bundle == NULL || tables == NULL || model == NULL) {
        return 0u;
    }
    const size_t frontend = em_frontend_needed_bytes(tables);
    const size_t detector = em_detector_needed_bytes(&bundle->detector);
    if (frontend == 0u || detector == 0u) {
        return 0u;
    }
    return aligned(sizeof(em_pipeline_t)) + aligned(frontend) + aligned(detector) +
           aligned(window_bytes(bundle)) + aligned(bundle->detector.n_scores) +
           aligned(model->arena_bytes);
}

static int belongs_together(const em_bundle_t *bundle, const em_frontend_tables_t *tables,
                            const em_model_t *model) {
    const em_tensor_t *in = model->inputs, *out = model->outputs;
    if (bundle->sample_rate_hz == 0u) {
        return 0;
    }
    const uint32_t row_us = bundle->hop_length * 1000000u / bundle->sample_rate_hz;
    return bundle->frontend_hash != NULL && bundle->hop_frames > 0u &&
           bundle->hop_frames <= bundle->context_frames &&
           strcmp(bundle->frontend_hash, tables->hash_hex) == 0 &&
           bundle->sample_rate_hz == tables->sample_rate_hz &&
           bundle->n_features == tables->n_features && bundle->hop_length == tables->hop_length &&
           model->n_inputs == 1u && model->n_outputs == 1u && in->type == EM_TENSOR_INT8 &&
           in->elements == window_bytes(bundle) && in->zero_point == tables->output_zero_point &&
           in->scale == tables->output_scale && out->type == EM_TENSOR_INT8 &&
           out->elements == bundle->detector.n_scores && out->zero_point == -128 &&
           out->scale == 1.0f / 256.0f &&
           bundle->detector.inference_period_us == row_us * bundle->hop_frames &&
           (bundle->detector.cadence.n_features == 0u ||
            bundle->detector.cadence.n_features == bundle->n_features);
}

em_status_t em_pipeline_init(em_pipeline_t **pipeline, const em_bundle_t *bundle,
                             const em_frontend_tables_t *tables, const em_model_t *model,
                             void *memory, size_t bytes) {
    const size_t needed = em_pipeline_needed_bytes(bundle, tables, model);
    if (pipeline == NULL || memory == NULL || needed == 0u) {
        return EM_ERR_ARGUMENT;
    }
    if (bytes < needed || (uintptr_t)memory % ALIGN != 0u) {
        return EM_ERR_SIZE;
    }
    if (!belongs_together(bundle, tables, model)) {
        return EM_ERR_MISMATCH;
    }
    uint8_t *next = memory;
    em_pipeline_t *self = memory;
    memset(memory, 0, needed);
    self->bundle = bundle;
    next += aligned(sizeof *self);
    em_status_t status =
        em_frontend_init(&self->frontend, tables, next, em_frontend_needed_bytes(tables));
    if (status != EM_OK) {
        return status;
    }
    next += aligned(em_frontend_needed_bytes(tables));
    const size_t detector_bytes = em_detector_needed_bytes(&bundle->detector);
    status = em_detector_init(&self->detector, &bundle->detector, next, detector_bytes);
    if (status != EM_OK) {
        return status;
    }
    next += aligned(detector_bytes);
    self->window = (int8_t *)next;
    next += aligned(window_bytes(bundle));
    self->scores = (int8_t *)next;
    memset(self->scores, INT8_MIN, bundle->detector.n_scores);
    next += aligned(bundle->detector.n_scores);
    *pipeline = self;
    return em_engine_init(&self->engine, model, next, model->arena_bytes);
}

uint64_t em_pipeline_now_us(const em_pipeline_t *pipeline) {
    return pipeline->samples * 1000000u / pipeline->bundle->sample_rate_hz;
}

static em_status_t infer(em_pipeline_t *self) {
    const em_bundle_t *bundle = self->bundle;
    const void *const inputs[] = {self->window};
    void *const outputs[] = {self->scores};
    const em_status_t status = em_engine_invoke(&self->engine, inputs, outputs);
    if (status != EM_OK) {
        return status;
    }
    ++self->inferences;
    const size_t hop_bytes = (size_t)bundle->hop_frames * bundle->n_features;
    self->rows = (uint16_t)(bundle->context_frames - bundle->hop_frames);
    memmove(self->window, self->window + hop_bytes, window_bytes(bundle) - hop_bytes);
    return em_detector_scores(self->detector, self->scores, em_pipeline_now_us(self));
}

em_status_t em_pipeline_process(em_pipeline_t *pipeline, const int16_t *pcm, size_t n_samples) {
    if (pipeline == NULL || (pcm == NULL && n_samples > 0u)) {
        return EM_ERR_ARGUMENT;
    }
    while (n_samples > 0u) {
        int8_t *row = pipeline->window + (size_t)pipeline->rows * pipeline->bundle->n_features;
        size_t consumed = 0u;
        int row_ready = 0;
        em_status_t status =
            em_frontend_process(pipeline->frontend, pcm, n_samples, &consumed, row, &row_ready);
        pcm += consumed;
        n_samples -= consumed;
        pipeline->samples += consumed;
        if (status == EM_OK && row_ready != 0) {
            status = em_detector_row(pipeline->detector, row, em_pipeline_now_us(pipeline));
            ++pipeline->rows;
            if (status == EM_OK && pipeline->rows == pipeline->bundle->context_frames) {
                status = infer(pipeline);
            }
        }
        if (status != EM_OK) {
            return status;
        }
    }
    return EM_OK;
}

void em_pipeline_gap(em_pipeline_t *pipeline, uint64_t n_samples) {
    const em_bundle_t *bundle = pipeline->bundle;
    pipeline->samples += n_samples;
    if (n_samples > (uint64_t)bundle->context_frames * bundle->hop_length) {
        em_frontend_reset(pipeline->frontend);
        pipeline->rows = 0u;
    }
}

int em_pipeline_pop(em_pipeline_t *pipeline, em_event_t *event) {
    return em_detector_pop(pipeline->detector, event);
}

void em_pipeline_clear(em_pipeline_t *pipeline) {
    em_frontend_reset(pipeline->frontend);
    em_detector_reset(pipeline->detector, em_pipeline_now_us(pipeline));
    memset(pipeline->window, 0, window_bytes(pipeline->bundle));
    memset(pipeline->scores, INT8_MIN, pipeline->bundle->detector.n_scores);
    (void)em_engine_clear(&pipeline->engine); /* it succeeded at start, in the same arena */
    pipeline->rows = 0u;
}

uint32_t em_pipeline_inferences(const em_pipeline_t *pipeline) {
    return pipeline->inferences;
}

const int8_t *em_pipeline_scores(const em_pipeline_t *pipeline) {
    return pipeline->scores;
}

em_detector_t *em_pipeline_detector(em_pipeline_t *pipeline) {
    return pipeline->detector;
}

em_status_t em_pipeline_self_test(em_pipeline_t *pipeline) {
    const em_status_t status = em_engine_self_test(&pipeline->engine, pipeline->scores,
                                                   pipeline->bundle->detector.n_scores);
    memset(pipeline->scores, INT8_MIN, pipeline->bundle->detector.n_scores);
    return status;
}
