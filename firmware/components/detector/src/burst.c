#include "burst.h"

/* Least correlation of one burst that is remembered. */
#define BURST_MIN_PERMILLE 400u

/* Below the pulses by this many times the least contrast, all is silence. */
#define DEPTH_CONTRASTS 4

/* Flanks are cut into pieces so that one further pulse is a contradiction. Pulses and gaps come
 * first: they refute most of what is no alarm. */
static const em_burst_segment_t T3_SEGMENTS[] = {
    {60, 460, 1},    {640, 960, 0},   {1060, 1460, 1},  {1640, 1960, 0},
    {2060, 2460, 1}, {2660, 2980, 0}, {-320, -60, 0},   {3060, 3380, 0},
    {-600, -340, 0}, {-900, -620, 0}, {-1050, -920, 0},
};
static const em_burst_segment_t T4_SEGMENTS[] = {
    {10, 90, 1},     {120, 200, 0},   {210, 290, 1},    {320, 400, 0},   {410, 490, 1},
    {520, 600, 0},   {610, 690, 1},   {810, 900, 0},    {-200, -110, 0}, {920, 1200, 0},
    {-580, -220, 0}, {1220, 1500, 0}, {-1000, -600, 0},
};

#define COUNT(array) ((uint8_t)(sizeof(array) / sizeof((array)[0])))

/* ISO 8201 allows 10 %; a recorded smoke alarm repeats every 3.27 s, so T3 reaches further down.
 * UL 2034: 5 s pause, 10 %. */
const em_burst_pattern_t em_burst_patterns[EM_CADENCE_PATTERNS] = {
    {
        .segments = T3_SEGMENTS,
        .n_segments = COUNT(T3_SEGMENTS),
        .pulse_ms = 500,
        .last_pulse_end_ms = 2500,
        .begin_ms = -1050,
        .end_ms = 3380,
        .flank_ms = 2660,
        .merge_ms = 500,
        .cycle_min_ms = 3100,
        .cycle_max_ms = 4600,
        .cycles_max = 1,
        .separation_min_permille = 170,
        .scales_permille = {800, 840, 880, 920, 960, 1000, 1040, 1080, 1120},
    },
    {
        .segments = T4_SEGMENTS,
        .n_segments = COUNT(T4_SEGMENTS),
        .pulse_ms = 100,
        .last_pulse_end_ms = 700,
        .begin_ms = -1000,
        .end_ms = 1500,
        .flank_ms = 810,
        .merge_ms = 300,
        .cycle_min_ms = 5000,
        .cycle_max_ms = 6400,
        .cycles_max = 2,
        .separation_min_permille = 70,
        .scales_permille = {880, 910, 940, 970, 1000, 1030, 1060, 1090, 1120},
    },
};

uint32_t em_burst_age_steps(const em_burst_layout_t *layout, int32_t moment_ms,
                            uint32_t scale_permille) {
    const uint32_t ms = (uint32_t)(layout->pattern->end_ms - moment_ms);
    return (ms * scale_permille + layout->step_us / 2u) / layout->step_us;
}

void em_burst_lay_out(em_burst_layout_t *layout, const em_burst_pattern_t *pattern,
                      uint32_t step_us, uint8_t min_contrast) {
    layout->pattern = pattern;
    layout->step_us = step_us;
    layout->min_contrast = min_contrast;
    for (uint32_t scale = 0u; scale < EM_BURST_SCALES; ++scale) {
        const uint32_t permille = pattern->scales_permille[scale];
        for (uint32_t i = 0u; i < pattern->n_segments; ++i) {
            const em_burst_segment_t *segment = &pattern->segments[i];
            layout->stretches[scale][i] = (em_burst_stretch_t){
                .young = (uint16_t)em_burst_age_steps(layout, segment->to_ms, permille),
                .old = (uint16_t)em_burst_age_steps(layout, segment->from_ms, permille),
            };
        }
    }
    const uint32_t fastest = pattern->scales_permille[0];
    const uint32_t slowest = pattern->scales_permille[EM_BURST_SCALES - 1u];
    layout->after = (em_burst_stretch_t){
        .young = 0u,
        .old = (uint16_t)em_burst_age_steps(layout, pattern->flank_ms, fastest),
    };
    layout->within = (em_burst_stretch_t){
        .young = (uint16_t)em_burst_age_steps(layout, pattern->last_pulse_end_ms, slowest),
        .old = (uint16_t)em_burst_age_steps(layout, 0, fastest),
    };
}

