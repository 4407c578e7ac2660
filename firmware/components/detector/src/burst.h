/* One burst of an alarm (T3: three pulses, T4: four) at the end of a track's history. */
#ifndef EARMARK_BURST_H
#define EARMARK_BURST_H

#include "tracks.h"

#define EM_BURST_SCALES 9u
#define EM_BURST_SEGMENTS_MAX 13u

/* A stretch of the pattern, in milliseconds from the first pulse. Edges are left out: rows are
 * 25 to 32 ms long, and a room holds a pulse for a while after it ends. */
typedef struct {
    int16_t from_ms, to_ms;
    uint8_t on;
} em_burst_segment_t;

typedef struct {
    const em_burst_segment_t *segments;
    uint8_t n_segments;
    int16_t pulse_ms;
    int16_t last_pulse_end_ms;
    int16_t begin_ms;      /* of the first segment */
    int16_t end_ms;        /* of the last segment: the decision comes this long after the onset */
    int16_t flank_ms;      /* begin of the silence after the burst */
    uint16_t merge_ms;     /* two matches closer than this are one burst */
    uint16_t cycle_min_ms; /* burst to burst; wider than the standards: devices are */
    uint16_t cycle_max_ms;
    /* Least gap between the weakest pulse and the strongest silence, relative to the difference of
     * their means: without it a tone without gaps, or one pulse too many, would pass. Rooms fill
     * the short gaps of T4. */
    uint16_t separation_min_permille;
    uint8_t cycles_max; /* a pair may be this many cycles apart, if what lies between is masked */
    uint16_t scales_permille[EM_BURST_SCALES];
} em_burst_pattern_t;

extern const em_burst_pattern_t em_burst_patterns[EM_CADENCE_PATTERNS];

typedef struct {
    uint32_t start_ms;
    uint16_t quality_permille; /* correlation; 0: none, or contradicted later */
    uint8_t scale;             /* index into scales_permille */
    uint8_t level;             /* mean row value + 128 of the pulses */
    uint8_t next_level;        /* 0; the cadence keeps here what was loudest a cycle later */
} em_burst_t;

/* A stretch of a pattern at one scale, in steps before now. */
typedef struct {
    uint16_t young, old;
} em_burst_stretch_t;

/* A pattern laid over the history of tracks. */
typedef struct {
    const em_burst_pattern_t *pattern;
    uint32_t step_us;
    int32_t min_contrast;
    em_burst_stretch_t stretches[EM_BURST_SCALES][EM_BURST_SEGMENTS_MAX];
    em_burst_stretch_t after;  /* in the silence after the burst at every scale */
    em_burst_stretch_t within; /* in the burst at every scale */
} em_burst_layout_t;

void em_burst_lay_out(em_burst_layout_t *layout, const em_burst_pattern_t *pattern,
                      uint32_t step_us, uint8_t min_contrast);

/* How many steps before now the given moment of the pattern lies. */
uint32_t em_burst_age_steps(const em_burst_layout_t *layout, int32_t moment_ms,
                            uint32_t scale_permille);

/* The best match of a burst that ends now, over all scales; quality 0: none. */
em_burst_t em_burst_find(const em_burst_layout_t *layout, const em_tracks_t *tracks, uint32_t track,
                         uint32_t now_ms);

/* How far the track stands out of its surroundings in stretches, in 1/256 int8 steps: alarms are
 * tones, speech and knocks are not. Of stretches with segments, those of pulses count. */
int32_t em_burst_prominence(const em_tracks_t *tracks, uint32_t track,
                            const em_burst_stretch_t *stretches, uint32_t n_stretches,
                            const em_burst_segment_t *segments);

static inline uint32_t em_burst_sum(const em_tracks_t *tracks, uint32_t track,
                                    em_burst_stretch_t stretch) {
    return em_tracks_sum(tracks, track, stretch.young, stretch.old);
}

#endif
