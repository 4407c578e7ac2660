#include "earmark/pcm_image.h"

#include <string.h>

bool em_pcm_image_parse(const uint8_t header[EM_PCM_IMAGE_HEADER_BYTES], uint32_t partition_bytes,
                        uint32_t *n_samples) {
    if (partition_bytes < EM_PCM_IMAGE_HEADER_BYTES || memcmp(header, "PCM1", 4) != 0) {
        return false;
    }
    *n_samples = (uint32_t)header[4] | (uint32_t)header[5] << 8 | (uint32_t)header[6] << 16 |
                 (uint32_t)header[7] << 24;
    return *n_samples <= (partition_bytes - EM_PCM_IMAGE_HEADER_BYTES) / sizeof(int16_t);
}
