/* PCM in, events out: front end -> window of rows -> engine every hop_frames rows -> detector.
 * The same code runs in the simulator, in the evaluation on the workstation and on the device. */
#ifndef EARMARK_PIPELINE_H
#define EARMARK_PIPELINE_H

#include "earmark/bundle.h"
#include "earmark/engine.h"
#include "earmark/frontend.h"

typedef struct em_pipeline em_pipeline_t;

/* Includes the model's arena; 0 when the parts are missing or out of range. */
size_t em_pipeline_needed_bytes(const em_bundle_t *bundle, const em_frontend_tables_t *tables,
                                const em_model_t *model);

/* memory: 16-byte aligned, owned by the caller; the parts must outlive it.
 * EM_ERR_MISMATCH: front-end hash, window shape, scores or quantisation do not belong together. */
em_status_t em_pipeline_init(em_pipeline_t **pipeline, const em_bundle_t *bundle,
                             const em_frontend_tables_t *tables, const em_model_t *model,
                             void *memory, size_t bytes);

/* Any number of samples. Takes the time of one inference for every hop_frames rows inside. */
em_status_t em_pipeline_process(em_pipeline_t *pipeline, const int16_t *pcm, size_t n_samples);

/* Samples that were lost: time moves on. After more than one window the context starts anew. */
void em_pipeline_gap(em_pipeline_t *pipeline, uint64_t n_samples);

/* Oldest undelivered event: 1, or 0 when there is none. */
int em_pipeline_pop(em_pipeline_t *pipeline, em_event_t *event);

/* Mute: overwrites every trace of audio with zeros; active events get their end. */
void em_pipeline_clear(em_pipeline_t *pipeline);

uint64_t em_pipeline_now_us(const em_pipeline_t *pipeline);
uint32_t em_pipeline_inferences(const em_pipeline_t *pipeline);
/* Scores of the newest inference, detector.n_scores values (-128 before the first). */
const int8_t *em_pipeline_scores(const em_pipeline_t *pipeline);
em_detector_t *em_pipeline_detector(em_pipeline_t *pipeline);

/* Reproduces the model's golden vector in the pipeline's own arena. Call before any audio. */
em_status_t em_pipeline_self_test(em_pipeline_t *pipeline);

#endif
