#include "earmark/event_log.h"

#include "earmark/crc32.h"

#include <string.h>

enum {
    SLOT_BYTES = 128,
    BLOCK_BYTES = 16, /* smallest unit an encrypted partition can program */
    HEADER_MAGIC = 0x454d4c31,
    RETIRE_OFFSET = BLOCK_BYTES,
    MARK_OFFSET = EM_REPORT_BYTES,
    MIN_SECTORS = 6
};

static const uint8_t MARK[BLOCK_BYTES] = {0};

typedef struct {
    uint32_t magic, generation, generation_inverted, reserved;
} header_t;

static uint32_t slots_per_sector(const em_event_log_t *log) {
    return log->flash->sector_bytes / SLOT_BYTES; /* slot 0 is the header */
}

static uint32_t offset_of(const em_event_log_t *log, uint32_t sector, uint32_t slot) {
    return sector * log->flash->sector_bytes + slot * SLOT_BYTES;
}

static em_status_t read_flash(const em_event_log_t *log, uint32_t offset, void *data, uint32_t n) {
    return log->flash->read(log->flash->context, offset, data, n);
}

static em_status_t write_flash(const em_event_log_t *log, uint32_t offset, const void *data,
                               uint32_t n) {
    return log->flash->write(log->flash->context, offset, data, n);
}

static bool is_blank(const em_event_log_t *log, uint32_t offset, uint32_t n_bytes) {
    return log->flash->is_blank(log->flash->context, offset, n_bytes);
}

/* Generation of a sector in use, 0 for a free, torn or retired one. */
static uint32_t sector_generation(const em_event_log_t *log, uint32_t sector) {
    header_t header;
    const uint32_t offset = offset_of(log, sector, 0);
    if (read_flash(log, offset, &header, sizeof header) != EM_OK || header.magic != HEADER_MAGIC ||
        header.generation != ~header.generation_inverted ||
        !is_blank(log, offset + RETIRE_OFFSET, BLOCK_BYTES)) {
        return 0;
    }
    return header.generation;
}

static em_status_t open_sector(em_event_log_t *log, uint32_t sector) {
    const uint32_t offset = offset_of(log, sector, 0);
    em_status_t status = EM_OK;
    if (!is_blank(log, offset, log->flash->sector_bytes)) {
        if (sector_generation(log, sector) != 0) {
            status = write_flash(log, offset + RETIRE_OFFSET, MARK, BLOCK_BYTES);
        }
        if (status == EM_OK) {
            status = log->flash->erase(log->flash->context, sector);
        }
    }
    const header_t header = {
        .magic = HEADER_MAGIC,
        .generation = log->generation + 1,
        .generation_inverted = ~(log->generation + 1),
    };
    if (status == EM_OK) {
        status = write_flash(log, offset, &header, sizeof header);
    }
    if (status == EM_OK) {
        log->active = sector;
        log->generation++;
        log->next_slot = 1;
    }
    return status;
}

em_status_t em_event_log_advance(em_event_log_t *log) {
    return open_sector(log, (log->active + 1) % log->flash->n_sectors);
}

static void visit_sector(em_event_log_t *log, uint32_t sector, uint32_t generation,
                         em_report_visit_t visit, void *context) {
    for (uint32_t slot = 1; slot < slots_per_sector(log); slot++) {
        uint8_t record[EM_REPORT_BYTES];
        em_report_t event;
        const uint32_t offset = offset_of(log, sector, slot);
        if (read_flash(log, offset, record, sizeof record) != EM_OK ||
            em_report_unpack(&event, generation, record) != EM_OK) {
            continue;
        }
        if (event.boot_n > log->last_boot_n) {
            log->last_boot_n = event.boot_n;
        }
        if (is_blank(log, offset + MARK_OFFSET, BLOCK_BYTES)) {
            visit(context, &event, (uint16_t)(sector * slots_per_sector(log) + slot));
        }
    }
}

/* One past the last slot that was ever touched. */
static uint32_t first_free_slot(const em_event_log_t *log) {
    uint32_t slot = slots_per_sector(log);
    while (slot > 1 && is_blank(log, offset_of(log, log->active, slot - 1), SLOT_BYTES)) {
        slot--;
    }
    return slot;
}

em_status_t em_event_log_mount(em_event_log_t *log, const em_flash_t *flash,
                               em_report_visit_t visit, void *context) {
    *log = (em_event_log_t){.flash = flash};
    if (flash->n_sectors < MIN_SECTORS || flash->sector_bytes < 2 * SLOT_BYTES ||
        flash->n_sectors * slots_per_sector(log) > EM_SLOT_NONE) {
        return EM_ERR_ARGUMENT;
    }
    for (uint32_t sector = 0; sector < flash->n_sectors; sector++) {
        const uint32_t generation = sector_generation(log, sector);
        if (generation > log->generation) {
            log->generation = generation;
            log->active = sector;
        }
    }
    if (log->generation == 0) {
        const em_status_t status = open_sector(log, 0);
        log->mounted = status == EM_OK;
        return status;
    }
    log->next_slot = first_free_slot(log);
    log->mounted = true;
    for (uint32_t i = 1; i <= flash->n_sectors; i++) {
        const uint32_t sector = (log->active + i) % flash->n_sectors;
        const uint32_t generation = sector_generation(log, sector);
        if (generation != 0) {
            visit_sector(log, sector, generation, visit, context);
        }
    }
    return EM_OK;
}

em_status_t em_event_log_append(em_event_log_t *log, const em_report_t *event, uint16_t *slot) {
    if (!log->mounted) {
        return EM_ERR_IO;
    }
    if (log->next_slot >= slots_per_sector(log)) {
        return EM_ERR_FULL;
    }
    uint8_t record[EM_REPORT_BYTES];
    em_report_pack(event, log->generation, record);
    const uint32_t used = log->next_slot++; /* a failed slot is never tried again */
    if (write_flash(log, offset_of(log, log->active, used), record, sizeof record) != EM_OK) {
        return EM_ERR_IO;
    }
    *slot = (uint16_t)(log->active * slots_per_sector(log) + used);
    return EM_OK;
}

em_status_t em_event_log_mark(em_event_log_t *log, uint16_t slot) {
    const uint32_t per_sector = slots_per_sector(log);
    const uint32_t offset = offset_of(log, slot / per_sector, slot % per_sector) + MARK_OFFSET;
    return write_flash(log, offset, MARK, BLOCK_BYTES);
}

uint32_t em_event_log_capacity(const em_event_log_t *log) {
    return log->mounted ? (log->flash->n_sectors - 4) * (slots_per_sector(log) - 1) : 0;
}

uint32_t em_event_log_distance(const em_event_log_t *log, uint16_t slot) {
    const uint32_t n = log->flash->n_sectors;
    return (slot / slots_per_sector(log) + n - log->active) % n;
}
