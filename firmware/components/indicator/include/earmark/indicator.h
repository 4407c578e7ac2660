/* What the LED shows and what the button means; pure functions of time. */
#ifndef EARMARK_INDICATOR_H
#define EARMARK_INDICATOR_H

#include <stdbool.h>
#include <stdint.h>

typedef enum {
    EM_LED_UNPROVISIONED, /* slow even blinking: waits for its installer */
    EM_LED_CONNECTING,    /* two short flashes a second */
    EM_LED_ONLINE,        /* off: a bedroom stays dark */
    EM_LED_OFFLINE,       /* one short flash every five seconds */
    EM_LED_MUTED,         /* on, with a short gap every two seconds */
    EM_LED_UPDATING,      /* fast blinking */
    EM_LED_FAULT,         /* on */
    EM_LED_IDENTIFY       /* very fast, for ten seconds */
} em_led_pattern_t;

bool em_led_is_on(em_led_pattern_t pattern, uint64_t up_ms);

typedef enum { EM_BUTTON_NONE, EM_BUTTON_SHORT, EM_BUTTON_FACTORY_RESET } em_button_event_t;

enum { EM_BUTTON_DEBOUNCE_MS = 30, EM_BUTTON_RESET_MS = 10000 };

typedef struct {
    bool pressed, raw;
    bool was_released; /* since start: a shorted button must not wipe the device */
    bool reported;     /* the long press of this hold */
    uint64_t raw_since_ms, pressed_since_ms;
} em_button_t;

/* Call every 10 to 50 ms. A short press is reported at release, a reset after ten seconds held. */
em_button_event_t em_button_sample(em_button_t *button, bool raw_pressed, uint64_t up_ms);

#endif
