/* Everything the portable core asks of its platform. ESP-IDF drivers, the host simulator and the
 * tests each implement these; the core includes nothing else. All calls may come from one task only
 * unless stated. */
#ifndef EARMARK_PORTS_H
#define EARMARK_PORTS_H

#include "earmark/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    void *context;
    /* Milliseconds since boot, monotonic. */
    uint64_t (*up_ms)(void *context);
    /* False while the wall clock has never been set since boot. *set_age_ms: time since it was. */
    bool (*wall_ms)(void *context, int64_t *unix_ms, uint64_t *set_age_ms);
} em_clock_t;

/* Small values that survive power loss; each set() is atomic (NVS on the device). */
typedef struct {
    void *context;
    /* *bytes: capacity in, size out. EM_ERR_STATE: no such key. EM_ERR_IO: storage is broken. */
    em_status_t (*get)(void *context, const char *key, void *value, size_t *bytes);
    em_status_t (*set)(void *context, const char *key, const void *value, size_t bytes);
    em_status_t (*erase_all)(void *context);
} em_kv_t;

/* A raw partition. Offsets and sizes of write() are multiples of 16 and no 16-byte block is written
 * twice between erases: the rule of an encrypted partition. */
typedef struct {
    void *context;
    uint32_t sector_bytes; /* 4096 */
    uint32_t n_sectors;
    em_status_t (*read)(void *context, uint32_t offset, void *data, uint32_t bytes);
    em_status_t (*write)(void *context, uint32_t offset, const void *data, uint32_t bytes);
    em_status_t (*erase)(void *context, uint32_t sector);
    /* True when every raw bit of the range is still erased; needed because an erased range of an
     * encrypted partition does not read back as 0xff. */
    bool (*is_blank)(void *context, uint32_t offset, uint32_t bytes);
} em_flash_t;

typedef struct {
    const char *topic;
    const char *payload; /* JSON text or a plain word, not zero-terminated by contract */
    size_t payload_bytes;
    uint8_t qos;
    bool retain;
} em_message_t;

typedef struct {
    void *context;
    /* EM_OK: handed to the client. EM_ERR_IO: not connected or its buffer is full; try later. */
    em_status_t (*publish)(void *context, const em_message_t *message);
} em_network_t;

typedef struct {
    void *context;
    void (*fill)(void *context, void *bytes, size_t n_bytes); /* cryptographically random */
} em_random_t;

/* A microphone: 16 kHz mono int16. */
typedef struct {
    void *context;
    /* EM_OK with *n_read <= n_samples (0: nothing within the timeout); EM_ERR_IO: it is gone. */
    em_status_t (*read)(void *context, int16_t *pcm, size_t n_samples, size_t *n_read);
} em_audio_source_t;

#endif
