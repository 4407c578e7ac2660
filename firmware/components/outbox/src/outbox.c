#include "earmark/outbox.h"

#include <string.h>

enum {
    FIRST_RETRY_MS = 30000, /* shorter would double the traffic of a slow gateway */
    LAST_RETRY_MS = 600000, /* longer would keep an event from a gateway that came back */
};

static void remove_at(em_outbox_t *outbox, uint32_t index) {
    outbox->length--;
    memmove(&outbox->entries[index], &outbox->entries[index + 1],
            (outbox->length - index) * sizeof outbox->entries[0]);
}

static int compare(const em_report_t *a, const em_report_t *b) {
    if (a->boot_n != b->boot_n) {
        return a->boot_n < b->boot_n ? -1 : 1;
    }
    return a->seq < b->seq ? -1 : a->seq > b->seq;
}

static void mark_slot(em_outbox_t *outbox, uint16_t slot) {
    if (em_event_log_mark(&outbox->log, slot) != EM_OK) {
        outbox->log_errors++;
    }
}

static void forget_slot(em_outbox_t *outbox, em_outbox_entry_t *entry) {
    if (entry->slot != EM_SLOT_NONE) {
        mark_slot(outbox, entry->slot);
        entry->slot = EM_SLOT_NONE;
        outbox->n_persisted--;
    }
}

static void load_record(void *context, const em_report_t *event, uint16_t slot) {
    em_outbox_t *outbox = context;
    uint32_t at = outbox->length;
    while (at > 0 && compare(&outbox->entries[at - 1].event, event) > 0) {
        at--;
    }
    if (at > 0 && compare(&outbox->entries[at - 1].event, event) == 0) {
        /* Power failed between copying a record and marking the original, which is visited first.
         */
        mark_slot(outbox, outbox->entries[at - 1].slot);
        outbox->entries[at - 1].slot = slot;
        return;
    }
    if (outbox->length == EM_OUTBOX_CAPACITY) {
        mark_slot(outbox, slot);
        outbox->dropped++;
        return;
    }
    memmove(&outbox->entries[at + 1], &outbox->entries[at],
            (outbox->length - at) * sizeof outbox->entries[0]);
    outbox->entries[at] = (em_outbox_entry_t){.event = *event, .slot = slot};
    outbox->length++;
    outbox->n_persisted++;
}

static em_outbox_entry_t *find_at_distance(em_outbox_t *outbox, uint32_t distance) {
    for (uint32_t i = 0; i < outbox->length; i++) {
        const uint16_t slot = outbox->entries[i].slot;
        if (slot != EM_SLOT_NONE && em_event_log_distance(&outbox->log, slot) == distance) {
            return &outbox->entries[i];
        }
    }
    return NULL;
}

/* Opens the next sector; refused while it holds a live record. */
static em_status_t advance(em_outbox_t *outbox) {
    return find_at_distance(outbox, 1) ? EM_ERR_FULL : em_event_log_advance(&outbox->log);
}

/* Restores the invariant that the two sectors after the active one hold nothing live. Two, so that
 * slots torn by power cuts while moving cannot leave a record without a place to go. */
static em_status_t vacate(em_outbox_t *outbox) {
    em_status_t status = EM_OK;
    while (status == EM_OK) {
        em_outbox_entry_t *entry = find_at_distance(outbox, 1);
        if (entry == NULL && (entry = find_at_distance(outbox, 2)) == NULL) {
            return EM_OK;
        }
        uint16_t slot;
        status = em_event_log_append(&outbox->log, &entry->event, &slot);
        if (status == EM_ERR_FULL) {
            status = advance(outbox);
        } else if (status == EM_OK) {
            status = em_event_log_mark(&outbox->log, entry->slot);
            entry->slot = slot;
        }
    }
    return status;
}

static em_status_t append(em_outbox_t *outbox, const em_report_t *event, uint16_t *slot) {
    em_status_t status = em_event_log_append(&outbox->log, event, slot);
    while (status == EM_ERR_FULL) {
        status = advance(outbox);
        if (status == EM_OK) {
            status = vacate(outbox);
        }
        if (status == EM_OK) {
            status = em_event_log_append(&outbox->log, event, slot);
        } else if (status == EM_ERR_FULL) {
            return EM_ERR_IO;
        }
    }
    return status;
}

static em_outbox_entry_t *oldest_non_critical(em_outbox_t *outbox, bool persisted_only) {
    for (uint32_t i = 0; i < outbox->length; i++) {
        em_outbox_entry_t *entry = &outbox->entries[i];
        if (!entry->event.critical && (!persisted_only || entry->slot != EM_SLOT_NONE)) {
            return entry;
        }
    }
    return NULL;
}

void em_outbox_open(em_outbox_t *outbox, const em_flash_t *flash) {
    memset(outbox, 0, sizeof *outbox);
    if (flash == NULL || em_event_log_mount(&outbox->log, flash, load_record, outbox) != EM_OK ||
        vacate(outbox) != EM_OK) {
        outbox->log_errors++;
    }
    outbox->high_water = outbox->length;
}

