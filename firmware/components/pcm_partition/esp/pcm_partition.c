#include "earmark/pcm_partition.h"

#include "earmark/pcm_image.h"

#include <esp_log.h>
#include <esp_partition.h>
#include <freertos/FreeRTOS.h>
#include <freertos/task.h>
#include <inttypes.h>

static const char TAG[] = "pcm";

enum { BLOCK_SAMPLES = 320, STACK_BYTES = 3072, PRIORITY = 11, WAIT_MS = 10 };

static const esp_partition_t *s_partition;
static uint32_t s_n_samples;

static void wait_for_room(const em_pcm_ring_t *ring, uint32_t n_samples) {
    while (atomic_load(&ring->n_written) - atomic_load(&ring->n_read) >
           EM_PCM_RING_SAMPLES - n_samples) {
        vTaskDelay(pdMS_TO_TICKS(WAIT_MS));
    }
}

static void play_task(void *argument) {
    static int16_t pcm[BLOCK_SAMPLES];
    em_pcm_ring_t *ring = argument;
    for (uint32_t at = 0; at < s_n_samples; at += BLOCK_SAMPLES) {
        const uint32_t left = s_n_samples - at;
        const uint32_t n = left < BLOCK_SAMPLES ? left : BLOCK_SAMPLES;
        if (esp_partition_read(s_partition, EM_PCM_IMAGE_HEADER_BYTES + at * sizeof *pcm, pcm,
                               n * sizeof *pcm) != ESP_OK) {
            ESP_LOGE(TAG, "sample %" PRIu32 " cannot be read", at);
            break;
        }
        wait_for_room(ring, n);
        em_pcm_ring_write(ring, pcm, n);
    }
    wait_for_room(ring, EM_PCM_RING_SAMPLES);
    ESP_LOGI(TAG, "all audio was heard");
    vTaskDelete(NULL);
}

esp_err_t em_pcm_partition_start(em_pcm_ring_t *ring) {
    uint8_t header[EM_PCM_IMAGE_HEADER_BYTES];
    s_partition =
        esp_partition_find_first(ESP_PARTITION_TYPE_DATA, ESP_PARTITION_SUBTYPE_ANY, "pcm");
    if (s_partition == NULL) {
        return ESP_ERR_NOT_FOUND;
    }
    const esp_err_t error = esp_partition_read(s_partition, 0, header, sizeof header);
    if (error != ESP_OK) {
        return error;
    }
    if (!em_pcm_image_parse(header, s_partition->size, &s_n_samples)) {
        ESP_LOGE(TAG, "no audio: put it there with firmware/tools/emulator_image.py");
        return ESP_ERR_INVALID_STATE;
    }
    ESP_LOGI(TAG, "%" PRIu32 " samples", s_n_samples);
    return xTaskCreate(play_task, "pcm", STACK_BYTES, ring, PRIORITY, NULL) == pdPASS
               ? ESP_OK
               : ESP_ERR_NO_MEM;
}
