#include "earmark/detector.h"

#include <string.h>

#define SCORE_ONE ((int32_t)256 << 15) /* a score of 1.0 in the smoothing state */
/* A cadence ends when the next burst is this late. */
#define T3_SILENCE_US 7000000u
#define T4_SILENCE_US 9800000u
/* The network's agreement counts if it came within two and a half cycles. */
#define T3_GATE_US 10000000u
#define T4_GATE_US 14500000u

typedef enum { IDLE, PENDING, ACTIVE, ACTIVE_CADENCE, HELD } state_t;

typedef struct {
    uint64_t onset_us;
    uint64_t quiet_us;     /* refractory until */
    uint64_t updated_us;   /* last start or update */
    uint64_t agreed_us;    /* last time the score reached the gate */
    uint64_t burst_end_us; /* last pulse heard */
    int32_t smoothed;      /* 0..SCORE_ONE */
    uint32_t id;
    uint16_t threshold; /* adjustable; on_permille or cadence_permille */
    uint16_t applied;   /* the threshold that the running event passed */
    uint16_t peak_permille;
    uint8_t state;
    uint8_t agreed;
} label_state_t;

struct em_detector {
    const em_detector_config_t *config;
    em_cadence_t *cadence;
    em_cadence_hit_t heard[EM_CADENCE_PATTERNS]; /* newest pair of bursts of each pattern */
    uint32_t next_id;
    uint32_t dropped;
    uint8_t queue_first, queue_count;
    em_event_t queue[EM_DETECTOR_QUEUE];
    label_state_t *labels;
};

static size_t aligned8(size_t bytes) {
    return (bytes + 7u) & ~(size_t)7u;
}

static int valid_label(const em_label_t *label, const em_detector_config_t *config) {
    if (label->name == NULL || label->on_permille == 0u || label->on_permille > EM_NEVER_PERMILLE ||
        label->off_permille > label->on_permille || label->alpha_q15 == 0u ||
        label->alpha_q15 > 32767u || label->cadence > EM_CADENCE_T4 ||
        label->min_permille > label->max_permille) {
        return 0;
    }
    for (uint32_t i = 0u; label->classes != NULL && i < label->n_classes; ++i) {
        if (label->classes[i] >= config->n_scores) {
            return 0;
        }
    }
    return label->classes == NULL || label->n_classes > 0u;
}

static int valid_config(const em_detector_config_t *config) {
    if (config == NULL || config->labels == NULL || config->n_labels == 0u ||
        config->n_scores == 0u || config->inference_period_us == 0u) {
        return 0;
    }
    for (uint32_t i = 0u; i < config->n_labels; ++i) {
        const em_label_t *label = &config->labels[i];
        if (!valid_label(label, config) || (label->classes == NULL && i >= config->n_scores)) {
            return 0;
        }
    }
    return config->cadence.n_features == 0u || em_cadence_needed_bytes(&config->cadence) != 0u;
}

size_t em_detector_needed_bytes(const em_detector_config_t *config) {
    if (!valid_config(config)) {
        return 0u;
    }
    size_t bytes = aligned8(sizeof(em_detector_t)) +
                   aligned8((size_t)config->n_labels * sizeof(label_state_t));
    if (config->cadence.n_features != 0u) {
        bytes += em_cadence_needed_bytes(&config->cadence);
    }
    return bytes;
}

/* For cadence labels the adjustable threshold is the one on the correlation. */
static uint16_t default_threshold(const em_label_t *label) {
    return label->cadence != EM_CADENCE_NONE ? label->cadence_permille : label->on_permille;
}

em_status_t em_detector_init(em_detector_t **detector, const em_detector_config_t *config,
                             void *memory, size_t bytes) {
    const size_t needed = em_detector_needed_bytes(config);
    if (detector == NULL || memory == NULL || needed == 0u) {
        return EM_ERR_ARGUMENT;
    }
    if (bytes < needed || (uintptr_t)memory % 8u != 0u) {
        return EM_ERR_SIZE;
    }
    uint8_t *next = memory;
    em_detector_t *self = memory;
    memset(memory, 0, needed);
    self->config = config;
    self->next_id = 1u;
    next += aligned8(sizeof *self);
    self->labels = (label_state_t *)(void *)next;
    next += aligned8((size_t)config->n_labels * sizeof(label_state_t));
    for (uint32_t i = 0u; i < config->n_labels; ++i) {
        self->labels[i].threshold = default_threshold(&config->labels[i]);
    }
    if (config->cadence.n_features != 0u) {
        const em_status_t status = em_cadence_init(&self->cadence, &config->cadence, next,
                                                   em_cadence_needed_bytes(&config->cadence));
        if (status != EM_OK) {
            return status;
        }
    }
    *detector = self;
    return EM_OK;
}

