/* History of the cadence check: per track (the largest of a few neighbouring bands) running sums of
 * its values in steps of about 20 ms, so that the mean of any stretch is one subtraction. */
#ifndef EARMARK_TRACKS_H
#define EARMARK_TRACKS_H

#include "earmark/cadence.h"
#include "pcen_log.h"

#define EM_TRACKS_MAX 32u

typedef struct {
    uint64_t step_end_us; /* end of the newest complete step */
    uint32_t row_us;
    uint32_t step_us;
    uint32_t steps_seen;
    uint16_t n_features;
    uint16_t n_tracks;
    uint16_t bands_per_track;
    uint16_t n_steps; /* capacity of the history */
    uint16_t newest;  /* position of the newest step */
    uint8_t rows_per_step;
    uint8_t rows_in_step;
    uint8_t is_pcen;
    int16_t filling[EM_TRACKS_MAX]; /* sums of the step being filled */
    em_pcen_log_t pcen;
    int32_t *means; /* [n_features], of PCEN */
    uint16_t *sums; /* [n_tracks][n_steps], of row value + 128 since start, modulo 2^16 */
} em_tracks_t;

/* Bytes behind em_tracks_t's pointers, a multiple of 8; 0 for a configuration out of range. */
size_t em_tracks_bytes(const em_cadence_config_t *config);
void em_tracks_init(em_tracks_t *tracks, const em_cadence_config_t *config, void *memory);
void em_tracks_reset(em_tracks_t *tracks);

/* Returns 1 when the row completes a step. */
int em_tracks_row(em_tracks_t *tracks, const int8_t *row, uint64_t now_us);

/* Sum of a track's values in the steps of age young..old-1; 0 is the newest. At most 257 steps. */
static inline uint32_t em_tracks_sum(const em_tracks_t *tracks, uint32_t track, uint32_t young,
                                     uint32_t old) {
    const uint16_t *sums = tracks->sums + (size_t)track * tracks->n_steps;
    const uint32_t newest = tracks->newest, n = tracks->n_steps;
    const uint32_t to = newest >= young ? newest - young : newest + n - young;
    const uint32_t from = newest >= old ? newest - old : newest + n - old;
    return (uint16_t)(sums[to] - sums[from]);
}

#endif
