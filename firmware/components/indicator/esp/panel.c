#include "earmark/panel.h"

#include <driver/gpio.h>
#include <sdkconfig.h>

esp_err_t em_panel_open(void) {
    const gpio_config_t led = {
        .pin_bit_mask = 1ull << CONFIG_EARMARK_LED_GPIO,
        .mode = GPIO_MODE_OUTPUT,
    };
    const esp_err_t error = gpio_config(&led);
#if CONFIG_EARMARK_BUTTON_GPIO >= 0
    const gpio_config_t button = {
        .pin_bit_mask = 1ull << CONFIG_EARMARK_BUTTON_GPIO,
        .mode = GPIO_MODE_INPUT,
        .pull_up_en = GPIO_PULLUP_ENABLE,
    };
    return error == ESP_OK ? gpio_config(&button) : error;
#else
    return error;
#endif
}

void em_panel_led(bool on) {
    (void)gpio_set_level(CONFIG_EARMARK_LED_GPIO, on);
}

bool em_panel_button(void) {
#if CONFIG_EARMARK_BUTTON_GPIO >= 0
    return gpio_get_level(CONFIG_EARMARK_BUTTON_GPIO) == 0;
#else
    return false;
#endif
}
