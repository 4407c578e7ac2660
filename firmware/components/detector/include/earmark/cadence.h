/* Finds temporal alarm patterns in front-end rows: T3 (smoke; NFPA 72, ISO 8201: three 0.5 s
 * pulses, 0.5 s gaps, 1.5 s pause) and T4 (CO; UL 2034: four 0.1 s pulses, 0.1 s gaps, 5 s pause).
 *
 * Per track (the larger of a few neighbouring bands) the last five seconds of values are correlated
 * with one burst and its silent flanks, at several time scales. PCEN rows are taken back to
 * logarithmic ones before. An alarm is two bursts of one pattern in one track, one cycle apart.
 * Integer only, no allocation. */
#ifndef EARMARK_CADENCE_H
#define EARMARK_CADENCE_H

#include "earmark/status.h"

#include <stddef.h>
#include <stdint.h>

typedef enum { EM_CADENCE_NONE = 0, EM_CADENCE_T3 = 1, EM_CADENCE_T4 = 2 } em_cadence_pattern_t;

#define EM_CADENCE_PATTERNS 2u /* T3 and T4 */

typedef struct {
    uint32_t row_period_us; /* 5000..25000 */
    uint16_t n_features;    /* values per row: at least 8 mel bands */
    uint8_t min_contrast;   /* least pulse-to-gap difference of the means: steps of 5 dB */
    uint8_t clip_steps;     /* 0: rows are logarithmic. PCEN from zero point -128 on: 0.9 is at
                               127 - clip_steps */
} em_cadence_config_t;

typedef struct {
    em_cadence_pattern_t pattern;
    uint64_t onset_us;         /* first pulse of the earlier burst */
    uint64_t burst_end_us;     /* last pulse of the later burst */
    uint16_t quality_permille; /* mean correlation of the two bursts */
} em_cadence_hit_t;

typedef struct em_cadence em_cadence_t;

/* 0 for a configuration out of range. */
size_t em_cadence_needed_bytes(const em_cadence_config_t *config);

/* memory: 8-byte aligned, needed_bytes long, owned by the caller. */
em_status_t em_cadence_init(em_cadence_t **cadence, const em_cadence_config_t *config, void *memory,
                            size_t bytes);

/* One row of n_features values whose last sample was heard at now_us (never decreasing; a jump is
 * a gap in the audio). *hit is filled and *found set to 1 when a burst completes a pair. */
em_status_t em_cadence_row(em_cadence_t *cadence, const int8_t *row, uint64_t now_us,
                           em_cadence_hit_t *hit, int *found);

void em_cadence_reset(em_cadence_t *cadence);

#endif
