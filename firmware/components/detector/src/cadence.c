#include "earmark/cadence.h"

#include <string.h>

#define STEP_TARGET_US 20000u
#define WINDOW_US 5200000u /* longest pattern at its slowest scale, with flanks */
#define TRACKS_MAX 32u
#define RECENT 4u
#define T3_EVERY 4u /* steps between looks for T3, a fifth of its gaps; for T4 every step */

/* Least correlation of one burst that is remembered. */
#define BURST_MIN_PERMILLE 400u
/* Least gap between the weakest pulse and the strongest silence, relative to the difference of
 * their means: without it a tone without gaps, or one pulse too many, would pass. */
#define SEPARATION_MIN_PERMILLE 170

/* A stretch of the pattern, in milliseconds from the first pulse. Edges are left out: rows are
 * 25 to 32 ms long, and a room holds a pulse for a while after it ends. */
typedef struct {
    int16_t from_ms, to_ms;
    uint8_t on;
} segment_t;

typedef struct {
    const segment_t *segments;
    uint8_t n_segments;
    int16_t pulse_ms;
    int16_t last_pulse_end_ms;
    int16_t end_ms;        /* of the last segment: the decision comes this long after the onset */
    uint16_t merge_ms;     /* two matches closer than this are one burst */
    uint16_t cycle_min_ms; /* burst to burst; wider than the standards: devices are */
    uint16_t cycle_max_ms;
    const uint16_t *scales_permille;
    uint8_t n_scales;
} pattern_t;

/* Flanks are cut into pieces so that one further pulse is a contradiction. */
static const segment_t T3_SEGMENTS[] = {
    {-1050, -920, 0}, {-900, -620, 0}, {-600, -340, 0}, {-320, -60, 0},
    {60, 460, 1},     {640, 960, 0},   {1060, 1460, 1}, {1640, 1960, 0},
    {2060, 2460, 1},  {2660, 2980, 0}, {3060, 3380, 0},
};
static const segment_t T4_SEGMENTS[] = {
    {-1000, -600, 0}, {-580, -220, 0}, {-200, -110, 0}, {10, 90, 1},   {120, 200, 0},
    {210, 290, 1},    {320, 400, 0},   {410, 490, 1},   {520, 600, 0}, {610, 690, 1},
    {810, 900, 0},    {920, 1200, 0},  {1220, 1500, 0},
};
static const uint16_t T3_SCALES[] = {800, 840, 880, 920, 960, 1000, 1040, 1080, 1120};
static const uint16_t T4_SCALES[] = {880, 910, 940, 970, 1000, 1030, 1060, 1090, 1120};

#define COUNT(array) ((uint8_t)(sizeof(array) / sizeof((array)[0])))

/* ISO 8201 allows 10 %; a recorded smoke alarm repeats every 3.27 s, so T3 reaches further down.
 * UL 2034: 5 s pause, 10 %. */
static const pattern_t PATTERNS[EM_CADENCE_PATTERNS] = {
    {T3_SEGMENTS, COUNT(T3_SEGMENTS), 500, 2500, 3380, 500, 3100, 4600, T3_SCALES,
     COUNT(T3_SCALES)},
    {T4_SEGMENTS, COUNT(T4_SEGMENTS), 100, 700, 1500, 300, 5000, 6400, T4_SCALES, COUNT(T4_SCALES)},
};

#define SAME_LENGTH 9
/* One pulse more than the pattern: this long and loud, in percent of the burst's pulses, and a
 * tone. Alarm clocks (four 0.1 s beeps every second) and five pulses with a long pause are no T4.
 */
#define EXTRA_LENGTH_PERCENT 70u
#define EXTRA_LEVEL_PERCENT 85u
#define PAUSE_MARGIN_MS 70u /* after the last pulse: rows overlap and rooms ring */

typedef struct {
    uint32_t start_ms;
    uint16_t quality_permille; /* 0: none, or contradicted by a pulse in its pause */
    uint8_t scale;             /* index into scales_permille */
    uint8_t extra_level;       /* row value + 128 from which a sound in the pause is a pulse */
} burst_t;

