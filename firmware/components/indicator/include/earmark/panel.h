/* LED and button of the board. */
#ifndef EARMARK_PANEL_H
#define EARMARK_PANEL_H

#include "earmark/indicator.h"

#include <esp_err.h>

esp_err_t em_panel_open(void);
void em_panel_led(bool on);
bool em_panel_button(void);

#endif
