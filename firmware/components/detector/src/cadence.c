#include "earmark/cadence.h"

#include "burst.h"

#include <string.h>

#define RECENT 4u
#define T3_EVERY 4u /* steps between looks for T3, a fifth of its gaps; for T4 every step */
#define SAME_LENGTH_PERCENT 9
/* One pulse more than the pattern: this long, in percent of the burst's pulses, about as loud, in
 * tenths of the least contrast, and a tone. Alarm clocks (four 0.1 s beeps every second) and five
 * pulses with a long pause are no T4. */
#define EXTRA_LENGTH_PERCENT 70u
#define EXTRA_BELOW_TENTHS 8
#define EXTRA_ABOVE_TENTHS 20
#define T4_BEFORE_MS 1500u  /* a T4 burst this long before a pair of T3 still speaks against it */
#define PAUSE_MARGIN_MS 70u /* after the last pulse: rows overlap and rooms ring */

struct em_cadence {
    em_cadence_config_t config;
    em_tracks_t tracks;
    em_burst_layout_t layouts[EM_CADENCE_PATTERNS];
    em_burst_t bursts[EM_CADENCE_PATTERNS][EM_TRACKS_MAX][RECENT]; /* newest first */
};

static size_t own_bytes(void) {
    return (sizeof(em_cadence_t) + 7u) & ~(size_t)7u;
}

size_t em_cadence_needed_bytes(const em_cadence_config_t *config) {
    const size_t bytes = em_tracks_bytes(config);
    return bytes == 0u ? 0u : own_bytes() + bytes;
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
    for (uint32_t which = 0u; which < EM_CADENCE_PATTERNS; ++which) {
        em_burst_lay_out(&self->layouts[which], &em_burst_patterns[which], self->tracks.step_us,
                         config->min_contrast);
    }
    *cadence = self;
    return EM_OK;
}

void em_cadence_reset(em_cadence_t *cadence) {
    em_tracks_reset(&cadence->tracks);
    memset(cadence->bursts, 0, sizeof cadence->bursts);
}