static uint32_t square_root(uint64_t x) {
    uint64_t root = 0u;
    for (uint64_t bit = (uint64_t)1 << 31; bit != 0u; bit >>= 1) {
        if ((root + bit) * (root + bit) <= x) {
            root += bit;
        }
    }
    return (uint32_t)root;
}

/* Half of a burst is pulses: where it is no louder than what follows, every scale would fail. */
static int is_worth_matching(const em_burst_layout_t *layout, const em_tracks_t *tracks,
                             uint32_t track) {
    const em_burst_stretch_t after = layout->after, within = layout->within;
    const int32_t loud =
        (int32_t)(em_burst_sum(tracks, track, within) * 4u / (uint32_t)(within.old - within.young));
    const int32_t quiet =
        (int32_t)(em_burst_sum(tracks, track, after) * 4u / (uint32_t)(after.old - after.young));
    return loud - quiet >= layout->min_contrast;
}

/* What correlation needs to know of a track and a pattern. */
typedef struct {
    uint32_t sums[2], counts[2]; /* silences, pulses */
    uint32_t squares;
    uint32_t weakest_pulse, strongest_silence; /* means, 8 fractional bits */
} moments_t;

static void add_moments(moments_t *moments, uint32_t on, uint32_t n, uint32_t sum) {
    const uint32_t mean = (sum << 8) / n;
    moments->sums[on] += sum;
    moments->counts[on] += n;
    if (on != 0u) {
        moments->weakest_pulse = mean < moments->weakest_pulse ? mean : moments->weakest_pulse;
    } else if (mean > moments->strongest_silence) {
        moments->strongest_silence = mean;
    }
}

static int32_t contrast_of(const moments_t *moments) {
    return (int32_t)((moments->sums[1] << 8) / moments->counts[1]) -
           (int32_t)((moments->sums[0] << 8) / moments->counts[0]);
}

/* Counts values below the floor as the floor: how deep a silence is tells nothing, and beside a
 * deep one the gaps that a room fills would look like pulses. */
static void add_above_floor(moments_t *moments, const em_tracks_t *tracks, uint32_t track,
                            em_burst_stretch_t stretch, uint32_t on, uint32_t floor) {
    uint32_t sum = 0u;
    for (uint32_t age = stretch.young; age < stretch.old; ++age) {
        const uint32_t value = em_tracks_sum(tracks, track, age, age + 1u);
        const uint32_t x = value > floor ? value : floor;
        sum += x;
        moments->squares += x * x;
    }
    add_moments(moments, on, (uint32_t)(stretch.old - stretch.young), sum);
}

/* Pearson's correlation in permille. With S sums and n counts over pulses (1) and silences (0):
 * r^2 = (S1 n0 - S0 n1)^2 / (n1 n0 (n sum(x^2) - S^2)). */
static uint32_t correlation(const moments_t *moments) {
    const uint32_t *sums = moments->sums, *counts = moments->counts;
    const uint64_t total = sums[0] + sums[1], n = counts[0] + counts[1];
    const uint64_t covariance = (uint64_t)sums[1] * counts[0] - (uint64_t)sums[0] * counts[1];
    const uint64_t variance =
        (uint64_t)counts[0] * counts[1] * (n * moments->squares - total * total);
    /* Thousandths of both before dividing: 1e6 * covariance^2 would overflow. */
    const uint32_t r = square_root(covariance * covariance * 1000u / (variance / 1000u + 1u));
    return r < 1000u ? r : 1000u;
}

