/* What the device knows about its model, beside the weights. Generated from bundle.json. */
#ifndef EARMARK_BUNDLE_H
#define EARMARK_BUNDLE_H

#include "earmark/detector.h"

typedef struct {
    const char *model_version; /* "em-1.4.0+3fa9": version and start of the weights' hash */
    const char *frontend_hash; /* 16 hex digits of the specification the network was trained on */
    uint32_t sample_rate_hz;
    uint16_t hop_length;     /* samples per front-end row */
    uint16_t n_features;     /* values per row */
    uint16_t context_frames; /* rows per inference */
    uint16_t hop_frames;     /* rows between inferences, at most context_frames */
    em_detector_config_t detector;
} em_bundle_t;

#endif
