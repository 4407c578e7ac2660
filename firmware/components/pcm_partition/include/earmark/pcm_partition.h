/* A microphone for emulators, which have no I2S: plays the partition "pcm" into the ring. Not
 * available in release builds. */
#ifndef EARMARK_PCM_PARTITION_H
#define EARMARK_PCM_PARTITION_H

#include "earmark/pcm_ring.h"

#include <esp_err.h>

/* Starts a task that keeps the ring filled, as fast as it is emptied, and logs "all audio was
 * heard" behind the last sample. ESP_ERR_INVALID_STATE: the partition holds no audio. */
esp_err_t em_pcm_partition_start(em_pcm_ring_t *ring);

#endif
