/* I2S or PDM microphone (Kconfig) into a ring; a task of its own on core 1. */
#ifndef EARMARK_MICROPHONE_H
#define EARMARK_MICROPHONE_H

#include "earmark/pcm_ring.h"

#include <esp_err.h>

/* Starts the DMA and the capture task. The ring must be in internal SRAM. */
esp_err_t em_microphone_start(em_pcm_ring_t *ring);
/* Bytes of the capture task's stack that were never used. */
uint32_t em_microphone_stack_free_bytes(void);

#endif
