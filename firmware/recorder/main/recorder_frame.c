#include "recorder_frame.h"

#include "earmark/crc32.h"

#include <string.h>

static uint8_t *put(uint8_t *out, uint32_t value, int n_bytes) {
    for (int i = 0; i < n_bytes; i++) {
        *out++ = (uint8_t)(value >> (8 * i));
    }
    return out;
}

size_t em_recorder_frame(uint8_t out[EM_RECORDER_FRAME_BYTES], uint32_t sequence,
                         uint32_t sample_rate_hz, uint16_t flags, const int16_t *pcm,
                         size_t n_samples) {
    if (n_samples > EM_RECORDER_MAX_SAMPLES) {
        return 0;
    }
    memcpy(out, "EMR1", 4);
    uint8_t *at = put(out + 4, sequence, 4);
    at = put(at, sample_rate_hz, 4);
    at = put(at, (uint32_t)n_samples, 2);
    at = put(at, flags, 2);
    for (size_t i = 0; i < n_samples; i++) {
        at = put(at, (uint16_t)pcm[i], 2);
    }
    const size_t n_bytes = (size_t)(at - out);
    (void)put(at, em_crc32(0, out, n_bytes), 4);
    return n_bytes + 4;
}
