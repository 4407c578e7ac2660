/* The audio side in one call per chunk: microphone monitor, pipeline, and nothing out of it but
 * what the handover takes. Owned by the classify task. */
#ifndef EARMARK_LISTENER_H
#define EARMARK_LISTENER_H

#include "earmark/handover.h"
#include "earmark/mic_monitor.h"
#include "earmark/pipeline.h"

enum { EM_LISTENER_BUCKETS = 64, EM_LISTENER_BUCKET_MS = 8 };

typedef struct {
    const em_bundle_t *bundle;
    em_pipeline_t *pipeline;
    em_handover_t *handover;
    em_mic_monitor_t mic;
    uint64_t (*now_us)(void *context); /* for the time of an inference; NULL: not measured */
    void *context;
    uint32_t inference_buckets[EM_LISTENER_BUCKETS]; /* histogram of inference times */
    uint32_t thresholds_version;
    bool muted;
    em_audio_status_t status; /* filled for the handover; overruns and stack by the caller */
} em_listener_t;

/* memory as for em_pipeline_init. */
em_status_t em_listener_init(em_listener_t *listener, const em_bundle_t *bundle,
                             const em_frontend_tables_t *tables, const em_model_t *model,
                             void *memory, size_t bytes, em_handover_t *handover);
em_status_t em_listener_process(em_listener_t *listener, const int16_t *pcm, size_t n_samples);
void em_listener_gap(em_listener_t *listener, uint64_t n_samples);
uint32_t em_listener_inference_p99_ms(const em_listener_t *listener);

#endif
