/* NOR flash in memory with its real rules (program only clears bits, no block twice, erase whole
 * sectors) and with power cuts: after `cut_after` programmed or erased units the power is gone, the
 * interrupted unit half done. */
#ifndef EARMARK_HOST_FLASH_H
#define EARMARK_HOST_FLASH_H

#include "earmark/ports.h"

enum { HOST_FLASH_SECTOR_BYTES = 4096 };

typedef struct {
    uint8_t *bytes;
    uint32_t n_sectors;
    bool power_lost;
    int64_t cut_after;  /* operations until the power cut; negative: never */
    uint32_t tear_seed; /* decides how the interrupted operation is left */
    bool torn_erase;    /* the power went during an erase */
    bool fail_writes;   /* a worn out or unpowered chip: every write and erase refuses */
    uint32_t n_operations, n_erases;
    uint32_t n_rule_violations; /* blocks programmed twice, misaligned writes */
} host_flash_t;

/* Returns EM_ERR_SIZE without memory. The partition starts erased. */
em_status_t host_flash_open(host_flash_t *flash, uint32_t n_sectors);
void host_flash_close(host_flash_t *flash);
em_flash_t host_flash_port(host_flash_t *flash);

#endif