static void emit(em_detector_t *self, uint32_t index, em_phase_t phase, uint64_t now_us,
                 uint64_t end_us) {
    const label_state_t *state = &self->labels[index];
    if (self->queue_count == EM_DETECTOR_QUEUE) {
        ++self->dropped;
        return;
    }
    const uint32_t slot = (self->queue_first + self->queue_count) % EM_DETECTOR_QUEUE;
    em_event_t *event = &self->queue[slot];
    const uint64_t dur_ms = end_us > state->onset_us ? (end_us - state->onset_us) / 1000u : 0u;
    *event = (em_event_t){
        .at_us = now_us,
        .onset_us = state->onset_us,
        .id = state->id,
        .dur_ms = phase == EM_PHASE_START  ? 0u
                  : dur_ms > EM_DUR_MS_MAX ? EM_DUR_MS_MAX
                                           : (uint32_t)dur_ms,
        .label = (uint16_t)index,
        .conf_permille = state->peak_permille,
        .thr_permille = state->applied,
        .phase = (uint8_t)phase,
    };
    ++self->queue_count;
}

int em_detector_pop(em_detector_t *detector, em_event_t *event) {
    if (detector->queue_count == 0u) {
        return 0;
    }
    *event = detector->queue[detector->queue_first];
    detector->queue_first = (uint8_t)((detector->queue_first + 1u) % EM_DETECTOR_QUEUE);
    --detector->queue_count;
    return 1;
}

static void begin(em_detector_t *self, uint32_t index, state_t next, uint64_t now_us) {
    const em_label_t *label = &self->config->labels[index];
    label_state_t *state = &self->labels[index];
    state->id = self->next_id++;
    state->updated_us = now_us;
    if ((label->flags & EM_LABEL_ONCE) != 0u) {
        emit(self, index, EM_PHASE_ONCE, now_us, now_us);
        state->state = HELD;
        state->quiet_us = now_us + (uint64_t)label->refractory_ms * 1000u;
    } else {
        emit(self, index, EM_PHASE_START, now_us, now_us);
        state->state = (uint8_t)next;
    }
}

static void finish(em_detector_t *self, uint32_t index, uint64_t now_us, uint64_t end_us) {
    label_state_t *state = &self->labels[index];
    emit(self, index, EM_PHASE_END, now_us, end_us);
    state->state = IDLE;
    state->quiet_us = now_us + (uint64_t)self->config->labels[index].refractory_ms * 1000u;
}

static void update(em_detector_t *self, uint32_t index, uint64_t now_us) {
    const uint64_t period_us = (uint64_t)self->config->labels[index].update_ms * 1000u;
    label_state_t *state = &self->labels[index];
    if (period_us != 0u && now_us - state->updated_us >= period_us) {
        state->updated_us = now_us;
        emit(self, index, EM_PHASE_UPDATE, now_us, now_us);
    }
}

/* Another cadence is being reported: a second alarm must then show itself without doubt. */
static int other_alarm_sounds(const em_detector_t *self, uint32_t index) {
    for (uint32_t i = 0u; i < self->config->n_labels; ++i) {
        if (i != index && self->labels[i].state == ACTIVE_CADENCE) {
            return 1;
        }
    }
    return 0;
}

/* One window of a second hears a tone, not its cadence: the scores of all alarms agree or none. */
static int network_agrees(const em_detector_t *self, uint64_t now_us, uint64_t span_us) {
    for (uint32_t i = 0u; i < self->config->n_labels; ++i) {
        const label_state_t *state = &self->labels[i];
        if (self->config->labels[i].cadence != EM_CADENCE_NONE && state->agreed != 0u &&
            now_us - state->agreed_us <= span_us) {
            return 1;
        }
    }
    return 0;
}

