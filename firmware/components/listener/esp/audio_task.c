#include "earmark/audio_task.h"

#include <esp_heap_caps.h>
#include <esp_memory_utils.h>
#include <esp_task_wdt.h>
#include <esp_timer.h>
#include <freertos/FreeRTOS.h>
#include <freertos/task.h>
#include <string.h>

enum {
    CHUNK_SAMPLES = 320,
    STACK_BYTES = 6144,
    PRIORITY = 10,
    CORE = 1,
    IDLE_MS = 10,
    ALIGNMENT = 16
};

static StaticTask_t s_task;
static StackType_t s_stack[STACK_BYTES];
static em_listener_t s_listener;
static em_audio_config_t s_config;

static uint64_t now_us(void *context) {
    (void)context;
    return (uint64_t)esp_timer_get_time();
}

static uint32_t smallest_free_stack(void) {
    const uint32_t own = (uint32_t)uxTaskGetStackHighWaterMark(NULL);
    const uint32_t capture =
        s_config.capture_stack_free_bytes ? s_config.capture_stack_free_bytes() : own;
    return capture < own ? capture : own;
}

static void classify_task(void *argument) {
    static int16_t pcm[CHUNK_SAMPLES];
    (void)argument;
    (void)esp_task_wdt_add(NULL);
    for (;;) {
        uint32_t n_gap;
        const uint32_t n = em_pcm_ring_read(s_config.ring, pcm, CHUNK_SAMPLES, &n_gap);
        if (n_gap > 0) {
            em_listener_gap(&s_listener, n_gap);
        }
        if (n > 0) {
            s_listener.status.overruns = atomic_load(&s_config.ring->n_overruns);
            s_listener.status.stack_min_bytes = smallest_free_stack();
            (void)em_listener_process(&s_listener, pcm, n);
            if (s_listener.muted) {
                memset(pcm, 0, sizeof pcm);
            }
        } else {
            vTaskDelay(pdMS_TO_TICKS(IDLE_MS));
        }
        (void)esp_task_wdt_reset();
    }
}

static esp_err_t prepare(const em_audio_config_t *config, void *memory, size_t bytes) {
    if (!esp_ptr_internal(memory) || !esp_ptr_internal(config->ring)) {
        return ESP_ERR_INVALID_ARG;
    }
    if (em_golden_features_check(config->golden_features, config->tables, memory, bytes) != EM_OK) {
        return ESP_ERR_INVALID_CRC;
    }
    if (em_listener_init(&s_listener, config->bundle, config->tables, config->model, memory, bytes,
                         config->handover) != EM_OK) {
        return ESP_ERR_INVALID_STATE;
    }
    s_listener.now_us = now_us;
    return em_pipeline_self_test(s_listener.pipeline) == EM_OK ? ESP_OK : ESP_ERR_INVALID_RESPONSE;
}

esp_err_t em_audio_start(const em_audio_config_t *config) {
    s_config = *config;
    const size_t bytes = em_pipeline_needed_bytes(config->bundle, config->tables, config->model);
    if (bytes == 0) {
        return ESP_ERR_INVALID_STATE;
    }
    void *memory = heap_caps_aligned_alloc(ALIGNMENT, bytes, MALLOC_CAP_INTERNAL | MALLOC_CAP_8BIT);
    if (memory == NULL) {
        return ESP_ERR_NO_MEM;
    }
    const esp_err_t error = prepare(config, memory, bytes);
    if (error != ESP_OK) {
        heap_caps_free(memory);
        return error;
    }
    /* With static memory this cannot fail. */
    return xTaskCreateStaticPinnedToCore(classify_task, "classify", STACK_BYTES, NULL, PRIORITY,
                                         s_stack, &s_task, CORE) == NULL
               ? ESP_ERR_NO_MEM
               : ESP_OK;
}
