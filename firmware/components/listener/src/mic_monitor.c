#include "earmark/mic_monitor.h"

#include <limits.h>
#include <string.h>

enum { CLIP_LEVEL = 32760, DC_LIMIT = 8192, FULL_SCALE_LOG2 = 30, UNKNOWN_DBFS = INT16_MAX };

static void begin_second(em_mic_monitor_t *m) {
    m->n = m->n_clipped = 0;
    m->sum = 0;
    m->sum_squares = 0;
    m->lowest = INT16_MAX;
    m->highest = INT16_MIN;
}

void em_mic_monitor_init(em_mic_monitor_t *m, uint32_t sample_rate_hz) {
    memset(m, 0, sizeof *m);
    m->sample_rate_hz = sample_rate_hz;
    m->minute_dbfs = m->previous_dbfs = UNKNOWN_DBFS;
    begin_second(m);
}

/* 10 log10(x / 2^30) in steps of 3 dB is 3 (floor(log2 x) - 30). */
static int16_t level_dbfs(uint64_t mean_square) {
    int log2 = 0;
    while (mean_square > 1) {
        mean_square >>= 1;
        log2++;
    }
    return (int16_t)(3 * (log2 - FULL_SCALE_LOG2));
}

static void end_second(em_mic_monitor_t *m) {
    const int64_t mean = m->sum / (int64_t)m->n;
    const uint64_t dc_energy = (uint64_t)(mean * m->sum);
    const uint64_t mean_square =
        m->sum_squares > dc_energy ? (m->sum_squares - dc_energy) / m->n : 0;
    const bool constant = m->lowest == m->highest;
    uint32_t flags = 0;
    if (constant && m->lowest == 0) {
        flags |= EM_MIC_SILENT;
    } else if (constant || mean > DC_LIMIT || mean < -DC_LIMIT) {
        flags |= EM_MIC_DC;
    } else if (mean_square == 0) {
        flags |= EM_MIC_NO_FLOOR; /* below -90 dBFS: no microphone in air is that quiet */
    }
    if (m->n_clipped > m->n / 100) {
        flags |= EM_MIC_CLIPPING;
    }
    m->flags = flags;
    m->heard = true;
    const int16_t dbfs = level_dbfs(mean_square);
    m->minute_dbfs = dbfs < m->minute_dbfs ? dbfs : m->minute_dbfs;
    if (++m->seconds == EM_MIC_WINDOW_SECONDS) {
        m->seconds = 0;
        m->previous_dbfs = m->minute_dbfs;
        m->minute_dbfs = UNKNOWN_DBFS;
    }
    begin_second(m);
}

bool em_mic_monitor_process(em_mic_monitor_t *m, const int16_t *pcm, size_t n_samples) {
    bool completed = false;
    for (size_t i = 0; i < n_samples; i++) {
        const int16_t x = pcm[i];
        m->sum += x;
        m->sum_squares += (uint64_t)((int32_t)x * x);
        m->n_clipped += x > CLIP_LEVEL || x < -CLIP_LEVEL;
        m->lowest = x < m->lowest ? x : m->lowest;
        m->highest = x > m->highest ? x : m->highest;
        if (++m->n == m->sample_rate_hz) {
            end_second(m);
            completed = true;
        }
    }
    return completed;
}

int16_t em_mic_monitor_noise_dbfs(const em_mic_monitor_t *m) {
    return m->minute_dbfs < m->previous_dbfs ? m->minute_dbfs : m->previous_dbfs;
}