static int cadence_agrees(const em_detector_t *self, uint32_t index, const em_cadence_hit_t *hit,
                          uint64_t now_us) {
    const em_label_t *label = &self->config->labels[index];
    const label_state_t *state = &self->labels[index];
    if (label->cadence != (uint8_t)hit->pattern) {
        return 0;
    }
    if (hit->quality_permille >= label->cadence_alone_permille) {
        return 1;
    }
    const uint64_t span_us = hit->pattern == EM_CADENCE_T3 ? T3_GATE_US : T4_GATE_US;
    return hit->quality_permille >= state->threshold && !other_alarm_sounds(self, index) &&
           (label->gate_permille == 0u || network_agrees(self, now_us, span_us));
}

/* A sound has one cadence: of two patterns found in the same seconds, the better one counts. */
static int contradicted(const em_detector_t *self, const em_cadence_hit_t *hit) {
    const em_cadence_hit_t *other = &self->heard[hit->pattern == EM_CADENCE_T3 ? 1 : 0];
    return other->quality_permille > hit->quality_permille && other->burst_end_us > hit->onset_us;
}

static void on_hit(em_detector_t *self, uint32_t index, const em_cadence_hit_t *hit,
                   uint64_t now_us) {
    label_state_t *state = &self->labels[index];
    if (state->state == ACTIVE_CADENCE) {
        /* While it sounds, any further pair of bursts keeps it alive. */
        if (self->config->labels[index].cadence == (uint8_t)hit->pattern) {
            state->burst_end_us = hit->burst_end_us;
            state->peak_permille = hit->quality_permille > state->peak_permille
                                       ? hit->quality_permille
                                       : state->peak_permille;
        }
        return;
    }
    if (state->state == ACTIVE || state->state == HELD || now_us < state->quiet_us ||
        !cadence_agrees(self, index, hit, now_us) || contradicted(self, hit)) {
        return;
    }
    state->onset_us = hit->onset_us;
    state->burst_end_us = hit->burst_end_us;
    state->peak_permille = hit->quality_permille;
    state->applied = state->threshold;
    begin(self, index, ACTIVE_CADENCE, now_us);
}

em_status_t em_detector_row(em_detector_t *detector, const int8_t *row, uint64_t now_us) {
    if (detector == NULL || row == NULL) {
        return EM_ERR_ARGUMENT;
    }
    if (detector->cadence == NULL) {
        return EM_OK;
    }
    em_cadence_hit_t hit;
    int found = 0;
    const em_status_t status = em_cadence_row(detector->cadence, row, now_us, &hit, &found);
    if (status != EM_OK) {
        return status;
    }
    if (found != 0) {
        detector->heard[hit.pattern == EM_CADENCE_T3 ? 0 : 1] = hit;
    }
    for (uint32_t i = 0u; i < detector->config->n_labels; ++i) {
        const uint8_t pattern = detector->config->labels[i].cadence;
        if (pattern == EM_CADENCE_NONE ||
            (detector->config->labels[i].flags & EM_LABEL_REPORTED) == 0u) {
            continue;
        }
        if (found != 0) {
            on_hit(detector, i, &hit, now_us);
        }
        const label_state_t *state = &detector->labels[i];
        if (state->state == ACTIVE_CADENCE) {
            const uint64_t silence = pattern == EM_CADENCE_T3 ? T3_SILENCE_US : T4_SILENCE_US;
            if (now_us - state->burst_end_us > silence) {
                finish(detector, i, now_us, state->burst_end_us);
            } else {
                update(detector, i, now_us);
            }
        }
    }
    return EM_OK;
}

static uint16_t to_permille(int32_t smoothed) {
    return (uint16_t)(((int64_t)smoothed * 1000 + SCORE_ONE / 2) / SCORE_ONE);
}

static int32_t best_score(const em_label_t *label, uint32_t index, const int8_t *scores) {
    if (label->classes == NULL) {
        return (int32_t)scores[index] + 128;
    }
    int32_t best = 0;
    for (uint32_t i = 0u; i < label->n_classes; ++i) {
        const int32_t score = (int32_t)scores[label->classes[i]] + 128;
        best = score > best ? score : best;
    }
    return best;
}

