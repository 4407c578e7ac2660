/* Frames on the serial line (docs/firmware-recorder.md); `earmark data record` reads them.
 *
 * Little-endian: "EMR1" | sequence u32 | sample rate in Hz u32 | samples u16 | flags u16 |
 * int16 samples | CRC-32 u32 over everything before it. */
#ifndef EARMARK_RECORDER_FRAME_H
#define EARMARK_RECORDER_FRAME_H

#include <stddef.h>
#include <stdint.h>

enum {
    EM_RECORDER_MAX_SAMPLES = 320,
    EM_RECORDER_HEADER_BYTES = 16,
    EM_RECORDER_FRAME_BYTES = EM_RECORDER_HEADER_BYTES + 2 * EM_RECORDER_MAX_SAMPLES + 4,
    EM_RECORDER_OVERRUN = 1 /* samples were lost before this frame */
};

/* Returns the bytes written to out; 0 if n_samples is too large. */
size_t em_recorder_frame(uint8_t out[EM_RECORDER_FRAME_BYTES], uint32_t sequence,
                         uint32_t sample_rate_hz, uint16_t flags, const int16_t *pcm,
                         size_t n_samples);

#endif
