/* Station mode with the credentials that provisioning stored; reconnects for ever. */
#ifndef EARMARK_WIFI_H
#define EARMARK_WIFI_H

#include <esp_err.h>
#include <stdbool.h>
#include <stdint.h>

/* Network interface, event loop and driver; call once, before provisioning. */
esp_err_t em_wifi_init(void);
/* Starts connecting; returns at once. */
esp_err_t em_wifi_start(void);
/* False while not associated. */
bool em_wifi_rssi_dbm(int8_t *rssi_dbm);

#endif
