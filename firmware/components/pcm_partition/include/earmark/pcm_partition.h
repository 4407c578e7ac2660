/* A microphone for emulators, which have no I2S: plays the partition "pcm" into the ring. Not
 * available in release builds. */
#ifndef EARMARK_PCM_PARTITION_H
#define EARMARK_PCM_PARTITION_H

#include "earmark/pcm_ring.h"

#include <esp_err.h>
#include <stdbool.h>

/* The partition holds "PCM1", the number of samples (u32, little-endian), then 16 kHz int16. Starts
 * a task that keeps the ring filled, as fast as it is emptied. */
esp_err_t em_pcm_partition_start(em_pcm_ring_t *ring);
/* True after the last sample was read. */
bool em_pcm_partition_done(const em_pcm_ring_t *ring);

#endif