uint32_t em_outbox_last_boot_n(const em_outbox_t *outbox) {
    return outbox->log.last_boot_n;
}

void em_outbox_begin_boot(em_outbox_t *outbox, uint64_t boot, uint32_t boot_n) {
    outbox->boot = boot;
    outbox->boot_n = boot_n;
    outbox->next_seq = 1;
}

static void persist(em_outbox_t *outbox, em_outbox_entry_t *entry) {
    if (!outbox->log.mounted) {
        outbox->log_errors++;
        return;
    }
    if (outbox->n_persisted >= em_event_log_capacity(&outbox->log)) {
        em_outbox_entry_t *victim = oldest_non_critical(outbox, true);
        outbox->log_full++;
        if (!entry->event.critical || victim == NULL) {
            return;
        }
        forget_slot(outbox, victim);
    }
    if (append(outbox, &entry->event, &entry->slot) == EM_OK) {
        outbox->n_persisted++;
    } else {
        entry->slot = EM_SLOT_NONE;
        outbox->log_errors++;
    }
}

em_status_t em_outbox_push(em_outbox_t *outbox, em_report_t *event) {
    event->boot = outbox->boot;
    event->boot_n = outbox->boot_n;
    event->seq = outbox->next_seq++;
    if (outbox->length == EM_OUTBOX_CAPACITY) {
        em_outbox_entry_t *victim = oldest_non_critical(outbox, false);
        if (victim == NULL) {
            outbox->dropped_critical += event->critical;
            outbox->dropped += !event->critical;
            return EM_ERR_FULL;
        }
        forget_slot(outbox, victim);
        remove_at(outbox, (uint32_t)(victim - outbox->entries));
        outbox->dropped++;
    }
    em_outbox_entry_t *entry = &outbox->entries[outbox->length];
    *entry = (em_outbox_entry_t){.event = *event, .slot = EM_SLOT_NONE};
    persist(outbox, entry); /* before it counts: moving records must not meet it */
    outbox->length++;
    if (outbox->length > outbox->high_water) {
        outbox->high_water = outbox->length;
    }
    return EM_OK;
}

static uint32_t acknowledge(em_outbox_t *outbox, uint64_t boot, uint32_t low, uint32_t high) {
    uint32_t removed = 0;
    for (uint32_t i = outbox->length; i-- > 0;) {
        em_outbox_entry_t *entry = &outbox->entries[i];
        if (entry->acknowledgeable && entry->event.boot == boot && entry->event.seq >= low &&
            entry->event.seq <= high) {
            forget_slot(outbox, entry);
            remove_at(outbox, i);
            removed++;
        }
    }
    return removed;
}

uint32_t em_outbox_acknowledge_upto(em_outbox_t *outbox, uint64_t boot, uint32_t upto) {
    return acknowledge(outbox, boot, 0, upto);
}

uint32_t em_outbox_acknowledge_one(em_outbox_t *outbox, uint64_t boot, uint32_t seq) {
    return acknowledge(outbox, boot, seq, seq);
}

static uint64_t retry_ms(uint8_t attempts) {
    uint64_t wait_ms = FIRST_RETRY_MS;
    for (uint8_t i = 1; i < attempts && wait_ms < LAST_RETRY_MS; i++) {
        wait_ms *= 2;
    }
    return wait_ms < LAST_RETRY_MS ? wait_ms : LAST_RETRY_MS;
}

uint32_t em_outbox_in_flight(const em_outbox_t *outbox) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < outbox->length; i++) {
        n += outbox->entries[i].attempts > 0;
    }
    return n;
}

em_outbox_entry_t *em_outbox_next(em_outbox_t *outbox, uint64_t now_up_ms, uint32_t max_in_flight) {
    const bool window_open = em_outbox_in_flight(outbox) < max_in_flight;
    em_outbox_entry_t *best = NULL;
    for (uint32_t i = 0; i < outbox->length; i++) {
        em_outbox_entry_t *entry = &outbox->entries[i];
        const bool due = entry->attempts == 0
                             ? window_open || entry->event.critical
                             : now_up_ms - entry->sent_up_ms >= retry_ms(entry->attempts);
        if (due && (best == NULL || (entry->event.critical && !best->event.critical))) {
            best = entry;
        }
    }
    return best;
}

void em_outbox_sent(em_outbox_entry_t *entry, uint64_t now_up_ms) {
    entry->sent_up_ms = now_up_ms;
    entry->acknowledgeable = true;
    if (entry->attempts < UINT8_MAX) {
        entry->attempts++;
    }
}

void em_outbox_resend_all(em_outbox_t *outbox) {
    for (uint32_t i = 0; i < outbox->length; i++) {
        outbox->entries[i].attempts = 0;
    }
}

em_status_t em_outbox_erase(em_outbox_t *outbox) {
    const em_flash_t *flash = outbox->log.flash;
    em_status_t status = EM_OK;
    for (uint32_t sector = 0; flash != NULL && sector < flash->n_sectors; sector++) {
        if (flash->erase(flash->context, sector) != EM_OK) {
            status = EM_ERR_IO;
        }
    }
    em_outbox_open(outbox, flash);
    return status;
}
