#include "earmark/listener.h"

#include <string.h>

em_status_t em_listener_init(em_listener_t *l, const em_bundle_t *bundle,
                             const em_frontend_tables_t *tables, const em_model_t *model,
                             void *memory, size_t bytes, em_handover_t *handover) {
    memset(l, 0, sizeof *l);
    if (bundle->detector.n_labels > EM_HANDOVER_LABELS) {
        return EM_ERR_SIZE;
    }
    l->bundle = bundle;
    l->handover = handover;
    em_mic_monitor_init(&l->mic, bundle->sample_rate_hz);
    return em_pipeline_init(&l->pipeline, bundle, tables, model, memory, bytes);
}

static void apply_thresholds(em_listener_t *l) {
    const uint32_t version = atomic_load(&l->handover->thresholds_version);
    if (version == l->thresholds_version) {
        return;
    }
    l->thresholds_version = version;
    for (uint16_t i = 0; i < l->bundle->detector.n_labels; i++) {
        const uint16_t milli = atomic_load(&l->handover->threshold_milli[i]);
        if (milli != 0) {
            /* Bounds were checked by the command; the detector checks them again. */
            (void)em_detector_set_threshold(em_pipeline_detector(l->pipeline), i, milli);
        }
    }
}

static void deliver(em_listener_t *l) {
    em_event_t event;
    while (em_pipeline_pop(l->pipeline, &event)) {
        const em_detection_t detection = {
            .at_ms = event.at_us / 1000,
            .onset_ms = event.onset_us / 1000,
            .episode = event.id,
            .dur_ms = event.dur_ms,
            .conf_milli = event.conf_permille,
            .thr_milli = event.thr_permille,
            .label = (uint8_t)event.label,
            .phase = event.phase,
        };
        (void)em_handover_put(l->handover, &detection); /* a refusal is counted there */
    }
}

uint32_t em_listener_inference_p99_ms(const em_listener_t *l) {
    uint64_t total = 0, seen = 0;
    for (int i = 0; i < EM_LISTENER_BUCKETS; i++) {
        total += l->inference_buckets[i];
    }
    for (int i = EM_LISTENER_BUCKETS; i-- > 0;) {
        seen += l->inference_buckets[i];
        if (seen * 100 > total) {
            return (uint32_t)(i + 1) * EM_LISTENER_BUCKET_MS;
        }
    }
    return 0;
}

/* Overwrites every trace of audio once; time goes on. */
static void stay_mute(em_listener_t *l, size_t n_samples) {
    if (!l->muted) {
        l->muted = true;
        em_pipeline_clear(l->pipeline);
        deliver(l); /* the ends of what was active */
        em_mic_monitor_init(&l->mic, l->bundle->sample_rate_hz);
        l->status.heard = false;
        l->status.mic_flags = 0;
        em_handover_report(l->handover, &l->status);
    }
    em_pipeline_gap(l->pipeline, n_samples);
}

static void record_inference(em_listener_t *l, uint64_t elapsed_us) {
    uint64_t bucket = elapsed_us / 1000 / EM_LISTENER_BUCKET_MS;
    bucket = bucket < EM_LISTENER_BUCKETS ? bucket : EM_LISTENER_BUCKETS - 1;
    l->inference_buckets[bucket]++;
}

em_status_t em_listener_process(em_listener_t *l, const int16_t *pcm, size_t n_samples) {
    apply_thresholds(l);
    if (em_handover_muted(l->handover)) {
        stay_mute(l, n_samples);
        return EM_OK;
    }
    l->muted = false;
    if (em_handover_self_test_wanted(l->handover)) {
        /* Between two chunks: the arena is free, the window of rows is not touched. */
        em_handover_self_test_finish(l->handover, em_pipeline_self_test(l->pipeline) == EM_OK);
    }
    const uint64_t start_us = l->now_us ? l->now_us(l->context) : 0;
    const uint32_t inferences = em_pipeline_inferences(l->pipeline);
    const em_status_t status = em_pipeline_process(l->pipeline, pcm, n_samples);
    if (l->now_us && em_pipeline_inferences(l->pipeline) != inferences) {
        record_inference(l, l->now_us(l->context) - start_us);
    }
    deliver(l);
    if (em_mic_monitor_process(&l->mic, pcm, n_samples)) {
        l->status.heard = l->mic.heard;
        l->status.mic_flags = l->mic.flags;
        l->status.noise_dbfs = em_mic_monitor_noise_dbfs(&l->mic);
        l->status.inference_p99_ms = em_listener_inference_p99_ms(l);
        em_handover_report(l->handover, &l->status);
    }
    return status;
}

void em_listener_gap(em_listener_t *l, uint64_t n_samples) {
    em_pipeline_gap(l->pipeline, n_samples);
    deliver(l);
}
