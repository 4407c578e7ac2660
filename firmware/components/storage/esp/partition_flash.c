#include "earmark/storage.h"

#include <esp_partition.h>

enum { SECTOR_BYTES = 4096, CHUNK_BYTES = 64 };

static em_status_t read_partition(void *context, uint32_t offset, void *data, uint32_t bytes) {
    return esp_partition_read(context, offset, data, bytes) == ESP_OK ? EM_OK : EM_ERR_IO;
}

static em_status_t write_partition(void *context, uint32_t offset, const void *data,
                                   uint32_t bytes) {
    return esp_partition_write(context, offset, data, bytes) == ESP_OK ? EM_OK : EM_ERR_IO;
}

static em_status_t erase_sector(void *context, uint32_t sector) {
    return esp_partition_erase_range(context, sector * SECTOR_BYTES, SECTOR_BYTES) == ESP_OK
               ? EM_OK
               : EM_ERR_IO;
}

/* Raw: what the chip holds, before decryption. */
static bool is_blank(void *context, uint32_t offset, uint32_t bytes) {
    uint8_t chunk[CHUNK_BYTES];
    for (uint32_t done = 0; done < bytes; done += CHUNK_BYTES) {
        const uint32_t n = bytes - done < CHUNK_BYTES ? bytes - done : CHUNK_BYTES;
        if (esp_partition_read_raw(context, offset + done, chunk, n) != ESP_OK) {
            return false;
        }
        for (uint32_t i = 0; i < n; i++) {
            if (chunk[i] != 0xff) {
                return false;
            }
        }
    }
    return true;
}

esp_err_t em_storage_partition(const char *label, em_flash_t *flash) {
    const esp_partition_t *partition =
        esp_partition_find_first(ESP_PARTITION_TYPE_DATA, ESP_PARTITION_SUBTYPE_ANY, label);
    if (partition == NULL) {
        return ESP_ERR_NOT_FOUND;
    }
    *flash = (em_flash_t){
        .context = (void *)(uintptr_t)partition, /* the driver takes it back as const */
        .sector_bytes = SECTOR_BYTES,
        .n_sectors = partition->size / SECTOR_BYTES,
        .read = read_partition,
        .write = write_partition,
        .erase = erase_sector,
        .is_blank = is_blank,
    };
    return ESP_OK;
}
