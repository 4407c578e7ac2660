/* The simulator's microphone: a WAV file, or raw little-endian int16 from a file or a pipe. */
#ifndef EARMARK_PCM_SOURCE_H
#define EARMARK_PCM_SOURCE_H

#include "earmark/ports.h"

#include <stdio.h>

typedef struct {
    FILE *file;
    uint64_t samples_left; /* of the WAV data chunk; UINT64_MAX for raw */
    uint32_t sample_rate_hz;
} pcm_source_t;

/* On failure *problem says what is wrong. WAV must be 16-bit PCM, mono. */
em_status_t pcm_source_open(pcm_source_t *source, const char *path, bool raw,
                            uint32_t raw_sample_rate_hz, const char **problem);
em_audio_source_t pcm_source_port(pcm_source_t *source);
void pcm_source_close(pcm_source_t *source);

#endif
