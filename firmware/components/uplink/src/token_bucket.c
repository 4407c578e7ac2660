#include "earmark/token_bucket.h"

void em_token_bucket_init(em_token_bucket_t *bucket, uint64_t now_up_ms) {
    *bucket = (em_token_bucket_t){
        .level_milli = EM_EGRESS_BURST_BYTES * 1000ull,
        .updated_up_ms = now_up_ms,
    };
}

bool em_token_bucket_take(em_token_bucket_t *bucket, uint64_t now_up_ms, size_t n_bytes,
                          uint32_t reserve) {
    /* One byte per second is one thousandth per millisecond. */
    bucket->level_milli += (now_up_ms - bucket->updated_up_ms) * EM_EGRESS_BYTES_PER_S;
    bucket->updated_up_ms = now_up_ms;
    if (bucket->level_milli > EM_EGRESS_BURST_BYTES * 1000ull) {
        bucket->level_milli = EM_EGRESS_BURST_BYTES * 1000ull;
    }
    if (bucket->level_milli < (n_bytes + reserve) * 1000ull) {
        return false;
    }
    bucket->level_milli -= n_bytes * 1000ull;
    return true;
}
