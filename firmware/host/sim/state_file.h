/* Flash and key-value store of the simulator in one file, so that a run can follow a reboot. */
#ifndef EARMARK_STATE_FILE_H
#define EARMARK_STATE_FILE_H

#include "host_flash.h"
#include "host_kv.h"

/* A missing or foreign file leaves a fresh device. */
void state_file_load(const char *path, host_flash_t *flash, host_kv_t *kv);
void state_file_save(const char *path, const host_flash_t *flash, const host_kv_t *kv);

#endif
