/* The classify task: from the ring through the pipeline to the handover, on core 1. Uses no log, no
 * network and no storage; failures are return values and flags. */
#ifndef EARMARK_AUDIO_TASK_H
#define EARMARK_AUDIO_TASK_H

#include "earmark/golden_features.h"
#include "earmark/listener.h"
#include "earmark/pcm_ring.h"

#include <esp_err.h>

typedef struct {
    const em_bundle_t *bundle;
    const em_frontend_tables_t *tables;
    const em_golden_features_t *golden_features;
    const em_model_t *model;
    em_handover_t *handover;
    em_pcm_ring_t *ring;
    uint32_t (*capture_stack_free_bytes)(void); /* NULL: unknown */
} em_audio_config_t;

/* Allocates the pipeline in internal SRAM (the only allocation of the audio path), runs the
 * self-test, starts the task. On failure nothing is left behind, so that another model can be
 * tried. ESP_ERR_INVALID_CRC: golden features not reproduced. ESP_ERR_INVALID_STATE: model and
 * front end do not belong together. ESP_ERR_INVALID_RESPONSE: golden vector of the network not
 * reproduced. */
esp_err_t em_audio_start(const em_audio_config_t *config);

#endif
