#include "host_flash.h"

#include <stdlib.h>
#include <string.h>

enum { BLOCK_BYTES = 16 };

static uint32_t next_random(uint32_t *state) {
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

em_status_t host_flash_open(host_flash_t *flash, uint32_t n_sectors) {
    memset(flash, 0, sizeof *flash);
    flash->bytes = malloc((size_t)n_sectors * HOST_FLASH_SECTOR_BYTES);
    if (flash->bytes == NULL) {
        return EM_ERR_SIZE;
    }
    memset(flash->bytes, 0xff, (size_t)n_sectors * HOST_FLASH_SECTOR_BYTES);
    flash->n_sectors = n_sectors;
    flash->cut_after = -1;
    return EM_OK;
}

void host_flash_close(host_flash_t *flash) {
    free(flash->bytes);
    flash->bytes = NULL;
}

/* True while power is there; *torn: it fails during this very operation. */
static bool powered(host_flash_t *flash, bool *torn) {
    *torn = false;
    if (flash->power_lost || flash->fail_writes) {
        return false;
    }
    flash->n_operations++;
    if (flash->cut_after >= 0 && flash->cut_after-- == 0) {
        flash->power_lost = *torn = true;
    }
    return true;
}

static em_status_t read_flash(void *context, uint32_t offset, void *data, uint32_t bytes) {
    host_flash_t *flash = context;
    if (flash->power_lost) {
        return EM_ERR_IO;
    }
    memcpy(data, flash->bytes + offset, bytes);
    return EM_OK;
}

static bool is_blank(void *context, uint32_t offset, uint32_t bytes) {
    const host_flash_t *flash = context;
    for (uint32_t i = 0; i < bytes; i++) {
        if (flash->bytes[offset + i] != 0xff) {
            return false;
        }
    }
    return true;
}

static em_status_t write_flash(void *context, uint32_t offset, const void *data, uint32_t bytes) {
    host_flash_t *flash = context;
    const uint8_t *source = data;
    bool torn;
    if (!powered(flash, &torn)) {
        return EM_ERR_IO;
    }
    if (offset % BLOCK_BYTES || bytes % BLOCK_BYTES || !is_blank(flash, offset, bytes)) {
        flash->n_rule_violations++;
    }
    /* A torn write did nothing, all of it, or a prefix and some bits of the byte where it stopped.
     */
    const uint32_t kind = torn ? next_random(&flash->tear_seed) % 3 : 1;
    const uint32_t whole = kind == 0   ? 0
                           : kind == 1 ? bytes
                                       : next_random(&flash->tear_seed) % bytes;
    for (uint32_t i = 0; i < whole; i++) {
        flash->bytes[offset + i] &= source[i];
    }
    if (kind == 2) {
        flash->bytes[offset + whole] &= (uint8_t)(source[whole] | next_random(&flash->tear_seed));
    }
    return torn ? EM_ERR_IO : EM_OK;
}

static em_status_t erase_sector(void *context, uint32_t sector) {
    host_flash_t *flash = context;
    uint8_t *bytes = flash->bytes + (size_t)sector * HOST_FLASH_SECTOR_BYTES;
    bool torn;
    if (!powered(flash, &torn)) {
        return EM_ERR_IO;
    }
    flash->n_erases++;
    if (!torn) {
        memset(bytes, 0xff, HOST_FLASH_SECTOR_BYTES);
        return EM_OK;
    }
    flash->torn_erase = true;
    /* An interrupted erase did nothing, leaves any mixture of bits, or got to a part only. */
    const uint32_t kind = next_random(&flash->tear_seed) % 4;
    const uint32_t edge = next_random(&flash->tear_seed) % HOST_FLASH_SECTOR_BYTES;
    for (uint32_t i = 0; i < HOST_FLASH_SECTOR_BYTES; i++) {
        if (kind == 0) {
            bytes[i] |= (uint8_t)next_random(&flash->tear_seed);
        } else if (kind != 3 && (kind == 1) == (i < edge)) {
            bytes[i] = 0xff;
        }
    }
    return EM_ERR_IO;
}

em_flash_t host_flash_port(host_flash_t *flash) {
    return (em_flash_t){
        .context = flash,
        .sector_bytes = HOST_FLASH_SECTOR_BYTES,
        .n_sectors = flash->n_sectors,
        .read = read_flash,
        .write = write_flash,
        .erase = erase_sector,
        .is_blank = is_blank,
    };
}
