#include "earmark/handover.h"

#include <string.h>

void em_handover_init(em_handover_t *h) {
    memset(h, 0, sizeof *h);
}

bool em_handover_put(em_handover_t *h, const em_detection_t *detection) {
    const uint32_t put = atomic_load_explicit(&h->n_put, memory_order_relaxed);
    if (put - atomic_load_explicit(&h->n_taken, memory_order_acquire) == EM_HANDOVER_DETECTIONS) {
        atomic_fetch_add(&h->n_lost, 1);
        return false;
    }
    h->detections[put % EM_HANDOVER_DETECTIONS] = *detection;
    atomic_store_explicit(&h->n_put, put + 1, memory_order_release);
    return true;
}

bool em_handover_take(em_handover_t *h, em_detection_t *detection) {
    const uint32_t taken = atomic_load_explicit(&h->n_taken, memory_order_relaxed);
    if (taken == atomic_load_explicit(&h->n_put, memory_order_acquire)) {
        return false;
    }
    *detection = h->detections[taken % EM_HANDOVER_DETECTIONS];
    atomic_store_explicit(&h->n_taken, taken + 1, memory_order_release);
    return true;
}

void em_handover_report(em_handover_t *h, const em_audio_status_t *status) {
    atomic_store(&h->noise_dbfs, status->noise_dbfs);
    atomic_store(&h->mic_flags, status->mic_flags);
    atomic_store(&h->overruns, status->overruns);
    atomic_store(&h->inference_p99_ms, status->inference_p99_ms);
    atomic_store(&h->stack_min_bytes, status->stack_min_bytes);
    atomic_store(&h->heard, status->heard);
    atomic_fetch_add(&h->n_reports, 1);
}

em_audio_status_t em_handover_status(const em_handover_t *h) {
    return (em_audio_status_t){
        .heard = atomic_load(&h->heard),
        .noise_dbfs = (int16_t)atomic_load(&h->noise_dbfs),
        .mic_flags = atomic_load(&h->mic_flags),
        .overruns = atomic_load(&h->overruns),
        .inference_p99_ms = atomic_load(&h->inference_p99_ms),
        .stack_min_bytes = atomic_load(&h->stack_min_bytes),
    };
}

uint32_t em_handover_lost(const em_handover_t *h) {
    return atomic_load(&h->n_lost);
}

void em_handover_set_threshold(em_handover_t *h, uint8_t label, uint16_t milli) {
    if (label < EM_HANDOVER_LABELS) {
        atomic_store(&h->threshold_milli[label], milli);
        atomic_fetch_add(&h->thresholds_version, 1);
    }
}

bool em_handover_self_test_wanted(const em_handover_t *h) {
    return atomic_load(&h->self_tests_asked) != atomic_load(&h->self_tests_done);
}

void em_handover_self_test_finish(em_handover_t *h, bool passed) {
    atomic_store(&h->self_test_passed, passed);
    atomic_store(&h->self_tests_done, atomic_load(&h->self_tests_asked));
}

void em_handover_ask_self_test(em_handover_t *h) {
    atomic_fetch_add(&h->self_tests_asked, 1);
}

bool em_handover_self_test_done(const em_handover_t *h, bool *passed) {
    *passed = atomic_load(&h->self_test_passed);
    return !em_handover_self_test_wanted(h);
}

void em_handover_set_muted(em_handover_t *h, bool muted) {
    atomic_store(&h->muted, muted);
}

bool em_handover_muted(const em_handover_t *h) {
    return atomic_load(&h->muted);
}
