/* Labels and detector of the stand-in network; the front end is logmel-64-20ms. */
#include "earmark/bundle.h"
#include "frontend_tables.h"

#define LABEL(label_name, label_flags)                                                             \
    {.name = label_name, .on_permille = 800, .off_permille = 500, .min_permille = 300,             \
     .max_permille = 950, .alpha_q15 = 32767, .min_duration_ms = 400, .refractory_ms = 1000,       \
     .flags = label_flags}

static const em_label_t LABELS[] = {
    LABEL("whistle", EM_LABEL_REPORTED | EM_LABEL_CRITICAL),
    LABEL("hum", EM_LABEL_REPORTED),
    LABEL("background", 0),
};

const em_bundle_t em_bundle = {
    .model_version = "stand-in-1.0.0+0000",
    .frontend_hash = EM_FRONTEND_HASH_HEX,
    .sample_rate_hz = 16000,
    .hop_length = 320,
    .n_features = 64,
    .context_frames = 50,
    .hop_frames = 10,
    .detector = {.labels = LABELS,
                 .n_labels = 3,
                 .n_scores = 3,
                 .inference_period_us = 200000},
};
