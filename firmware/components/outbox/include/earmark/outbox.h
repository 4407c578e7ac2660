/* The promise of the device: an accepted event is kept until the gateway says it is stored.
 *
 * A ring in RAM of EM_OUTBOX_CAPACITY events, each also in the event log while the log has room;
 * critical events take the place of others in both. Owned by one task. */
#ifndef EARMARK_OUTBOX_H
#define EARMARK_OUTBOX_H

#include "earmark/event_log.h"

enum { EM_OUTBOX_CAPACITY = 256 };

typedef struct {
    em_report_t event;
    uint64_t sent_up_ms; /* last time it was handed to the network; valid when attempts > 0 */
    uint16_t slot;       /* in the event log, or EM_SLOT_NONE */
    uint8_t attempts;
    bool acknowledgeable; /* sent at least once in this boot */
} em_outbox_entry_t;

typedef struct {
    em_event_log_t log;
    em_outbox_entry_t entries[EM_OUTBOX_CAPACITY]; /* sorted by (boot_n, seq) */
    uint32_t length, high_water;
    uint64_t boot;
    uint32_t boot_n, next_seq;
    uint32_t n_persisted;      /* entries with a slot */
    uint32_t dropped;          /* non-critical events lost to a full queue */
    uint32_t dropped_critical; /* critical events refused: 256 unacknowledged ones before it */
    uint32_t log_errors;       /* failed reads, writes, erases; the event stays in RAM */
    uint32_t log_full;         /* events that found no room in the log */
} em_outbox_t;

/* Loads what is left from earlier boots. Works without flash (NULL or broken): events then live in
 * RAM only and log_errors says so. */
void em_outbox_open(em_outbox_t *outbox, const em_flash_t *flash);
/* Highest boot number found in the log; recovers the counter when the key-value store is lost. */
uint32_t em_outbox_last_boot_n(const em_outbox_t *outbox);
void em_outbox_begin_boot(em_outbox_t *outbox, uint64_t boot, uint32_t boot_n);

/* Numbers the event (boot, boot_n, seq are set here) and keeps it. EM_ERR_FULL: refused, counted;
 * its number is used up, so that the gateway sees the gap. */
em_status_t em_outbox_push(em_outbox_t *outbox, em_report_t *event);

/* Removes sent events of `boot` with seq <= upto. Returns how many. */
uint32_t em_outbox_acknowledge_upto(em_outbox_t *outbox, uint64_t boot, uint32_t upto);
uint32_t em_outbox_acknowledge_one(em_outbox_t *outbox, uint64_t boot, uint32_t seq);

/* The next event due for sending, critical ones first, or NULL. At most max_in_flight sent events
 * wait for an acknowledgement, but a critical event never waits for others. */
em_outbox_entry_t *em_outbox_next(em_outbox_t *outbox, uint64_t now_up_ms, uint32_t max_in_flight);
void em_outbox_sent(em_outbox_entry_t *entry, uint64_t now_up_ms);
/* After a reconnection: what was in flight goes out again. */
void em_outbox_resend_all(em_outbox_t *outbox);
uint32_t em_outbox_in_flight(const em_outbox_t *outbox);

/* Factory reset: forgets everything, on flash too. */
em_status_t em_outbox_erase(em_outbox_t *outbox);

#endif
