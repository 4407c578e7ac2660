/* Which model listens, and how a new one comes: model_own.c (compiled engine: it is part of the
 * application) or model_slot.c (TensorFlow Lite Micro: also from the model partition). */
#ifndef EARMARK_MODELS_H
#define EARMARK_MODELS_H

#include "earmark/audio_task.h"
#include "earmark/ports.h"

/* Starts listening with the first model that passes its self-test. config holds the application's
 * own; *used is the bundle that runs. */
esp_err_t em_models_start(const em_audio_config_t *config, const em_kv_t *settings,
                          const em_bundle_t **used);
/* NULL, or why no model can come over the air: the answer to the command. */
const char *em_models_refusal(void);
/* Blocks for a minute; the new model is on trial from the next boot on. */
esp_err_t em_models_update(const char *version, const void *ca, size_t ca_bytes);

#endif
