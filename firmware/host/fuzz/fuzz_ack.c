#include "earmark/wire.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SHORTEST_BYTES = sizeof "{\"boot\":\"0123456789abcdef\",\"upto\":1}" - 1 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    em_ack_t ack;
    const em_status_t status = em_wire_parse_ack(&ack, (const char *)data, size);
    if (ack.n_seqs > EM_ACK_MAX_SEQS || (status == EM_OK && size < SHORTEST_BYTES)) {
        abort();
    }
    return 0;
}
