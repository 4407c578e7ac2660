#include "tracks.h"

#include <string.h>

#define STEP_TARGET_US 20000u
#define WINDOW_US 5200000u /* longest pattern at its slowest scale, with flanks */
#define CLIP_TENTHS 9u     /* PCEN's result at 127 - clip_steps */

static uint32_t rows_per_step(const em_cadence_config_t *config) {
    const uint32_t rows = STEP_TARGET_US / config->row_period_us;
    return rows > 0u ? rows : 1u;
}

static uint32_t bands_per_track(const em_cadence_config_t *config) {
    return (config->n_features + EM_TRACKS_MAX - 1u) / EM_TRACKS_MAX;
}

static uint32_t track_count(const em_cadence_config_t *config) {
    const uint32_t per_track = bands_per_track(config);
    return (config->n_features + per_track - 1u) / per_track;
}

static uint32_t step_count(const em_cadence_config_t *config) {
    return WINDOW_US / (rows_per_step(config) * config->row_period_us) + 1u;
}

static size_t aligned8(size_t bytes) {
    return (bytes + 7u) & ~(size_t)7u;
}

static size_t means_bytes(const em_cadence_config_t *config) {
    return config->clip_steps == 0u ? 0u : aligned8((size_t)config->n_features * sizeof(int32_t));
}

size_t em_tracks_bytes(const em_cadence_config_t *config) {
    if (config == NULL || config->row_period_us < 5000u || config->row_period_us > 25000u ||
        config->n_features < 8u || config->n_features > 1024u) {
        return 0u;
    }
    return means_bytes(config) +
           aligned8((size_t)track_count(config) * step_count(config) * sizeof(uint16_t));
}

void em_tracks_init(em_tracks_t *tracks, const em_cadence_config_t *config, void *memory) {
    tracks->row_us = config->row_period_us;
    tracks->rows_per_step = (uint8_t)rows_per_step(config);
    tracks->step_us = tracks->rows_per_step * config->row_period_us;
    tracks->n_features = config->n_features;
    tracks->bands_per_track = (uint16_t)bands_per_track(config);
    tracks->n_tracks = (uint16_t)track_count(config);
    tracks->n_steps = (uint16_t)step_count(config);
    tracks->is_pcen = config->clip_steps != 0u;
    tracks->means = memory;
    tracks->sums = (uint16_t *)(void *)((uint8_t *)memory + means_bytes(config));
    if (tracks->is_pcen != 0u) {
        const uint32_t per_unit = (255u - config->clip_steps) * 10u / CLIP_TENTHS;
        em_pcen_log_init(&tracks->pcen, per_unit > 0u ? per_unit : 1u, config->min_contrast);
    }
    em_tracks_reset(tracks);
}

void em_tracks_reset(em_tracks_t *tracks) {
    tracks->steps_seen = 0u;
    tracks->rows_in_step = 0u;
    tracks->newest = 0u;
    memset(tracks->filling, 0, sizeof tracks->filling);
    memset(tracks->sums, 0, (size_t)tracks->n_tracks * tracks->n_steps * sizeof(uint16_t));
    for (uint32_t band = 0u; tracks->is_pcen != 0u && band < tracks->n_features; ++band) {
        tracks->means[band] = em_pcen_log_start();
    }
}

static void append(em_tracks_t *tracks, uint32_t track, uint32_t from, uint32_t value) {
    uint16_t *sums = tracks->sums + (size_t)track * tracks->n_steps;
    sums[tracks->newest] = (uint16_t)(sums[from] + value);
}

/* Returns the position of the step before. */
static uint32_t advance(em_tracks_t *tracks) {
    const uint32_t before = tracks->newest;
    tracks->newest = (uint16_t)(before + 1u < tracks->n_steps ? before + 1u : 0u);
    tracks->step_end_us += tracks->step_us;
    if (tracks->steps_seen < UINT32_MAX) {
        ++tracks->steps_seen;
    }
    return before;
}

/* Audio that was lost: hold the last values so that no edge is invented. */
static void bridge_gap(em_tracks_t *tracks, uint64_t now_us) {
    const uint64_t missing = (now_us - tracks->step_end_us) / tracks->step_us;
    if (missing <= 1u) {
        return;
    }
    if (missing > tracks->n_steps) {
        em_tracks_reset(tracks);
        tracks->step_end_us = now_us;
        return;
    }
    for (uint64_t i = 1u; i < missing; ++i) {
        uint8_t last[EM_TRACKS_MAX];
        for (uint32_t track = 0u; track < tracks->n_tracks; ++track) {
            last[track] = (uint8_t)em_tracks_sum(tracks, track, 0u, 1u);
        }
        const uint32_t before = advance(tracks);
        for (uint32_t track = 0u; track < tracks->n_tracks; ++track) {
            append(tracks, track, before, last[track]);
        }
    }
    memset(tracks->filling, 0, sizeof tracks->filling);
    tracks->rows_in_step = 0u;
}

int em_tracks_row(em_tracks_t *tracks, const int8_t *row, uint64_t now_us) {
    if (tracks->steps_seen == 0u && tracks->rows_in_step == 0u) {
        tracks->step_end_us = now_us - tracks->row_us;
    } else {
        bridge_gap(tracks, now_us);
    }
    for (uint32_t track = 0u, band = 0u; track < tracks->n_tracks; ++track) {
        int32_t largest = INT8_MIN;
        for (uint32_t i = 0u; i < tracks->bands_per_track && band < tracks->n_features; ++i) {
            const int32_t value =
                tracks->is_pcen != 0u
                    ? em_pcen_log_value(&tracks->pcen, row[band], &tracks->means[band])
                    : row[band];
            largest = value > largest ? value : largest;
            ++band;
        }
        tracks->filling[track] = (int16_t)(tracks->filling[track] + largest);
    }
    if (++tracks->rows_in_step < tracks->rows_per_step) {
        return 0;
    }
    const uint32_t before = advance(tracks);
    for (uint32_t track = 0u; track < tracks->n_tracks; ++track) {
        const int32_t mean = tracks->filling[track] / (int32_t)tracks->rows_per_step;
        append(tracks, track, before, (uint32_t)(mean + 128));
    }
    memset(tracks->filling, 0, sizeof tracks->filling);
    tracks->rows_in_step = 0u;
    tracks->step_end_us = now_us;
    return 1;
}
