#include "earmark/pcm_partition.h"

#include <esp_partition.h>
#include <freertos/FreeRTOS.h>
#include <freertos/task.h>
#include <string.h>

enum { BLOCK_SAMPLES = 320, HEADER_BYTES = 8, STACK_BYTES = 3072, PRIORITY = 11, WAIT_MS = 10 };

static const esp_partition_t *s_partition;
static uint32_t s_n_samples;
static _Atomic bool s_written;

static bool has_room(const em_pcm_ring_t *ring) {
    return atomic_load(&ring->n_written) - atomic_load(&ring->n_read) + BLOCK_SAMPLES <=
           EM_PCM_RING_SAMPLES;
}

static void play_task(void *argument) {
    static int16_t pcm[BLOCK_SAMPLES];
    em_pcm_ring_t *ring = argument;
    for (uint32_t at = 0; at < s_n_samples; at += BLOCK_SAMPLES) {
        const uint32_t left = s_n_samples - at;
        const uint32_t n = left < BLOCK_SAMPLES ? left : BLOCK_SAMPLES;
        if (esp_partition_read(s_partition, HEADER_BYTES + at * sizeof *pcm, pcm,
                               n * sizeof *pcm) != ESP_OK) {
            break;
        }
        while (!has_room(ring)) {
            vTaskDelay(pdMS_TO_TICKS(WAIT_MS));
        }
        em_pcm_ring_write(ring, pcm, n);
    }
    atomic_store(&s_written, true);
    vTaskDelete(NULL);
}

esp_err_t em_pcm_partition_start(em_pcm_ring_t *ring) {
    uint8_t header[HEADER_BYTES];
    s_partition =
        esp_partition_find_first(ESP_PARTITION_TYPE_DATA, ESP_PARTITION_SUBTYPE_ANY, "pcm");
    if (s_partition == NULL) {
        return ESP_ERR_NOT_FOUND;
    }
    const esp_err_t error = esp_partition_read(s_partition, 0, header, sizeof header);
    if (error != ESP_OK) {
        return error;
    }
    memcpy(&s_n_samples, header + 4, sizeof s_n_samples);
    if (memcmp(header, "PCM1", 4) != 0 ||
        s_n_samples > (s_partition->size - HEADER_BYTES) / sizeof(int16_t)) {
        return ESP_ERR_INVALID_STATE;
    }
    return xTaskCreate(play_task, "pcm", STACK_BYTES, ring, PRIORITY, NULL) == pdPASS
               ? ESP_OK
               : ESP_ERR_NO_MEM;
}

bool em_pcm_partition_done(const em_pcm_ring_t *ring) {
    return atomic_load(&s_written) && atomic_load(&ring->n_written) == atomic_load(&ring->n_read);
}
