/* One event as the device remembers and reports it; everything the gateway is told comes from these
 * fields. */
#ifndef EARMARK_REPORT_H
#define EARMARK_REPORT_H

#include "earmark/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    EM_LABEL_CHARS = 32,
    EM_MODEL_CHARS = 28,
    EM_REPORT_BYTES = 112, /* on flash: a multiple of 16 */
    EM_DURATION_NONE = -1,
    EM_DURATION_MAX_MS = 600000
};

/* Same values as the detector's phases; the two sides share no header on purpose. */
typedef enum {
    EM_REPORT_START = 1,
    EM_REPORT_UPDATE = 2,
    EM_REPORT_END = 3,
    EM_REPORT_ONCE = 4
} em_report_phase_t;

typedef struct {
    uint64_t boot; /* random per boot */
    uint32_t boot_n, seq;
    uint64_t up_ms;
    int64_t unix_ms;                /* valid when has_wall */
    uint32_t episode;               /* joins the start, updates and end of one sound */
    int32_t dur_ms;                 /* EM_DURATION_NONE at the start */
    uint16_t conf_milli, thr_milli; /* 0..1000 */
    uint8_t phase;                  /* em_report_phase_t */
    bool critical, has_wall, sync;
    char label[EM_LABEL_CHARS + 1];
    char model[EM_MODEL_CHARS + 1];
} em_report_t;

/* seed: the generation of the sector, so that a record left over from an earlier life of the sector
 * never passes the check. */
void em_report_pack(const em_report_t *event, uint32_t seed, uint8_t out[EM_REPORT_BYTES]);
/* EM_ERR_FORMAT: not a record, damaged, or of another generation. */
em_status_t em_report_unpack(em_report_t *event, uint32_t seed, const uint8_t in[EM_REPORT_BYTES]);

#endif
