/* SNTP. Until the first answer the wall clock is unknown to events; the system time then stands at
 * the build date, so that certificates can be checked against something no attacker chooses. */
#ifndef EARMARK_WALL_CLOCK_H
#define EARMARK_WALL_CLOCK_H

#include "earmark/ports.h"

#include <esp_err.h>

esp_err_t em_wall_clock_start(const char *server);
em_clock_t em_wall_clock_port(void);

#endif
