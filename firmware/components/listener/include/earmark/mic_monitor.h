/* Tells a listening microphone from a dead, covered or miswired one, from integers of one second.
 */
#ifndef EARMARK_MIC_MONITOR_H
#define EARMARK_MIC_MONITOR_H

#include "earmark/handover.h"

#include <stddef.h>

enum { EM_MIC_WINDOW_SECONDS = 60 };

typedef struct {
    uint32_t sample_rate_hz;
    uint32_t n; /* samples of the current second */
    int64_t sum;
    uint64_t sum_squares;
    uint32_t n_clipped;
    int16_t lowest, highest;
    uint32_t seconds;                   /* of the current minute */
    int16_t minute_dbfs, previous_dbfs; /* quietest second of each */
    bool heard;
    uint32_t flags; /* EM_MIC_..., of the newest full second */
} em_mic_monitor_t;

void em_mic_monitor_init(em_mic_monitor_t *monitor, uint32_t sample_rate_hz);
/* Returns true when a second was completed. */
bool em_mic_monitor_process(em_mic_monitor_t *monitor, const int16_t *pcm, size_t n_samples);
/* Quietest second of the last one to two minutes, dBFS in steps of 3 dB; valid once heard. */
int16_t em_mic_monitor_noise_dbfs(const em_mic_monitor_t *monitor);

#endif
