/* CRC-32 (IEEE 802.3, reflected), bit by bit: runs once at boot over a few kilobytes. */
#ifndef EARMARK_ENGINE_CRC32_H
#define EARMARK_ENGINE_CRC32_H

#include <stddef.h>
#include <stdint.h>

static inline uint32_t em_crc32(uint32_t crc, const void *data, size_t n_bytes) {
    const uint8_t *bytes = data;
    crc = ~crc;
    for (size_t i = 0; i < n_bytes; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++) {
            crc = (crc >> 1) ^ ((crc & 1u) != 0 ? 0xEDB88320u : 0u);
        }
    }
    return ~crc;
}

#endif
