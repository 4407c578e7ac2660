#include "earmark/cadence.h"

#include "tracks.h"

#include <string.h>

#define RECENT 4u
#define T3_EVERY 4u /* steps between looks for T3, a fifth of its gaps; for T4 every step */
#define SCALES 9u
#define SEGMENTS_MAX 13u

/* Least correlation of one burst that is remembered. */
#define BURST_MIN_PERMILLE 400u

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
    uint16_t scales_permille[SCALES];
} pattern_t;

/* Flanks are cut into pieces so that one further pulse is a contradiction. Pulses and gaps come
 * first: they refute most of what is no alarm. */
static const segment_t T3_SEGMENTS[] = {
    {60, 460, 1},    {640, 960, 0},   {1060, 1460, 1},  {1640, 1960, 0},
    {2060, 2460, 1}, {2660, 2980, 0}, {-320, -60, 0},   {3060, 3380, 0},
    {-600, -340, 0}, {-900, -620, 0}, {-1050, -920, 0},
};
static const segment_t T4_SEGMENTS[] = {
    {10, 90, 1},     {120, 200, 0},   {210, 290, 1},    {320, 400, 0},   {410, 490, 1},
    {520, 600, 0},   {610, 690, 1},   {810, 900, 0},    {-200, -110, 0}, {920, 1200, 0},
    {-580, -220, 0}, {1220, 1500, 0}, {-1000, -600, 0},
};

#define COUNT(array) ((uint8_t)(sizeof(array) / sizeof((array)[0])))

/* ISO 8201 allows 10 %; a recorded smoke alarm repeats every 3.27 s, so T3 reaches further down.
 * UL 2034: 5 s pause, 10 %. */