struct em_cadence {
    em_cadence_config_t config;
    uint64_t step_end_us; /* end of the newest complete step */
    uint32_t step_us;
    uint32_t steps_seen;
    uint16_t n_tracks;
    uint16_t bands_per_track;
    uint16_t n_steps; /* capacity of the history */
    uint16_t newest;  /* position of the newest step */
    uint8_t rows_per_step;
    uint8_t rows_in_step;
    int16_t sums[TRACKS_MAX]; /* of the step being filled, per track */
    burst_t bursts[EM_CADENCE_PATTERNS][TRACKS_MAX][RECENT]; /* newest first */
    uint32_t *sum;        /* [n_steps + 1] of the newest k values of one track */
    uint32_t *sum_square; /* likewise, of their squares */
    uint8_t *history;     /* [n_tracks][n_steps], row value + 128 */
};

static uint32_t rows_per_step(const em_cadence_config_t *config) {
    const uint32_t rows = STEP_TARGET_US / config->row_period_us;
    return rows > 0u ? rows : 1u;
}

static uint32_t bands_per_track(const em_cadence_config_t *config) {
    return (config->n_features + TRACKS_MAX - 1u) / TRACKS_MAX;
}

static uint32_t track_count(const em_cadence_config_t *config) {
    const uint32_t per_track = bands_per_track(config);
    return (config->n_features + per_track - 1u) / per_track;
}

static uint32_t step_count(const em_cadence_config_t *config) {
    return WINDOW_US / (rows_per_step(config) * config->row_period_us) + 1u;
}

size_t em_cadence_needed_bytes(const em_cadence_config_t *config) {
    if (config == NULL || config->row_period_us < 5000u || config->row_period_us > 25000u ||
        config->n_features < 8u || config->n_features > 1024u) {
        return 0u;
    }
    const size_t steps = step_count(config);
    const size_t bytes = sizeof(em_cadence_t) + 2u * (steps + 1u) * sizeof(uint32_t) +
                         (size_t)track_count(config) * steps;
    return (bytes + 7u) & ~(size_t)7u;
}

em_status_t em_cadence_init(em_cadence_t **cadence, const em_cadence_config_t *config, void *memory,
                            size_t bytes) {
    if (cadence == NULL || memory == NULL || em_cadence_needed_bytes(config) == 0u) {
        return EM_ERR_ARGUMENT;
    }
    if (bytes < em_cadence_needed_bytes(config) || (uintptr_t)memory % 8u != 0u) {
        return EM_ERR_SIZE;
    }
    em_cadence_t *self = memory;
    memset(self, 0, sizeof *self);
    self->config = *config;
    self->rows_per_step = (uint8_t)rows_per_step(config);
    self->step_us = self->rows_per_step * config->row_period_us;
    self->bands_per_track = (uint16_t)bands_per_track(config);
    self->n_tracks = (uint16_t)track_count(config);
    self->n_steps = (uint16_t)step_count(config);
    self->sum = (uint32_t *)(void *)(self + 1);
    self->sum_square = self->sum + self->n_steps + 1u;
    self->history = (uint8_t *)(self->sum_square + self->n_steps + 1u);
    em_cadence_reset(self);
    *cadence = self;
    return EM_OK;
}

void em_cadence_reset(em_cadence_t *cadence) {
    cadence->steps_seen = 0u;
    cadence->rows_in_step = 0u;
    cadence->newest = 0u;
    memset(cadence->sums, 0, sizeof cadence->sums);
    memset(cadence->bursts, 0, sizeof cadence->bursts);
    memset(cadence->history, 0, (size_t)cadence->n_tracks * cadence->n_steps);
}

/* Prefix sums from the newest value backwards: any stretch is then one subtraction.
 * Returns 0 for a track too flat to hold a pattern. */
