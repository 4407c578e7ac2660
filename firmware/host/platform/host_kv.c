#include "host_kv.h"

#include <stdio.h>
#include <string.h>

void host_kv_open(host_kv_t *kv) {
    memset(kv, 0, sizeof *kv);
}

static int find(const host_kv_t *kv, const char *key) {
    for (uint32_t i = 0; i < kv->n_entries; i++) {
        if (strcmp(kv->entries[i].key, key) == 0) {
            return (int)i;
        }
    }
    return -1;
}

static em_status_t get(void *context, const char *key, void *value, size_t *bytes) {
    const host_kv_t *kv = context;
    const int at = find(kv, key);
    if (kv->corrupt) {
        return EM_ERR_IO;
    }
    if (at < 0) {
        return EM_ERR_STATE;
    }
    if (*bytes < kv->entries[at].bytes) {
        return EM_ERR_SIZE;
    }
    *bytes = kv->entries[at].bytes;
    memcpy(value, kv->entries[at].value, *bytes);
    return EM_OK;
}

static em_status_t set(void *context, const char *key, const void *value, size_t bytes) {
    host_kv_t *kv = context;
    int at = find(kv, key);
    if (kv->corrupt || kv->fail_writes) {
        return EM_ERR_IO;
    }
    if (at < 0) {
        if (kv->n_entries == HOST_KV_ENTRIES || bytes > HOST_KV_VALUE_BYTES) {
            return EM_ERR_FULL;
        }
        at = (int)kv->n_entries++;
        snprintf(kv->entries[at].key, sizeof kv->entries[at].key, "%s", key);
    }
    kv->entries[at].bytes = bytes;
    memcpy(kv->entries[at].value, value, bytes);
    return EM_OK;
}

static em_status_t erase_all(void *context) {
    host_kv_t *kv = context;
    kv->n_entries = 0;
    kv->corrupt = false;
    return EM_OK;
}

em_kv_t host_kv_port(host_kv_t *kv) {
    return (em_kv_t){.context = kv, .get = get, .set = set, .erase_all = erase_all};
}
