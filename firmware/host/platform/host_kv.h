/* Key-value store in memory, with a corrupt state as NVS can reach it. */
#ifndef EARMARK_HOST_KV_H
#define EARMARK_HOST_KV_H

#include "earmark/ports.h"

enum { HOST_KV_ENTRIES = 16, HOST_KV_VALUE_BYTES = 2048 };

typedef struct {
    struct {
        char key[16];
        size_t bytes;
        uint8_t value[HOST_KV_VALUE_BYTES];
    } entries[HOST_KV_ENTRIES];
    uint32_t n_entries;
    bool corrupt;     /* reads and writes refuse until erased */
    bool fail_writes; /* and stay refused */
} host_kv_t;

void host_kv_open(host_kv_t *kv);
em_kv_t host_kv_port(host_kv_t *kv);

#endif