static int prepare_track(em_cadence_t *self, uint32_t track, uint32_t n) {
    const uint8_t *values = self->history + (size_t)track * self->n_steps;
    uint32_t position = self->newest, least = 255u, largest = 0u;
    self->sum[0] = 0u;
    self->sum_square[0] = 0u;
    for (uint32_t k = 0u; k < n; ++k) {
        const uint32_t x = values[position];
        least = x < least ? x : least;
        largest = x > largest ? x : largest;
        self->sum[k + 1u] = self->sum[k] + x;
        self->sum_square[k + 1u] = self->sum_square[k] + x * x;
        position = position == 0u ? self->n_steps - 1u : position - 1u;
    }
    return largest - least >= self->config.min_contrast;
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

/* How many steps before now the given moment of the pattern lies. */
static uint32_t age_steps(const em_cadence_t *self, const pattern_t *pattern, int32_t moment_ms,
                          uint32_t scale_permille) {
    const uint32_t ms = (uint32_t)(pattern->end_ms - moment_ms);
    return (ms * scale_permille + self->step_us / 2u) / self->step_us;
}

/* Pearson's correlation of the track with the pattern, permille; 0 where a pulse is weaker than a
 * silence. With S sums and n counts over pulses (1) and silences (0):
 * r^2 = (S1 n0 - S0 n1)^2 / (n1 n0 (n sum(x^2) - S^2)). */
static uint32_t match(const em_cadence_t *self, const pattern_t *pattern, uint32_t scale,
                      uint8_t *extra_level) {
    uint32_t sums[2] = {0u, 0u}, counts[2] = {0u, 0u}, squares = 0u;
    uint32_t weakest_pulse = UINT32_MAX, strongest_silence = 0u; /* means, 8 fractional bits */
    for (uint32_t i = 0u; i < pattern->n_segments; ++i) {
        const segment_t *segment = &pattern->segments[i];
        const uint32_t old = age_steps(self, pattern, segment->from_ms, scale);
        const uint32_t young = age_steps(self, pattern, segment->to_ms, scale);
        const uint32_t n = old - young, sum = self->sum[old] - self->sum[young];
        const uint32_t mean = (sum << 8) / n;
        sums[segment->on] += sum;
        counts[segment->on] += n;
        squares += self->sum_square[old] - self->sum_square[young];
        if (segment->on != 0u) {
            weakest_pulse = mean < weakest_pulse ? mean : weakest_pulse;
        } else {
            strongest_silence = mean > strongest_silence ? mean : strongest_silence;
        }
        if (weakest_pulse < strongest_silence) {
            return 0u;
        }
    }
    const int32_t contrast =
        (int32_t)((sums[1] << 8) / counts[1]) - (int32_t)((sums[0] << 8) / counts[0]);
    const int32_t separation = (int32_t)weakest_pulse - (int32_t)strongest_silence;
    if (contrast < (int32_t)self->config.min_contrast * 256 ||
        separation * 1000 < contrast * SEPARATION_MIN_PERMILLE) {
        return 0u;
    }
    const uint64_t total = sums[0] + sums[1], n = counts[0] + counts[1];
    const uint64_t covariance = (uint64_t)sums[1] * counts[0] - (uint64_t)sums[0] * counts[1];
    const uint64_t variance =
        (uint64_t)counts[0] * counts[1] * (n * (uint64_t)squares - total * total);
    *extra_level = (uint8_t)(sums[0] / counts[0] +
                             (uint32_t)contrast * EXTRA_LEVEL_PERCENT / 100u / 256u + 1u);
    /* Thousandths of both before dividing: 1e6 * covariance^2 would overflow. */
    const uint32_t r = square_root(covariance * covariance * 1000u / (variance / 1000u + 1u));
    return r < 1000u ? r : 1000u;
}

/* Remembers a burst; a better match of the same burst replaces it. Returns 1 if it is news. */
static int remember(burst_t recent[RECENT], const burst_t *burst, int32_t merge_ms) {
    const int32_t apart_ms = (int32_t)(burst->start_ms - recent[0].start_ms);
    if (recent[0].quality_permille != 0u && apart_ms < merge_ms && apart_ms > -merge_ms) {
        if (recent[0].quality_permille >= burst->quality_permille) {
            return 0;
        }
    } else {
        memmove(&recent[1], &recent[0], (RECENT - 1u) * sizeof recent[0]);
    }
    recent[0] = *burst;
    return 1;
}

/* First to last pulse. */
static uint32_t length_ms(const pattern_t *pattern, const burst_t *burst) {
    return (uint32_t)pattern->last_pulse_end_ms * pattern->scales_permille[burst->scale] / 1000u;
}

/* Looks for the burst one cycle earlier, in this track or a neighbour (a tone between two). */
static const burst_t *partner(em_cadence_t *self, uint32_t which, uint32_t track,
                              const burst_t *burst) {
    const pattern_t *pattern = &PATTERNS[which];
    const uint32_t first = track > 0u ? track - 1u : 0u;
    const uint32_t last = track + 1u < self->n_tracks ? track + 1u : track;
    const burst_t *best = NULL;
    for (uint32_t t = first; t <= last; ++t) {
        for (uint32_t i = 0u; i < RECENT; ++i) {
            const burst_t *earlier = &self->bursts[which][t][i];
            const uint32_t cycle_ms = burst->start_ms - earlier->start_ms;
            const int32_t differ_ms =
                (int32_t)length_ms(pattern, burst) - (int32_t)length_ms(pattern, earlier);
            if (differ_ms * differ_ms <= SAME_LENGTH * SAME_LENGTH * pattern->last_pulse_end_ms *
                                             pattern->last_pulse_end_ms / 10000 &&
                earlier->quality_permille != 0u && cycle_ms >= pattern->cycle_min_ms &&
                cycle_ms <= pattern->cycle_max_ms &&
                (best == NULL || earlier->quality_permille > best->quality_permille)) {
                best = earlier;
            }
        }
    }
    return best;
}

/* How far the track stands out of its surroundings during the pulses, in 1/256 int8 steps: alarms
 * are tones, speech and knocks are not. Neighbours touch the tone, so two and three tracks away. */
static int32_t prominence(const em_cadence_t *self, const pattern_t *pattern, uint32_t track,
                          uint32_t scale) {
    int32_t own = 0, others = 0, n = 0, n_others = 0;
    for (uint32_t i = 0u; i < pattern->n_segments; ++i) {
        const segment_t *segment = &pattern->segments[i];
        const uint32_t old = age_steps(self, pattern, segment->from_ms, scale);
        const uint32_t young = age_steps(self, pattern, segment->to_ms, scale);
        for (uint32_t age = young; segment->on != 0u && age < old; ++age) {
            const uint32_t position = (self->newest + self->n_steps - age) % self->n_steps;
            own += self->history[(size_t)track * self->n_steps + position];
            ++n;
            for (int32_t distance = -3; distance <= 3; ++distance) {
                const int32_t other = (int32_t)track + distance;
                if (distance * distance >= 4 && other >= 0 && other < (int32_t)self->n_tracks) {
                    others += self->history[(size_t)other * self->n_steps + position];
                    ++n_others;
                }
            }
        }
    }
    return own * 256 / n - others * 256 / n_others;
}

/* How far the track stands out of its surroundings in the newest steps but `skip`. */
static int32_t tonality(const em_cadence_t *self, uint32_t track, uint32_t skip, uint32_t steps) {
    int32_t own = 0, others = 0, n_others = 0;
    for (uint32_t age = skip; age < skip + steps; ++age) {
        const uint32_t position = (self->newest + self->n_steps - age) % self->n_steps;
        own += self->history[(size_t)track * self->n_steps + position];
        for (int32_t distance = -3; distance <= 3; ++distance) {
            const int32_t other = (int32_t)track + distance;
            if (distance * distance >= 4 && other >= 0 && other < (int32_t)self->n_tracks) {
                others += self->history[(size_t)other * self->n_steps + position];
                ++n_others;
            }
        }
    }
    return own * 256 / (int32_t)steps - others * 256 / n_others;
}

/* Whether the newest steps but `skip` hold one pulse more than the burst may have. */
static int extra_pulse(const em_cadence_t *self, uint32_t track, const burst_t *burst,
                       uint32_t skip, uint32_t steps) {
    const uint32_t sum = self->sum[skip + steps] - self->sum[skip];
    /* PCEN lifts noise to the level of a tone: its pauses prove nothing. */
    return self->config.clip_steps == 0u && sum >= burst->extra_level * steps &&
           tonality(self, track, skip, steps) * 4 >= (int32_t)self->config.min_contrast * 256 * 5;
}

/* Steps that a pulse of the burst surely fills. */
static uint32_t extra_steps(const em_cadence_t *self, const pattern_t *pattern,
                            const burst_t *burst) {
    const uint32_t ms =
        (uint32_t)pattern->pulse_ms * pattern->scales_permille[burst->scale] / 1000u;
    const uint32_t steps = ms * 1000u * EXTRA_LENGTH_PERCENT / 100u / self->step_us;
    return steps > 2u ? steps : 2u;
}

/* Whether one pulse more was heard before or since the pulses of a burst that is news. */
static int pause_is_broken(const em_cadence_t *self, const pattern_t *pattern, uint32_t track,
                           const burst_t *burst) {
    const uint32_t scale = pattern->scales_permille[burst->scale];
    const uint32_t steps = extra_steps(self, pattern, burst);
    const uint32_t margin = PAUSE_MARGIN_MS * 1000u / self->step_us;
    const uint32_t oldest = age_steps(self, pattern, pattern->segments[0].from_ms, scale);
    const uint32_t first = age_steps(self, pattern, 0, scale) + margin;
    const uint32_t last = age_steps(self, pattern, pattern->last_pulse_end_ms, scale) - margin;
    for (uint32_t skip = 0u; skip + steps <= oldest; ++skip) {
        skip = skip + steps > last && skip < first ? first : skip;
        if (skip + steps <= oldest && extra_pulse(self, track, burst, skip, steps)) {
            return 1;
        }
    }
    return 0;
}

/* A pause must be a pause: bursts after which one more pulse is heard are forgotten. */
static void watch_pauses(em_cadence_t *self, uint32_t which, uint32_t track, uint32_t now_ms) {
    const pattern_t *pattern = &PATTERNS[which];
    for (uint32_t i = 0u; i < RECENT; ++i) {
        burst_t *burst = &self->bursts[which][track][i];
        if (burst->quality_permille == 0u) {
            continue;
        }
        const uint32_t steps = extra_steps(self, pattern, burst);
        const uint32_t since_ms = now_ms - burst->start_ms;
        const uint32_t first_ms =
            length_ms(pattern, burst) + PAUSE_MARGIN_MS + steps * self->step_us / 1000u;
        if (since_ms >= first_ms && since_ms <= pattern->cycle_min_ms &&
            extra_pulse(self, track, burst, 0u, steps)) {
            burst->quality_permille = 0u;
        }
    }
}

static void evaluate(em_cadence_t *self, uint32_t which, em_cadence_hit_t *hit, int *found) {
    const pattern_t *pattern = &PATTERNS[which];
    const uint32_t slowest = pattern->scales_permille[pattern->n_scales - 1u];
    const uint32_t n = age_steps(self, pattern, pattern->segments[0].from_ms, slowest);
    if (self->steps_seen < n) {
        return;
    }
    const uint32_t now_ms = (uint32_t)(self->step_end_us / 1000u);
    for (uint32_t track = 0u; track < self->n_tracks; ++track) {
        if (!prepare_track(self, track, n)) {
            continue;
        }
        watch_pauses(self, which, track, now_ms);
        burst_t burst = {0u, 0u, 0u, 0u};
        for (uint32_t i = 0u; i < pattern->n_scales; ++i) {
            uint8_t extra_level = 0u;
            const uint32_t scale = pattern->scales_permille[i];
            const uint32_t quality = match(self, pattern, scale, &extra_level);
            if (quality >= BURST_MIN_PERMILLE && quality > burst.quality_permille) {
                burst.quality_permille = (uint16_t)quality;
                burst.scale = (uint8_t)i;
                burst.extra_level = extra_level;
                burst.start_ms = now_ms - (uint32_t)pattern->end_ms * scale / 1000u;
            }
        }
        if (burst.quality_permille == 0u ||
            prominence(self, pattern, track, pattern->scales_permille[burst.scale]) <
                (int32_t)self->config.min_contrast * 256 ||
            pause_is_broken(self, pattern, track, &burst) ||
            !remember(self->bursts[which][track], &burst, pattern->merge_ms)) {
            continue;
        }
        const burst_t *earlier = partner(self, which, track, &burst);
        if (earlier == NULL) {
            continue;
        }
        const uint32_t quality = (burst.quality_permille + earlier->quality_permille + 1u) / 2u;
        if (*found == 0 || quality > hit->quality_permille) {
            hit->pattern = which == 0u ? EM_CADENCE_T3 : EM_CADENCE_T4;
            hit->quality_permille = (uint16_t)quality;
            /* 32-bit milliseconds wrap after 49 days: differences stay right. */
            hit->onset_us = self->step_end_us - (uint64_t)(now_ms - earlier->start_ms) * 1000u;
            hit->burst_end_us =
                self->step_end_us -
                (uint64_t)(now_ms - burst.start_ms - length_ms(pattern, &burst)) * 1000u;
            *found = 1;
        }
    }
}

static void finish_step(em_cadence_t *self) {
    self->newest = (uint16_t)((self->newest + 1u) % self->n_steps);
    for (uint32_t track = 0u; track < self->n_tracks; ++track) {
        const int32_t mean = self->sums[track] / (int32_t)self->rows_per_step;
        self->history[(size_t)track * self->n_steps + self->newest] = (uint8_t)(mean + 128);
    }
    self->step_end_us += self->step_us;
    if (self->steps_seen < UINT32_MAX) {
        ++self->steps_seen;
    }
}

/* Audio that was lost: hold the last values so that no edge is invented. */
static void bridge_gap(em_cadence_t *self, uint64_t now_us) {
    const uint64_t missing = (now_us - self->step_end_us) / self->step_us;
    if (missing <= 1u) {
        return;
    }
    if (missing > self->n_steps) {
        em_cadence_reset(self);
        self->step_end_us = now_us;
        return;
    }
    for (uint64_t i = 1u; i < missing; ++i) {
        const uint32_t from = self->newest;
        finish_step(self);
        for (uint32_t track = 0u; track < self->n_tracks; ++track) {
            uint8_t *values = self->history + (size_t)track * self->n_steps;
            values[self->newest] = values[from];
        }
    }
    memset(self->sums, 0, sizeof self->sums);
    self->rows_in_step = 0u;
}

em_status_t em_cadence_row(em_cadence_t *cadence, const int8_t *row, uint64_t now_us,
                           em_cadence_hit_t *hit, int *found) {
    if (cadence == NULL || row == NULL || hit == NULL || found == NULL) {
        return EM_ERR_ARGUMENT;
    }
    *found = 0;
    if (cadence->steps_seen == 0u && cadence->rows_in_step == 0u) {
        cadence->step_end_us = now_us - cadence->config.row_period_us;
    } else {
        bridge_gap(cadence, now_us);
    }
    const int32_t ceiling = INT8_MAX - (int32_t)cadence->config.clip_steps;
    for (uint32_t track = 0u, band = 0u; track < cadence->n_tracks; ++track) {
        int8_t largest = INT8_MIN;
        for (uint32_t i = 0u; i < cadence->bands_per_track && band < cadence->config.n_features;
             ++i, ++band) {
            largest = row[band] > largest ? row[band] : largest;
        }
        const int32_t value = largest > ceiling ? ceiling : largest;
        cadence->sums[track] = (int16_t)(cadence->sums[track] + value);
    }
    if (++cadence->rows_in_step < cadence->rows_per_step) {
        return EM_OK;
    }
    finish_step(cadence);
    memset(cadence->sums, 0, sizeof cadence->sums);
    cadence->rows_in_step = 0u;
    cadence->step_end_us = now_us;
    evaluate(cadence, 1u, hit, found);
    if (*found == 0 && cadence->steps_seen % T3_EVERY == 0u) {
        evaluate(cadence, 0u, hit, found);
    }
    return EM_OK;
}
