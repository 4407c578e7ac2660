/* Limits the bytes that leave the device, below what any speech codec needs. */
#ifndef EARMARK_TOKEN_BUCKET_H
#define EARMARK_TOKEN_BUCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    /* 640 bit/s sustained; the lowest speech codec (Codec 2) needs 700. */
    EM_EGRESS_BYTES_PER_S = 80,
    /* A restart sends info, status and a few events at once. */
    EM_EGRESS_BURST_BYTES = 8192,
    /* Left for critical events by everything else. */
    EM_EGRESS_RESERVE_BYTES = 3072,
    /* Charged per message on top of topic and payload: MQTT 5 (15), TLS 1.2/1.3 record (29),
     * TCP and IPv4 (40). */
    EM_EGRESS_OVERHEAD_BYTES = 84
};

typedef struct {
    uint64_t level_milli, updated_up_ms; /* thousandths of a byte */
} em_token_bucket_t;

void em_token_bucket_init(em_token_bucket_t *bucket, uint64_t now_up_ms);
/* Takes n_bytes if at least `reserve` bytes remain afterwards. */
bool em_token_bucket_take(em_token_bucket_t *bucket, uint64_t now_up_ms, size_t n_bytes,
                          uint32_t reserve);

#endif
