#include "earmark/microphone.h"

#include <driver/i2s_pdm.h>
#include <driver/i2s_std.h>
#include <esp_memory_utils.h>
#include <esp_task_wdt.h>
#include <freertos/FreeRTOS.h>
#include <freertos/task.h>
#include <sdkconfig.h>

enum {
    SAMPLE_RATE_HZ = 16000,
    BLOCK_SAMPLES = 320, /* 20 ms */
    /* 12 blocks of 20 ms: an erase of a flash sector stalls both cores, typically 45 ms, for the
     * worst chips 240 ms. */
    DMA_BLOCKS = 12,
    READ_TIMEOUT_MS = 200,
    STACK_BYTES = 3072,
    PRIORITY = 20, /* above everything but the radio's own tasks */
    CORE = 1
};

#if CONFIG_EARMARK_MIC_PDM
typedef int16_t slot_t;
#else
typedef int32_t slot_t; /* 24 bits left-justified in 32-bit slots */
#endif

static StaticTask_t s_task;
static StackType_t s_stack[STACK_BYTES];
static TaskHandle_t s_handle;
static i2s_chan_handle_t s_channel;

static esp_err_t open_channel(void) {
    i2s_chan_config_t channel = I2S_CHANNEL_DEFAULT_CONFIG(I2S_NUM_0, I2S_ROLE_MASTER);
    channel.dma_desc_num = DMA_BLOCKS;
    channel.dma_frame_num = BLOCK_SAMPLES;
    esp_err_t error = i2s_new_channel(&channel, NULL, &s_channel);
    if (error != ESP_OK) {
        return error;
    }
#if CONFIG_EARMARK_MIC_PDM
    const i2s_pdm_rx_config_t config = {
        .clk_cfg = I2S_PDM_RX_CLK_DEFAULT_CONFIG(SAMPLE_RATE_HZ),
        .slot_cfg = I2S_PDM_RX_SLOT_DEFAULT_CONFIG(I2S_DATA_BIT_WIDTH_16BIT, I2S_SLOT_MODE_MONO),
        .gpio_cfg = {.clk = CONFIG_EARMARK_MIC_CLOCK_GPIO, .din = CONFIG_EARMARK_MIC_DATA_GPIO},
    };
    error = i2s_channel_init_pdm_rx_mode(s_channel, &config);
#else
    i2s_std_config_t config = {
        .clk_cfg = I2S_STD_CLK_DEFAULT_CONFIG(SAMPLE_RATE_HZ),
        .slot_cfg =
            I2S_STD_PHILIPS_SLOT_DEFAULT_CONFIG(I2S_DATA_BIT_WIDTH_32BIT, I2S_SLOT_MODE_MONO),
        .gpio_cfg = {.mclk = I2S_GPIO_UNUSED,
                     .bclk = CONFIG_EARMARK_MIC_CLOCK_GPIO,
                     .ws = CONFIG_EARMARK_MIC_WORD_SELECT_GPIO,
                     .dout = I2S_GPIO_UNUSED,
                     .din = CONFIG_EARMARK_MIC_DATA_GPIO},
    };
#if CONFIG_EARMARK_MIC_RIGHT
    config.slot_cfg.slot_mask = I2S_STD_SLOT_RIGHT;
#else
    config.slot_cfg.slot_mask = I2S_STD_SLOT_LEFT;
#endif
    error = i2s_channel_init_std_mode(s_channel, &config);
#endif
    return error == ESP_OK ? i2s_channel_enable(s_channel) : error;
}

static int16_t to_pcm(slot_t slot) {
#if CONFIG_EARMARK_MIC_PDM
    return slot;
#else
    /* MEMS microphones reach full scale at 120 dB SPL; the gain brings a room into 16 bits. */
    const int32_t scaled = slot >> (16 - CONFIG_EARMARK_MIC_GAIN_SHIFT);
    return (int16_t)(scaled > INT16_MAX ? INT16_MAX : scaled < INT16_MIN ? INT16_MIN : scaled);
#endif
}

static void capture_task(void *argument) {
    static slot_t slots[BLOCK_SAMPLES];
    static int16_t pcm[BLOCK_SAMPLES];
    em_pcm_ring_t *ring = argument;
    (void)esp_task_wdt_add(NULL);
    for (;;) {
        size_t n_bytes = 0;
        const esp_err_t error =
            i2s_channel_read(s_channel, slots, sizeof slots, &n_bytes, READ_TIMEOUT_MS);
        const uint32_t n = (uint32_t)(n_bytes / sizeof slots[0]);
        for (uint32_t i = 0; i < n; i++) {
            pcm[i] = to_pcm(slots[i]);
        }
        em_pcm_ring_write(ring, pcm, n);
        if (error != ESP_OK) {
            if (error != ESP_ERR_TIMEOUT) {
                /* A driver that refuses at once must not starve the classify task. */
                vTaskDelay(pdMS_TO_TICKS(READ_TIMEOUT_MS));
            }
            /* The time passed all the same. */
            em_pcm_ring_lost(ring, SAMPLE_RATE_HZ * READ_TIMEOUT_MS / 1000 - n);
        }
        (void)esp_task_wdt_reset();
    }
}

esp_err_t em_microphone_start(em_pcm_ring_t *ring) {
    /* Classic ESP32 does not encrypt PSRAM: audio there could be read from outside. */
    if (!esp_ptr_internal(ring)) {
        return ESP_ERR_INVALID_ARG;
    }
    const esp_err_t error = open_channel();
    if (error != ESP_OK) {
        return error;
    }
    s_handle = xTaskCreateStaticPinnedToCore(capture_task, "capture", STACK_BYTES, ring, PRIORITY,
                                             s_stack, &s_task, CORE);
    return s_handle == NULL ? ESP_ERR_NO_MEM : ESP_OK;
}

uint32_t em_microphone_stack_free_bytes(void) {
    return s_handle == NULL ? 0 : (uint32_t)uxTaskGetStackHighWaterMark(s_handle);
}
