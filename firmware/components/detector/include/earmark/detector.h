/* From one row of network scores per inference, and the front-end rows between them, to events.
 *
 * Scores are int8 with scale 1/256 and zero point -128 (softmax or logistic). Per label:
 * exponential smoothing, on and off threshold, minimum duration, refractory time. Labels with a
 * cadence (smoke, CO) are reported when the cadence is heard and the network agrees. Integer only,
 * no allocation; times in microseconds of audio since start, so that dropped audio still advances
 * the clock. */
#ifndef EARMARK_DETECTOR_H
#define EARMARK_DETECTOR_H

#include "earmark/cadence.h"
#include "earmark/status.h"

#include <stddef.h>
#include <stdint.h>

#define EM_DETECTOR_QUEUE 16u
#define EM_DUR_MS_MAX 600000u
/* A threshold that no score reaches: the label is not reported by score alone. */
#define EM_NEVER_PERMILLE 1001u

typedef enum {
    EM_PHASE_START = 1,
    EM_PHASE_UPDATE = 2,
    EM_PHASE_END = 3,
    EM_PHASE_ONCE = 4
} em_phase_t;

#define EM_LABEL_REPORTED 1u /* off: background classes, never an event */
#define EM_LABEL_CRITICAL 2u /* kept in flash until acknowledged */
#define EM_LABEL_ONCE 4u     /* one event without duration (glass break, knock) */

typedef struct {
    const char *name;        /* ^[a-z][a-z0-9_]{0,31}$ */
    const uint16_t *classes; /* network outputs whose largest is the score; NULL: own index */
    uint16_t n_classes;
    uint16_t on_permille;  /* 1..1000, or EM_NEVER_PERMILLE */
    uint16_t off_permille; /* <= on_permille */
    uint16_t min_permille; /* bounds for a threshold set in the field */
    uint16_t max_permille;
    uint16_t alpha_q15; /* smoothing: s += alpha * (score - s); 32767 is none. 1..32767 */
    uint32_t min_duration_ms;
    uint32_t refractory_ms;
    uint32_t update_ms; /* period of update events while active; 0: none */
    uint8_t flags;      /* EM_LABEL_... */
    uint8_t cadence;    /* em_cadence_pattern_t */
    /* Cadence labels: correlation that suffices together with a smoothed score of gate_permille of
     * of any cadence label within the two cycles, and correlation that suffices alone
     * (EM_NEVER_PERMILLE: never). */
    uint16_t cadence_permille;
    uint16_t cadence_alone_permille;
    uint16_t gate_permille;
} em_label_t;

typedef struct {
    const em_label_t *labels;
    uint16_t n_labels;
    uint16_t n_scores;            /* network outputs */
    uint32_t inference_period_us; /* hop between two rows of scores */
    em_cadence_config_t cadence;  /* n_features 0: no cadence check */
} em_detector_config_t;

typedef struct {
    uint64_t at_us;    /* when it was decided */
    uint64_t onset_us; /* when the sound began, to the resolution of the hop */
    uint32_t id;       /* joins the phases of one event; from 1 */
    uint32_t dur_ms;   /* 0..EM_DUR_MS_MAX; 0 at start */
    uint16_t label;    /* index into labels */
    uint16_t conf_permille;
    uint16_t thr_permille; /* the threshold that was active */
    uint8_t phase;         /* em_phase_t */
} em_event_t;

typedef struct em_detector em_detector_t;

/* 0 for a configuration out of range. */
size_t em_detector_needed_bytes(const em_detector_config_t *config);

/* memory: 8-byte aligned, owned by the caller. config and what it points to must outlive it. */
em_status_t em_detector_init(em_detector_t **detector, const em_detector_config_t *config,
                             void *memory, size_t bytes);

/* Every front-end row, cadence.n_features values. */
em_status_t em_detector_row(em_detector_t *detector, const int8_t *row, uint64_t now_us);

/* Every inference, n_scores values. */
em_status_t em_detector_scores(em_detector_t *detector, const int8_t *scores, uint64_t now_us);

/* Oldest undelivered event: 1, or 0 when there is none. */
int em_detector_pop(em_detector_t *detector, em_event_t *event);

/* Events that the full queue refused since start. */
uint32_t em_detector_dropped(const em_detector_t *detector);

/* Smoothed score of a label, 0..1000; for displays and tests. */
uint16_t em_detector_score_permille(const em_detector_t *detector, uint16_t label);

/* Sets the on threshold within the label's bounds (else EM_ERR_ARGUMENT); the off threshold keeps
 * its distance. For cadence labels this is the threshold on the correlation. */
em_status_t em_detector_set_threshold(em_detector_t *detector, uint16_t label, uint16_t permille);
uint16_t em_detector_threshold(const em_detector_t *detector, uint16_t label);

/* Forgets all audio (mute); active events get their end. Thresholds and ids stay. */
void em_detector_reset(em_detector_t *detector, uint64_t now_us);

#endif