static const pattern_t PATTERNS[EM_CADENCE_PATTERNS] = {
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

#define SAME_LENGTH 9
/* Below the pulses by this many times the least contrast, all is silence. */
#define DEPTH_CONTRASTS 4
/* One pulse more than the pattern: this long, in percent of the burst's pulses, about as loud, in
 * tenths of the least contrast, and a tone. Alarm clocks (four 0.1 s beeps every second) and five
 * pulses with a long pause are no T4. */
#define EXTRA_LENGTH_PERCENT 70u
#define EXTRA_BELOW_TENTHS 8
#define EXTRA_ABOVE_TENTHS 20
#define T4_BEFORE_MS 1500u  /* a T4 burst this long before a pair of T3 still speaks against it */
#define PAUSE_MARGIN_MS 70u /* after the last pulse: rows overlap and rooms ring */

typedef struct {
    uint32_t start_ms;
    uint16_t quality_permille; /* 0: none, or contradicted by a pulse in its pause */
    uint8_t scale;             /* index into scales_permille */
    uint8_t level;             /* mean row value + 128 of the pulses */
    uint8_t next_level;        /* the same of the loudest pulse's length a cycle later */
} burst_t;

/* A stretch of a pattern at one scale, in steps before now. */
typedef struct {
    uint16_t young, old;
} stretch_t;

struct em_cadence {
    em_cadence_config_t config;
    em_tracks_t tracks;
    stretch_t stretches[EM_CADENCE_PATTERNS][SCALES][SEGMENTS_MAX];
    stretch_t after[EM_CADENCE_PATTERNS];  /* in the silence after the burst at every scale */
    stretch_t within[EM_CADENCE_PATTERNS]; /* in the burst at every scale */
    burst_t bursts[EM_CADENCE_PATTERNS][EM_TRACKS_MAX][RECENT]; /* newest first */
};

static size_t own_bytes(void) {
    return (sizeof(em_cadence_t) + 7u) & ~(size_t)7u;
}

size_t em_cadence_needed_bytes(const em_cadence_config_t *config) {
    const size_t bytes = em_tracks_bytes(config);
    return bytes == 0u ? 0u : own_bytes() + bytes;
}

/* How many steps before now the given moment of the pattern lies. */
static uint32_t age_steps(const em_cadence_t *self, const pattern_t *pattern, int32_t moment_ms,
                          uint32_t scale_permille) {
    const uint32_t ms = (uint32_t)(pattern->end_ms - moment_ms);
    return (ms * scale_permille + self->tracks.step_us / 2u) / self->tracks.step_us;
}

static void lay_out(em_cadence_t *self, uint32_t which) {
    const pattern_t *pattern = &PATTERNS[which];
    for (uint32_t scale = 0u; scale < SCALES; ++scale) {
        const uint32_t permille = pattern->scales_permille[scale];
        for (uint32_t i = 0u; i < pattern->n_segments; ++i) {
            const segment_t *segment = &pattern->segments[i];
            self->stretches[which][scale][i] = (stretch_t){
                .young = (uint16_t)age_steps(self, pattern, segment->to_ms, permille),
                .old = (uint16_t)age_steps(self, pattern, segment->from_ms, permille),
            };
        }
    }
    const uint32_t fastest = pattern->scales_permille[0];
    const uint32_t slowest = pattern->scales_permille[SCALES - 1u];
    self->after[which] = (stretch_t){
        .young = 0u,
        .old = (uint16_t)age_steps(self, pattern, pattern->flank_ms, fastest),
    };
    self->within[which] = (stretch_t){
        .young = (uint16_t)age_steps(self, pattern, pattern->last_pulse_end_ms, slowest),
        .old = (uint16_t)age_steps(self, pattern, 0, fastest),
    };
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
    em_tracks_init(&self->tracks, config, (uint8_t *)memory + own_bytes());
    lay_out(self, 0u);
    lay_out(self, 1u);
    *cadence = self;
    return EM_OK;
}

void em_cadence_reset(em_cadence_t *cadence) {
    em_tracks_reset(&cadence->tracks);
    memset(cadence->bursts, 0, sizeof cadence->bursts);
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

static uint32_t stretch_sum(const em_tracks_t *tracks, uint32_t track, stretch_t stretch) {
    return em_tracks_sum(tracks, track, stretch.young, stretch.old);
}

/* Half of a burst is pulses: where it is no louder than what follows, every scale would fail. */
static int is_worth_matching(const em_cadence_t *self, uint32_t which, uint32_t track) {
    const stretch_t after = self->after[which], within = self->within[which];
    const int32_t loud = (int32_t)(stretch_sum(&self->tracks, track, within) * 4u /
                                   (uint32_t)(within.old - within.young));
    const int32_t quiet = (int32_t)(stretch_sum(&self->tracks, track, after) * 4u /
                                    (uint32_t)(after.old - after.young));
    return loud - quiet >= (int32_t)self->config.min_contrast;
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
                            stretch_t stretch, uint32_t on, uint32_t floor) {
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
static uint32_t match(const em_cadence_t *self, uint32_t which, uint32_t track, uint32_t scale,
                      uint8_t *level) {
    const pattern_t *pattern = &PATTERNS[which];
    const stretch_t *stretches = self->stretches[which][scale];
    const int32_t min_contrast = self->config.min_contrast;
    moments_t rough = {.weakest_pulse = UINT32_MAX};
    for (uint32_t i = 0u; i < pattern->n_segments; ++i) {
        add_moments(&rough, pattern->segments[i].on,
                    (uint32_t)(stretches[i].old - stretches[i].young),
                    stretch_sum(&self->tracks, track, stretches[i]));
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
        add_above_floor(&fine, &self->tracks, track, stretches[i], pattern->segments[i].on,
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

/* One clock: two bursts of an alarm are equally long. */
static int are_alike(const pattern_t *pattern, const burst_t *a, const burst_t *b) {
    const int32_t differ = (int32_t)length_ms(pattern, a) - (int32_t)length_ms(pattern, b);
    const int32_t most = SAME_LENGTH * pattern->last_pulse_end_ms / 100;
    return differ <= most && differ >= -most;
}

/* Whether a burst lies as far back as the pattern asks. Of three bursts the second may be covered
 * by something as loud; where it is merely missing, this is no such alarm. */
static int is_in_cycle(const em_cadence_t *self, const pattern_t *pattern, const burst_t *burst,
                       const burst_t *earlier) {
    const uint32_t apart_ms = burst->start_ms - earlier->start_ms;
    if (apart_ms >= pattern->cycle_min_ms && apart_ms <= pattern->cycle_max_ms) {
        return 1;
    }
    return pattern->cycles_max > 1u && apart_ms >= 2u * pattern->cycle_min_ms &&
           apart_ms <= 2u * pattern->cycle_max_ms &&
           earlier->next_level + self->config.min_contrast >= earlier->level;
}

/* Looks for the burst a cycle earlier, in this track or a neighbour (a tone between two). */
static const burst_t *partner(em_cadence_t *self, uint32_t which, uint32_t track,
                              const burst_t *burst) {
    const pattern_t *pattern = &PATTERNS[which];
    const uint32_t first = track > 0u ? track - 1u : 0u;
    const uint32_t last = track + 1u < self->tracks.n_tracks ? track + 1u : track;
    const burst_t *best = NULL;
    for (uint32_t t = first; t <= last; ++t) {
        for (uint32_t i = 0u; i < RECENT; ++i) {
            const burst_t *earlier = &self->bursts[which][t][i];
            if (earlier->quality_permille != 0u && is_in_cycle(self, pattern, burst, earlier) &&
                are_alike(pattern, burst, earlier) &&
                (best == NULL || earlier->quality_permille > best->quality_permille)) {
                best = earlier;
            }
        }
    }
    return best;
}

/* How far the track stands out of its surroundings in a stretch, in 1/256 int8 steps: alarms are
 * tones, speech and knocks are not. Neighbours touch the tone, so two and three tracks away. */
static int32_t prominence(const em_tracks_t *tracks, uint32_t track, const stretch_t *stretches,
                          uint32_t n_stretches, const segment_t *segments) {
    uint32_t own = 0u, others = 0u, n = 0u, n_others = 0u;
    for (uint32_t i = 0u; i < n_stretches; ++i) {
        if (segments != NULL && segments[i].on == 0u) {
            continue;
        }
        const uint32_t steps = (uint32_t)(stretches[i].old - stretches[i].young);
        own += stretch_sum(tracks, track, stretches[i]);
        n += steps;
        for (uint32_t distance = 2u; distance <= 3u; ++distance) {
            if (track >= distance) {
                others += stretch_sum(tracks, track - distance, stretches[i]);
                n_others += steps;
            }
            if (track + distance < tracks->n_tracks) {
                others += stretch_sum(tracks, track + distance, stretches[i]);
                n_others += steps;
            }
        }
    }
    return (int32_t)((own << 8) / n) - (int32_t)((others << 8) / n_others);
}

/* Whether the newest steps but `skip` hold one pulse more than the burst may have. */
static int extra_pulse(const em_cadence_t *self, uint32_t track, const burst_t *burst,
                       uint32_t skip, uint32_t steps) {
    const stretch_t stretch = {.young = (uint16_t)skip, .old = (uint16_t)(skip + steps)};
    const int32_t contrast = (int32_t)self->config.min_contrast * 256;
    const int32_t mean = (int32_t)((stretch_sum(&self->tracks, track, stretch) << 8) / steps);
    const int32_t louder = mean - (int32_t)burst->level * 256;
    return louder * 10 >= -contrast * EXTRA_BELOW_TENTHS &&
           louder * 10 <= contrast * EXTRA_ABOVE_TENTHS &&
           prominence(&self->tracks, track, &stretch, 1u, NULL) * 4 >= contrast * 5;
}

/* Steps that a pulse of the burst surely fills. */
static uint32_t extra_steps(const em_cadence_t *self, const pattern_t *pattern,
                            const burst_t *burst) {
    const uint32_t ms =
        (uint32_t)pattern->pulse_ms * pattern->scales_permille[burst->scale] / 1000u;
    const uint32_t steps = ms * 1000u * EXTRA_LENGTH_PERCENT / 100u / self->tracks.step_us;
    return steps > 2u ? steps : 2u;
}

/* Whether one pulse more was heard before or since the pulses of a burst that is news. */
static int pause_is_broken(const em_cadence_t *self, const pattern_t *pattern, uint32_t track,
                           const burst_t *burst) {
    const uint32_t scale = pattern->scales_permille[burst->scale];
    const uint32_t steps = extra_steps(self, pattern, burst);
    const uint32_t margin = PAUSE_MARGIN_MS * 1000u / self->tracks.step_us;
    const uint32_t oldest = age_steps(self, pattern, pattern->begin_ms, scale);
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

/* Keeps how loud it was where the next burst of the alarm must have been. */
static void note_next(const em_cadence_t *self, const pattern_t *pattern, uint32_t track,
                      burst_t *burst) {
    const uint32_t steps = extra_steps(self, pattern, burst);
    const uint32_t level = em_tracks_sum(&self->tracks, track, 0u, steps) / steps;
    burst->next_level = level > burst->next_level ? (uint8_t)level : burst->next_level;
}

/* A pause must be a pause: bursts after which one more pulse is heard are forgotten. */
static void watch_pauses(em_cadence_t *self, uint32_t which, uint32_t track, uint32_t now_ms) {
    const pattern_t *pattern = &PATTERNS[which];
    for (uint32_t i = 0u; i < RECENT; ++i) {
        burst_t *burst = &self->bursts[which][track][i];
        const uint32_t since_ms = now_ms - burst->start_ms;
        if (burst->quality_permille == 0u) {
            continue;
        }
        if (since_ms > pattern->cycle_min_ms) {
            if (pattern->cycles_max == 1u ||
                since_ms > pattern->cycle_max_ms + (uint32_t)pattern->last_pulse_end_ms) {
                return; /* the others are older */
            }
            note_next(self, pattern, track, burst);
            continue;
        }
        const uint32_t steps = extra_steps(self, pattern, burst);
        const uint32_t first_ms =
            length_ms(pattern, burst) + PAUSE_MARGIN_MS + steps * self->tracks.step_us / 1000u;
        if (since_ms >= first_ms && extra_pulse(self, track, burst, 0u, steps)) {
            burst->quality_permille = 0u;
        }
    }
}

/* The best match of a burst that ends now, over all scales; quality 0: none. */
static burst_t best_match(const em_cadence_t *self, uint32_t which, uint32_t track,
                          uint32_t now_ms) {
    const pattern_t *pattern = &PATTERNS[which];
    burst_t best = {0};
    for (uint32_t scale = 0u; scale < SCALES; ++scale) {
        uint8_t level = 0u;
        const uint32_t quality = match(self, which, track, scale, &level);
        if (quality >= BURST_MIN_PERMILLE && quality > best.quality_permille) {
            best = (burst_t){
                .start_ms =
                    now_ms - (uint32_t)pattern->end_ms * pattern->scales_permille[scale] / 1000u,
                .quality_permille = (uint16_t)quality,
                .scale = (uint8_t)scale,
                .level = level,
            };
        }
    }
    return best;
}

/* Whether a burst of T4 in the same seconds fits better than a pair of T3: chance finds pairs of T3
 * in music while a CO alarm has shown only its first burst. */
static int is_rather_t4(const em_cadence_t *self, const em_cadence_hit_t *hit) {
    const uint64_t span_us = self->tracks.step_end_us - hit->onset_us;
    const uint32_t span_ms = (uint32_t)(span_us / 1000u) + T4_BEFORE_MS;
    const uint32_t now_ms = (uint32_t)(self->tracks.step_end_us / 1000u);
    for (uint32_t track = 0u; track < self->tracks.n_tracks; ++track) {
        for (uint32_t i = 0u; i < RECENT; ++i) {
            const burst_t *burst = &self->bursts[1][track][i];
            if (burst->quality_permille > hit->quality_permille &&
                now_ms - burst->start_ms <= span_ms) {
                return 1;
            }
        }
    }
    return 0;
}

static void evaluate(em_cadence_t *self, uint32_t which, em_cadence_hit_t *hit, int *found) {
    const pattern_t *pattern = &PATTERNS[which];
    const em_tracks_t *tracks = &self->tracks;
    const uint32_t now_ms = (uint32_t)(tracks->step_end_us / 1000u);
    if (tracks->steps_seen <
        age_steps(self, pattern, pattern->begin_ms, pattern->scales_permille[SCALES - 1u])) {
        return;
    }
    for (uint32_t track = 0u; track < tracks->n_tracks; ++track) {
        watch_pauses(self, which, track, now_ms);
        if (!is_worth_matching(self, which, track)) {
            continue;
        }
        const burst_t burst = best_match(self, which, track, now_ms);
        if (burst.quality_permille == 0u ||
            prominence(tracks, track, self->stretches[which][burst.scale], pattern->n_segments,
                       pattern->segments) < (int32_t)self->config.min_contrast * 256 ||
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
            hit->onset_us = tracks->step_end_us - (uint64_t)(now_ms - earlier->start_ms) * 1000u;
            hit->burst_end_us =
                tracks->step_end_us -
                (uint64_t)(now_ms - burst.start_ms - length_ms(pattern, &burst)) * 1000u;
            *found = 1;
        }
    }
}

em_status_t em_cadence_row(em_cadence_t *cadence, const int8_t *row, uint64_t now_us,
                           em_cadence_hit_t *hit, int *found) {
    if (cadence == NULL || row == NULL || hit == NULL || found == NULL) {
        return EM_ERR_ARGUMENT;
    }
    *found = 0;
    if (em_tracks_row(&cadence->tracks, row, now_us) == 0) {
        return EM_OK;
    }
    evaluate(cadence, 1u, hit, found);
    if (*found == 0 && cadence->tracks.steps_seen % T3_EVERY == 0u) {
        evaluate(cadence, 0u, hit, found);
        *found = *found != 0 && !is_rather_t4(cadence, hit);
    }
    return EM_OK;
}
