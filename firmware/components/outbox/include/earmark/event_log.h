/* Append-only log of events on raw flash, safe against a power cut at any write or erase.
 *
 * The partition is a ring of sectors. A sector starts with a header (generation number) and holds
 * 31 slots of 128 bytes: a record and a 16-byte mark. A record is live until its mark is no longer
 * blank; a torn mark counts as written, because writing one starts only once the event may go.
 * A sector is retired by a mark of its own before it is erased, so that an interrupted erase cannot
 * take the marks and leave the records. No block is programmed twice, so flash encryption may be
 * on.
 */
#ifndef EARMARK_EVENT_LOG_H
#define EARMARK_EVENT_LOG_H

#include "earmark/ports.h"
#include "earmark/report.h"

#define EM_SLOT_NONE 0xffffu

typedef struct {
    const em_flash_t *flash;
    uint32_t active, generation; /* sector being filled */
    uint32_t next_slot;          /* next free slot in it */
    uint32_t last_boot_n;        /* highest in any record, live or not */
    bool mounted;
} em_event_log_t;

/* Called for every live record, oldest sector first. */
typedef void (*em_report_visit_t)(void *context, const em_report_t *event, uint16_t slot);

/* Finds the active sector (formatting a blank partition) and visits the live records. */
em_status_t em_event_log_mount(em_event_log_t *log, const em_flash_t *flash,
                               em_report_visit_t visit, void *context);
/* Writes into the active sector. EM_ERR_FULL: advance first. EM_ERR_IO: flash failed. */
em_status_t em_event_log_append(em_event_log_t *log, const em_report_t *event, uint16_t *slot);
/* Opens the next sector of the ring, which must hold no live record. */
em_status_t em_event_log_advance(em_event_log_t *log);
/* Ends the life of a record. */
em_status_t em_event_log_mark(em_event_log_t *log, uint16_t slot);

/* Records that may be live at once: sectors stay free for moving records. */
uint32_t em_event_log_capacity(const em_event_log_t *log);
/* How many advances lead to the slot's sector: 0 is the active one, 1 is erased by the next. */
uint32_t em_event_log_distance(const em_event_log_t *log, uint16_t slot);

#endif