/* The off threshold keeps its distance when the on threshold is moved in the field. */
static uint16_t off_threshold(const em_label_t *label, const label_state_t *state) {
    const uint16_t on = label->cadence == EM_CADENCE_NONE ? state->threshold : label->on_permille;
    const uint16_t distance = (uint16_t)(label->on_permille - label->off_permille);
    return on > distance ? (uint16_t)(on - distance) : 1u;
}

static void on_score(em_detector_t *self, uint32_t index, uint16_t score, uint64_t now_us) {
    const em_label_t *label = &self->config->labels[index];
    label_state_t *state = &self->labels[index];
    const uint16_t on = label->cadence == EM_CADENCE_NONE ? state->threshold : label->on_permille;
    const uint64_t period_us = self->config->inference_period_us;
    switch ((state_t)state->state) {
    case ACTIVE_CADENCE:
        return;
    case HELD:
        if (score < off_threshold(label, state)) {
            state->state = IDLE;
        }
        return;
    case ACTIVE:
        state->peak_permille = score > state->peak_permille ? score : state->peak_permille;
        if (score < off_threshold(label, state)) {
            finish(self, index, now_us, now_us);
        } else {
            update(self, index, now_us);
        }
        return;
    case IDLE:
        if (score < on || now_us < state->quiet_us) {
            return;
        }
        state->state = PENDING;
        state->onset_us = now_us > period_us ? now_us - period_us : 0u;
        state->peak_permille = 0u;
        break;
    case PENDING:
        if (score < on) {
            state->state = IDLE;
            return;
        }
        break;
    }
    state->peak_permille = score > state->peak_permille ? score : state->peak_permille;
    if (now_us - state->onset_us >= (uint64_t)label->min_duration_ms * 1000u) {
        state->applied = on;
        begin(self, index, ACTIVE, now_us);
    }
}

em_status_t em_detector_scores(em_detector_t *detector, const int8_t *scores, uint64_t now_us) {
    if (detector == NULL || scores == NULL) {
        return EM_ERR_ARGUMENT;
    }
    for (uint32_t i = 0u; i < detector->config->n_labels; ++i) {
        const em_label_t *label = &detector->config->labels[i];
        label_state_t *state = &detector->labels[i];
        const int32_t target = (int32_t)((uint32_t)best_score(label, i, scores) << 15);
        const int64_t change = (int64_t)(target - state->smoothed) * label->alpha_q15;
        state->smoothed += (int32_t)(change / 32767);
        if ((label->flags & EM_LABEL_REPORTED) == 0u) {
            continue;
        }
        const uint16_t score = to_permille(state->smoothed);
        if (score >= label->gate_permille) {
            state->agreed_us = now_us;
            state->agreed = 1u;
        }
        on_score(detector, i, score, now_us);
    }
    return EM_OK;
}

uint32_t em_detector_dropped(const em_detector_t *detector) {
    return detector->dropped;
}

uint16_t em_detector_score_permille(const em_detector_t *detector, uint16_t label) {
    return label < detector->config->n_labels ? to_permille(detector->labels[label].smoothed) : 0u;
}

uint16_t em_detector_threshold(const em_detector_t *detector, uint16_t label) {
    return label < detector->config->n_labels ? detector->labels[label].threshold : 0u;
}

em_status_t em_detector_set_threshold(em_detector_t *detector, uint16_t label, uint16_t permille) {
    if (detector == NULL || label >= detector->config->n_labels ||
        permille < detector->config->labels[label].min_permille ||
        permille > detector->config->labels[label].max_permille) {
        return EM_ERR_ARGUMENT;
    }
    detector->labels[label].threshold = permille;
    return EM_OK;
}

void em_detector_reset(em_detector_t *detector, uint64_t now_us) {
    for (uint32_t i = 0u; i < detector->config->n_labels; ++i) {
        label_state_t *state = &detector->labels[i];
        if (state->state == ACTIVE || state->state == ACTIVE_CADENCE) {
            finish(detector, i, now_us, now_us);
        }
        state->state = IDLE;
        state->smoothed = 0;
        state->agreed = 0u;
    }
    memset(detector->heard, 0, sizeof detector->heard);
    if (detector->cadence != NULL) {
        em_cadence_reset(detector->cadence);
    }
}
