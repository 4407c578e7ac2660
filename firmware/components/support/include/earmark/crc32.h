#ifndef EARMARK_CRC32_H
#define EARMARK_CRC32_H

#include <stddef.h>
#include <stdint.h>

/* CRC-32/ISO-HDLC (zlib). Start with crc = 0; feed the result back in to continue. */
uint32_t em_crc32(uint32_t crc, const void *data, size_t n_bytes);

#endif