/* Correlation of the track with the pattern; 0 where a pulse is weaker than a silence. */
static uint32_t match(const em_burst_layout_t *layout, const em_tracks_t *tracks, uint32_t track,
                      uint32_t scale, uint8_t *level) {
    const em_burst_pattern_t *pattern = layout->pattern;
    const em_burst_stretch_t *stretches = layout->stretches[scale];
    const int32_t min_contrast = layout->min_contrast;
    moments_t rough = {.weakest_pulse = UINT32_MAX};
    for (uint32_t i = 0u; i < pattern->n_segments; ++i) {
        add_moments(&rough, pattern->segments[i].on,
                    (uint32_t)(stretches[i].old - stretches[i].young),
                    em_burst_sum(tracks, track, stretches[i]));
        if (rough.weakest_pulse < rough.strongest_silence) {
            return 0u;
        }
    }
    if (contrast_of(&rough) < min_contrast * 256) {
        return 0u;
    }
    *level = (uint8_t)(rough.sums[1] / rough.counts[1]);
    const int32_t floor = *level - DEPTH_CONTRASTS * min_contrast;
    moments_t fine = {.weakest_pulse = UINT32_MAX};
    for (uint32_t i = 0u; i < pattern->n_segments; ++i) {
        add_above_floor(&fine, tracks, track, stretches[i], pattern->segments[i].on,
                        floor > 0 ? (uint32_t)floor : 0u);
    }
    const int32_t contrast = contrast_of(&fine);
    const int32_t separation = (int32_t)fine.weakest_pulse - (int32_t)fine.strongest_silence;
    if (contrast < min_contrast * 256 ||
        separation * 1000 < contrast * pattern->separation_min_permille) {
        return 0u;
    }
    return correlation(&fine);
}

int32_t em_burst_prominence(const em_tracks_t *tracks, uint32_t track,
                            const em_burst_stretch_t *stretches, uint32_t n_stretches,
                            const em_burst_segment_t *segments) {
    uint32_t own = 0u, others = 0u, n = 0u, n_others = 0u;
    for (uint32_t i = 0u; i < n_stretches; ++i) {
        if (segments != NULL && segments[i].on == 0u) {
            continue;
        }
        const uint32_t steps = (uint32_t)(stretches[i].old - stretches[i].young);
        own += em_burst_sum(tracks, track, stretches[i]);
        n += steps;
        for (uint32_t distance = 2u; distance <= 3u; ++distance) {
            if (track >= distance) {
                others += em_burst_sum(tracks, track - distance, stretches[i]);
                n_others += steps;
            }
            if (track + distance < tracks->n_tracks) {
                others += em_burst_sum(tracks, track + distance, stretches[i]);
                n_others += steps;
            }
        }
    }
    return (int32_t)((own << 8) / n) - (int32_t)((others << 8) / n_others);
}

em_burst_t em_burst_find(const em_burst_layout_t *layout, const em_tracks_t *tracks, uint32_t track,
                         uint32_t now_ms) {
    const em_burst_pattern_t *pattern = layout->pattern;
    em_burst_t best = {0};
    if (!is_worth_matching(layout, tracks, track)) {
        return best;
    }
    for (uint32_t scale = 0u; scale < EM_BURST_SCALES; ++scale) {
        uint8_t level = 0u;
        const uint32_t quality = match(layout, tracks, track, scale, &level);
        if (quality >= BURST_MIN_PERMILLE && quality > best.quality_permille) {
            best = (em_burst_t){
                .start_ms =
                    now_ms - (uint32_t)pattern->end_ms * pattern->scales_permille[scale] / 1000u,
                .quality_permille = (uint16_t)quality,
                .scale = (uint8_t)scale,
                .level = level,
            };
        }
    }
    if (best.quality_permille != 0u &&
        em_burst_prominence(tracks, track, layout->stretches[best.scale], pattern->n_segments,
                            pattern->segments) < layout->min_contrast * 256) {
        best.quality_permille = 0u;
    }
    return best;
}
