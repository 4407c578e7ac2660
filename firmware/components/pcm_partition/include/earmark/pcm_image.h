/* Audio in a flash partition: "PCM1", number of samples (u32, little-endian), then int16 samples.
 * firmware/tools/emulator_image.py writes it. */
#ifndef EARMARK_PCM_IMAGE_H
#define EARMARK_PCM_IMAGE_H

#include <stdbool.h>
#include <stdint.h>

enum { EM_PCM_IMAGE_HEADER_BYTES = 8 };

/* False: no image (an erased partition), or more samples than the partition can hold. */
bool em_pcm_image_parse(const uint8_t header[EM_PCM_IMAGE_HEADER_BYTES], uint32_t partition_bytes,
                        uint32_t *n_samples);

#endif
