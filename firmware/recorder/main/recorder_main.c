/* THIS IS NOT THE PRODUCT. It sends everything it hears over the USB cable, for people who collect
 * training data with everybody's consent. The LED is on while it does. It has no radio and no
 * network code; the product has none of these functions (tests/firmware/test_privacy.py). */
#include "earmark/microphone.h"
#include "earmark/panel.h"
#include "recorder_frame.h"

#include <driver/uart.h>
#include <esp_err.h>
#include <freertos/FreeRTOS.h>
#include <freertos/task.h>

enum {
    BAUD = 921600, /* 16 kHz of int16 need 256 kbit/s */
    TX_BYTES = 16384,
    RX_BYTES = 256,
    SAMPLE_RATE_HZ = 16000,
    WAIT_MS = 5
};

static const char BANNER[] =
    "\r\n*** EARMARK RECORDER: THIS BOARD SENDS AUDIO. NOT THE PRODUCT. ***\r\n";
static em_pcm_ring_t s_ring;

static esp_err_t open_serial(void) {
    const uart_config_t config = {
        .baud_rate = BAUD,
        .data_bits = UART_DATA_8_BITS,
        .parity = UART_PARITY_DISABLE,
        .stop_bits = UART_STOP_BITS_1,
        .flow_ctrl = UART_HW_FLOWCTRL_DISABLE,
    };
    const esp_err_t error = uart_driver_install(UART_NUM_0, RX_BYTES, TX_BYTES, 0, NULL, 0);
    return error == ESP_OK ? uart_param_config(UART_NUM_0, &config) : error;
}

void app_main(void) {
    static int16_t pcm[EM_RECORDER_MAX_SAMPLES];
    static uint8_t frame[EM_RECORDER_FRAME_BYTES];
    uint32_t sequence = 0, n_gap;
    ESP_ERROR_CHECK(em_panel_open());
    ESP_ERROR_CHECK(open_serial());
    em_pcm_ring_init(&s_ring);
    em_panel_led(true);
    (void)uart_write_bytes(UART_NUM_0, BANNER, sizeof BANNER - 1);
    ESP_ERROR_CHECK(em_microphone_start(&s_ring));
    for (;;) {
        const uint32_t n = em_pcm_ring_read(&s_ring, pcm, EM_RECORDER_MAX_SAMPLES, &n_gap);
        if (n == 0) {
            vTaskDelay(pdMS_TO_TICKS(WAIT_MS));
            continue;
        }
        const uint16_t flags = n_gap > 0 ? EM_RECORDER_OVERRUN : 0;
        const size_t bytes = em_recorder_frame(frame, sequence++, SAMPLE_RATE_HZ, flags, pcm, n);
        (void)uart_write_bytes(UART_NUM_0, frame, bytes);
    }
}
