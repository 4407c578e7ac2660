/* The only door between the audio side (capture, front end, network, detector) and the rest of the
 * device. What fits through: finished detections, five numbers about the microphone, thresholds in
 * the other direction. One task on each side; no locks, so neither can make the other wait. */
#ifndef EARMARK_HANDOVER_H
#define EARMARK_HANDOVER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { EM_HANDOVER_DETECTIONS = 64, EM_HANDOVER_LABELS = 32 };

typedef struct {
    uint64_t at_ms;    /* audio time of the decision */
    uint64_t onset_ms; /* audio time at which the sound began */
    uint32_t episode;  /* joins the phases of one sound */
    uint32_t dur_ms;
    uint16_t conf_milli, thr_milli;
    uint8_t label; /* index into the bundle's labels */
    uint8_t phase; /* 1 start, 2 update, 3 end, 4 once */
} em_detection_t;

typedef struct {
    bool heard;         /* at least one full second was judged */
    int16_t noise_dbfs; /* quietest second of the last minute, steps of 3 dB */
    uint32_t mic_flags; /* EM_MIC_... */
    uint32_t overruns;  /* chunks lost since start */
    uint32_t inference_p99_ms;
    uint32_t stack_min_bytes; /* of the audio tasks */
} em_audio_status_t;

enum { EM_MIC_SILENT = 1, EM_MIC_DC = 2, EM_MIC_NO_FLOOR = 4, EM_MIC_CLIPPING = 8 };

typedef struct {
    em_detection_t detections[EM_HANDOVER_DETECTIONS];
    _Atomic uint32_t n_put, n_taken;
    _Atomic uint32_t n_lost;
    _Atomic bool heard;
    _Atomic int32_t noise_dbfs;
    _Atomic uint32_t mic_flags, overruns, inference_p99_ms, stack_min_bytes;
    _Atomic uint16_t threshold_milli[EM_HANDOVER_LABELS]; /* 0: as in the bundle */
    _Atomic uint32_t thresholds_version;
    _Atomic uint32_t n_reports; /* progress of the audio side */
    _Atomic uint32_t self_tests_asked, self_tests_done;
    _Atomic bool self_test_passed;
    _Atomic bool muted;
} em_handover_t;

void em_handover_init(em_handover_t *h);

/* Audio side. False: full; the detection is counted as lost. */
bool em_handover_put(em_handover_t *h, const em_detection_t *detection);
void em_handover_report(em_handover_t *h, const em_audio_status_t *status);
/* True if a self-test is wanted; answer with finish. */
bool em_handover_self_test_wanted(const em_handover_t *h);
void em_handover_self_test_finish(em_handover_t *h, bool passed);

/* Other side. */
bool em_handover_take(em_handover_t *h, em_detection_t *detection);
em_audio_status_t em_handover_status(const em_handover_t *h);
uint32_t em_handover_lost(const em_handover_t *h);
void em_handover_set_threshold(em_handover_t *h, uint8_t label, uint16_t milli);
/* Muted: the audio side forgets all audio and hears nothing until unmuted. */
void em_handover_set_muted(em_handover_t *h, bool muted);
bool em_handover_muted(const em_handover_t *h); /* either side */
/* Asks for a self-test; poll until it is done. */
void em_handover_ask_self_test(em_handover_t *h);
bool em_handover_self_test_done(const em_handover_t *h, bool *passed);

#endif
