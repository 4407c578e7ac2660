/* The listener over a stand-in pipeline: mute, thresholds, self-test, timing, gaps. */
#include "check.h"
#include "earmark/listener.h"

struct em_pipeline {
    uint8_t audio[64]; /* stands for windows and arenas */
    uint64_t gap;
    uint32_t inferences, n_events;
    em_status_t self_test;
};

static struct em_pipeline pipeline;
static uint16_t threshold_set;
static uint64_t fake_us;

em_status_t em_pipeline_init(em_pipeline_t **out, const em_bundle_t *bundle,
                             const em_frontend_tables_t *tables, const em_model_t *model,
                             void *memory, size_t bytes) {
    (void)bundle, (void)tables, (void)model, (void)memory, (void)bytes;
    memset(&pipeline, 0, sizeof pipeline);
    *out = &pipeline;
    return EM_OK;
}

em_status_t em_pipeline_process(em_pipeline_t *p, const int16_t *pcm, size_t n_samples) {
    memcpy(p->audio, pcm, n_samples * 2 < sizeof p->audio ? n_samples * 2 : sizeof p->audio);
    p->inferences++;
    p->n_events = 1;
    fake_us += 50000;
    return EM_OK;
}

void em_pipeline_gap(em_pipeline_t *p, uint64_t n_samples) {
    p->gap += n_samples;
}

int em_pipeline_pop(em_pipeline_t *p, em_event_t *event) {
    *event = (em_event_t){.at_us = 2500000,
                          .onset_us = 1000000,
                          .id = 3,
                          .dur_ms = 700,
                          .label = 1,
                          .conf_permille = 900,
                          .thr_permille = 800,
                          .phase = EM_PHASE_END};
    return p->n_events > 0 ? (int)p->n_events-- : 0;
}

void em_pipeline_clear(em_pipeline_t *p) {
    memset(p->audio, 0, sizeof p->audio);
}

uint32_t em_pipeline_inferences(const em_pipeline_t *p) {
    return p->inferences;
}

em_detector_t *em_pipeline_detector(em_pipeline_t *p) {
    return (em_detector_t *)p;
}

em_status_t em_pipeline_self_test(em_pipeline_t *p) {
    return p->self_test;
}

em_status_t em_detector_set_threshold(em_detector_t *detector, uint16_t label, uint16_t permille) {
    (void)detector;
    threshold_set = label == 1 ? permille : threshold_set;
    return EM_OK;
}

static uint64_t now_us(void *context) {
    (void)context;
    return fake_us;
}

enum { SECOND = 16000 };
static em_listener_t listener;
static em_handover_t handover;
static em_bundle_t bundle = {.sample_rate_hz = SECOND, .detector = {.n_labels = 2}};
static int16_t pcm[SECOND];

static void begin(void) {
    em_handover_init(&handover);
    CHECK_EQUAL(em_listener_init(&listener, &bundle, NULL, NULL, NULL, 0, &handover), EM_OK);
    listener.now_us = now_us;
    for (int i = 0; i < SECOND; i++) {
        pcm[i] = (int16_t)(i % 200 - 100);
    }
}

static void test_detections_and_status_pass_the_handover(void) {
    em_detection_t detection;
    begin();
    CHECK_EQUAL(em_listener_process(&listener, pcm, SECOND), EM_OK);
    CHECK(em_handover_take(&handover, &detection));
    CHECK_EQUAL(detection.at_ms, 2500);
    CHECK_EQUAL(detection.onset_ms, 1000);
    CHECK_EQUAL(detection.episode, 3);
    CHECK_EQUAL(detection.phase, 3);
    const em_audio_status_t status = em_handover_status(&handover);
    CHECK(status.heard);
    CHECK_EQUAL(status.mic_flags, 0);
    CHECK_EQUAL(status.inference_p99_ms, 56); /* 50 ms, in steps of 8 */
    em_listener_gap(&listener, 100);
    CHECK_EQUAL(pipeline.gap, 100);
}

static void test_mute_overwrites_audio_and_hears_nothing(void) {
    static const uint8_t zeros[sizeof pipeline.audio];
    em_detection_t detection;
    begin();
    CHECK_EQUAL(em_listener_process(&listener, pcm, SECOND), EM_OK);
    CHECK(memcmp(pipeline.audio, zeros, sizeof zeros) != 0);
    while (em_handover_take(&handover, &detection)) {
    }
    em_handover_set_muted(&handover, true);
    for (int i = 0; i < 3; i++) {
        CHECK_EQUAL(em_listener_process(&listener, pcm, SECOND), EM_OK);
    }
    CHECK(memcmp(pipeline.audio, zeros, sizeof zeros) == 0);
    CHECK_EQUAL(listener.mic.sum_squares, 0);
    CHECK(!em_handover_take(&handover, &detection));
    CHECK(!em_handover_status(&handover).heard);
    CHECK_EQUAL(pipeline.gap, 3 * SECOND); /* time goes on */
    em_handover_set_muted(&handover, false);
    CHECK_EQUAL(em_listener_process(&listener, pcm, SECOND), EM_OK);
    CHECK(em_handover_take(&handover, &detection));
}

static void test_thresholds_and_self_test_reach_the_pipeline(void) {
    bool passed;
    begin();
    em_handover_set_threshold(&handover, 1, 640);
    em_handover_ask_self_test(&handover);
    CHECK_EQUAL(em_listener_process(&listener, pcm, 10), EM_OK);
    CHECK_EQUAL(threshold_set, 640);
    CHECK(em_handover_self_test_done(&handover, &passed) && passed);
    pipeline.self_test = EM_ERR_SELF_TEST;
    em_handover_ask_self_test(&handover);
    CHECK_EQUAL(em_listener_process(&listener, pcm, 10), EM_OK);
    CHECK(em_handover_self_test_done(&handover, &passed) && !passed);
}

static void test_too_many_labels_are_refused(void) {
    em_bundle_t large = bundle;
    large.detector.n_labels = EM_HANDOVER_LABELS + 1;
    CHECK_EQUAL(em_listener_init(&listener, &large, NULL, NULL, NULL, 0, &handover), EM_ERR_SIZE);
}

int main(void) {
    test_detections_and_status_pass_the_handover();
    test_mute_overwrites_audio_and_hears_nothing();
    test_thresholds_and_self_test_reach_the_pipeline();
    test_too_many_labels_are_refused();
    return 0;
}