/* Remembers a burst; a better match of the same burst replaces it. Returns 1 if it is news. */
static int remember(em_burst_t recent[RECENT], const em_burst_t *burst, int32_t merge_ms) {
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
static uint32_t length_ms(const em_burst_pattern_t *pattern, const em_burst_t *burst) {
    return (uint32_t)pattern->last_pulse_end_ms * pattern->scales_permille[burst->scale] / 1000u;
}

/* One clock: two bursts of an alarm are equally long. */
static int are_alike(const em_burst_pattern_t *pattern, const em_burst_t *a, const em_burst_t *b) {
    const int32_t differ = (int32_t)length_ms(pattern, a) - (int32_t)length_ms(pattern, b);
    const int32_t most = SAME_LENGTH_PERCENT * pattern->last_pulse_end_ms / 100;
    return differ <= most && differ >= -most;
}

/* Whether a burst lies as far back as the pattern asks. Of three bursts the second may be covered
 * by something as loud; where it is merely missing, this is no such alarm. */
static int is_in_cycle(const em_cadence_t *self, const em_burst_pattern_t *pattern,
                       const em_burst_t *burst, const em_burst_t *earlier) {
    const uint32_t apart_ms = burst->start_ms - earlier->start_ms;
    if (apart_ms >= pattern->cycle_min_ms && apart_ms <= pattern->cycle_max_ms) {
        return 1;
    }
    return pattern->cycles_max > 1u && apart_ms >= 2u * pattern->cycle_min_ms &&
           apart_ms <= 2u * pattern->cycle_max_ms &&
           earlier->next_level + self->config.min_contrast >= earlier->level;
}

/* Looks for the burst a cycle earlier, in this track or a neighbour (a tone between two). */
static const em_burst_t *partner(em_cadence_t *self, uint32_t which, uint32_t track,
                                 const em_burst_t *burst) {
    const em_burst_pattern_t *pattern = &em_burst_patterns[which];
    const uint32_t first = track > 0u ? track - 1u : 0u;
    const uint32_t last = track + 1u < self->tracks.n_tracks ? track + 1u : track;
    const em_burst_t *best = NULL;
    for (uint32_t t = first; t <= last; ++t) {
        for (uint32_t i = 0u; i < RECENT; ++i) {
            const em_burst_t *earlier = &self->bursts[which][t][i];
            if (earlier->quality_permille != 0u && is_in_cycle(self, pattern, burst, earlier) &&
                are_alike(pattern, burst, earlier) &&
                (best == NULL || earlier->quality_permille > best->quality_permille)) {
                best = earlier;
            }
        }
    }
    return best;
}

/* Whether the newest steps but `skip` hold one pulse more than the burst may have. */
static int extra_pulse(const em_cadence_t *self, uint32_t track, const em_burst_t *burst,
                       uint32_t skip, uint32_t steps) {
    const em_burst_stretch_t stretch = {.young = (uint16_t)skip, .old = (uint16_t)(skip + steps)};
    const int32_t contrast = (int32_t)self->config.min_contrast * 256;
    const int32_t mean = (int32_t)((em_burst_sum(&self->tracks, track, stretch) << 8) / steps);
    const int32_t louder = mean - (int32_t)burst->level * 256;
    return louder * 10 >= -contrast * EXTRA_BELOW_TENTHS &&
           louder * 10 <= contrast * EXTRA_ABOVE_TENTHS &&
           em_burst_prominence(&self->tracks, track, &stretch, 1u, NULL) * 4 >= contrast * 5;
}

/* Steps that a pulse of the burst surely fills. */
static uint32_t extra_steps(const em_cadence_t *self, const em_burst_pattern_t *pattern,
                            const em_burst_t *burst) {
    const uint32_t ms =
        (uint32_t)pattern->pulse_ms * pattern->scales_permille[burst->scale] / 1000u;
    const uint32_t steps = ms * 1000u * EXTRA_LENGTH_PERCENT / 100u / self->tracks.step_us;
    return steps > 2u ? steps : 2u;
}

/* Whether one pulse more was heard before or since the pulses of a burst that is news. */
static int pause_is_broken(const em_cadence_t *self, const em_burst_layout_t *layout,
                           uint32_t track, const em_burst_t *burst) {
    const em_burst_pattern_t *pattern = layout->pattern;
    const uint32_t scale = pattern->scales_permille[burst->scale];
    const uint32_t steps = extra_steps(self, pattern, burst);
    const uint32_t margin = PAUSE_MARGIN_MS * 1000u / self->tracks.step_us;
    const uint32_t oldest = em_burst_age_steps(layout, pattern->begin_ms, scale);
    const uint32_t first = em_burst_age_steps(layout, 0, scale) + margin;
    const uint32_t last = em_burst_age_steps(layout, pattern->last_pulse_end_ms, scale) - margin;
    for (uint32_t skip = 0u; skip + steps <= oldest; ++skip) {
        skip = skip + steps > last && skip < first ? first : skip;
        if (skip + steps <= oldest && extra_pulse(self, track, burst, skip, steps)) {
            return 1;
        }
    }
    return 0;
}

/* Keeps how loud it was where the next burst of the alarm must have been. */
static void note_next(const em_cadence_t *self, const em_burst_pattern_t *pattern, uint32_t track,
                      em_burst_t *burst) {
    const uint32_t steps = extra_steps(self, pattern, burst);
    const uint32_t level = em_tracks_sum(&self->tracks, track, 0u, steps) / steps;
    burst->next_level = level > burst->next_level ? (uint8_t)level : burst->next_level;
}

/* A pause must be a pause: bursts after which one more pulse is heard are forgotten. */
static void watch_pauses(em_cadence_t *self, uint32_t which, uint32_t track, uint32_t now_ms) {
    const em_burst_pattern_t *pattern = &em_burst_patterns[which];
    const uint32_t watched_ms = pattern->cycles_max > 1u
                                    ? pattern->cycle_max_ms + (uint32_t)pattern->last_pulse_end_ms
                                    : pattern->cycle_min_ms;
    for (uint32_t i = 0u; i < RECENT; ++i) {
        em_burst_t *burst = &self->bursts[which][track][i];
        const uint32_t since_ms = now_ms - burst->start_ms;
        if (since_ms > watched_ms) {
            return; /* the others are older */
        }
        if (burst->quality_permille == 0u) {
            continue;
        }
        if (since_ms > pattern->cycle_min_ms) {
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

/* Whether a burst of T4 in the same seconds fits better than a pair of T3: chance finds pairs of T3
 * in music while a CO alarm has shown only its first burst. */
static int is_rather_t4(const em_cadence_t *self, const em_cadence_hit_t *hit) {
    const uint64_t span_us = self->tracks.step_end_us - hit->onset_us;
    const uint32_t span_ms = (uint32_t)(span_us / 1000u) + T4_BEFORE_MS;
    const uint32_t now_ms = (uint32_t)(self->tracks.step_end_us / 1000u);
    for (uint32_t track = 0u; track < self->tracks.n_tracks; ++track) {
        for (uint32_t i = 0u; i < RECENT; ++i) {
            const em_burst_t *burst = &self->bursts[1][track][i];
            if (burst->quality_permille > hit->quality_permille &&
                now_ms - burst->start_ms <= span_ms) {
                return 1;
            }
        }
    }
    return 0;
}

static void evaluate(em_cadence_t *self, uint32_t which, em_cadence_hit_t *hit, int *found) {
    const em_burst_layout_t *layout = &self->layouts[which];
    const em_burst_pattern_t *pattern = layout->pattern;
    const em_tracks_t *tracks = &self->tracks;
    const uint32_t now_ms = (uint32_t)(tracks->step_end_us / 1000u);
    if (tracks->steps_seen < em_burst_age_steps(layout, pattern->begin_ms,
                                                pattern->scales_permille[EM_BURST_SCALES - 1u])) {
        return;
    }
    for (uint32_t track = 0u; track < tracks->n_tracks; ++track) {
        watch_pauses(self, which, track, now_ms);
        const em_burst_t burst = em_burst_find(layout, tracks, track, now_ms);
        if (burst.quality_permille == 0u || pause_is_broken(self, layout, track, &burst) ||
            !remember(self->bursts[which][track], &burst, pattern->merge_ms)) {
            continue;
        }
        const em_burst_t *earlier = partner(self, which, track, &burst);
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
