#include "earmark/panel.h"
#include "tasks.h"

#include <esp_task_wdt.h>
#include <esp_timer.h>
#include <freertos/FreeRTOS.h>
#include <freertos/task.h>
#include <stdatomic.h>

enum { STACK_BYTES = 2048, PRIORITY = 2, PERIOD_MS = 20, IDENTIFY_MS = 10000 };

static StaticTask_t s_task;
static StackType_t s_stack[STACK_BYTES];
static _Atomic uint32_t s_pattern = EM_LED_CONNECTING;
static _Atomic uint32_t s_identify_until_ms;
static _Atomic bool s_reset_wanted, s_mute_pressed;

static uint64_t up_ms(void) {
    return (uint64_t)esp_timer_get_time() / 1000u;
}

static void panel_task(void *argument) {
    em_button_t button = {0};
    (void)argument;
    (void)esp_task_wdt_add(NULL); /* nobody could mute any more */
    for (;;) {
        const uint64_t now = up_ms();
        const bool identifying = now < atomic_load(&s_identify_until_ms);
        em_panel_led(em_led_is_on(
            identifying ? EM_LED_IDENTIFY : (em_led_pattern_t)atomic_load(&s_pattern), now));
        switch (em_button_sample(&button, em_panel_button(), now)) {
        case EM_BUTTON_FACTORY_RESET:
            atomic_store(&s_reset_wanted, true);
            break;
        case EM_BUTTON_SHORT:
            atomic_store(&s_mute_pressed, true);
            break;
        case EM_BUTTON_NONE:
            break;
        }
        (void)esp_task_wdt_reset();
        vTaskDelay(pdMS_TO_TICKS(PERIOD_MS));
    }
}

esp_err_t em_panel_start(void) {
    const esp_err_t error = em_panel_open();
    if (error != ESP_OK) {
        return error;
    }
    return xTaskCreateStaticPinnedToCore(panel_task, "panel", STACK_BYTES, NULL, PRIORITY, s_stack,
                                         &s_task, 0) == NULL
               ? ESP_ERR_NO_MEM
               : ESP_OK;
}

void em_panel_show(em_led_pattern_t pattern) {
    atomic_store(&s_pattern, pattern);
}

void em_panel_identify(void) {
    atomic_store(&s_identify_until_ms, (uint32_t)up_ms() + IDENTIFY_MS);
}

bool em_panel_factory_reset_wanted(void) {
    return atomic_exchange(&s_reset_wanted, false);
}

bool em_panel_mute_pressed(void) {
    return atomic_exchange(&s_mute_pressed, false);
}
