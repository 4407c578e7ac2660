#include "state_file.h"

#include <stdio.h>
#include <string.h>

static const char MAGIC[] = "EMSTATE1";

void state_file_load(const char *path, host_flash_t *flash, host_kv_t *kv) {
    char magic[sizeof MAGIC];
    const size_t flash_bytes = (size_t)flash->n_sectors * HOST_FLASH_SECTOR_BYTES;
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        return;
    }
    if (fread(magic, 1, sizeof magic, file) != sizeof magic ||
        memcmp(magic, MAGIC, sizeof magic) != 0 || fread(kv, sizeof *kv, 1, file) != 1 ||
        fread(flash->bytes, 1, flash_bytes, file) != flash_bytes) {
        fprintf(stderr, "note: %s is not a saved state; starting as a fresh device\n", path);
        memset(flash->bytes, 0xff, flash_bytes);
        host_kv_open(kv);
    }
    fclose(file);
}

void state_file_save(const char *path, const host_flash_t *flash, const host_kv_t *kv) {
    FILE *file = fopen(path, "wb");
    if (file == NULL || fwrite(MAGIC, 1, sizeof MAGIC, file) != sizeof MAGIC ||
        fwrite(kv, sizeof *kv, 1, file) != 1 ||
        fwrite(flash->bytes, HOST_FLASH_SECTOR_BYTES, flash->n_sectors, file) != flash->n_sectors) {
        fprintf(stderr, "warning: cannot save the state to %s\n", path);
    }
    if (file != NULL) {
        fclose(file);
    }
}
