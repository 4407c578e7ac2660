#include "earmark/indicator.h"

bool em_led_is_on(em_led_pattern_t pattern, uint64_t up_ms) {
    switch (pattern) {
    case EM_LED_UNPROVISIONED:
        return up_ms % 2000 < 1000;
    case EM_LED_CONNECTING:
        return up_ms % 1000 < 80 || (up_ms % 1000 >= 200 && up_ms % 1000 < 280);
    case EM_LED_OFFLINE:
        return up_ms % 5000 < 80;
    case EM_LED_MUTED:
        return up_ms % 2000 >= 150;
    case EM_LED_UPDATING:
        return up_ms % 250 < 125;
    case EM_LED_FAULT:
        return true;
    case EM_LED_IDENTIFY:
        return up_ms % 100 < 50;
    case EM_LED_ONLINE:
        break;
    }
    return false;
}

em_button_event_t em_button_sample(em_button_t *b, bool raw_pressed, uint64_t up_ms) {
    if (raw_pressed != b->raw) {
        b->raw = raw_pressed;
        b->raw_since_ms = up_ms;
    }
    if (b->raw != b->pressed && up_ms - b->raw_since_ms >= EM_BUTTON_DEBOUNCE_MS) {
        b->pressed = b->raw;
        const bool was_long = b->reported;
        b->pressed_since_ms = up_ms;
        b->reported = false;
        if (!b->pressed) {
            return was_long || !b->was_released ? EM_BUTTON_NONE : EM_BUTTON_SHORT;
        }
    }
    b->was_released |= !b->raw && up_ms - b->raw_since_ms >= EM_BUTTON_DEBOUNCE_MS;
    if (b->pressed && b->was_released && !b->reported &&
        up_ms - b->pressed_since_ms >= EM_BUTTON_RESET_MS) {
        b->reported = true;
        return EM_BUTTON_FACTORY_RESET;
    }
    return EM_BUTTON_NONE;
}
