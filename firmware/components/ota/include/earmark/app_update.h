/* Application update over HTTPS into the other slot; only signed images boot (secure boot). */
#ifndef EARMARK_APP_UPDATE_H
#define EARMARK_APP_UPDATE_H

#include "earmark/boot_check.h"

#include <esp_err.h>

/* True if this boot is the trial of a new image. */
bool em_app_is_on_trial(void);
/* Downloads BASE_URL/version/earmark.bin (Kconfig) and selects it; blocks for minutes. ca: PEM or
 * DER of the update server's authority. The caller reboots. */
esp_err_t em_app_update(const char *version, const void *ca, size_t ca_bytes);
/* Carries out a decision of the boot check; ROLL_BACK does not return. */
esp_err_t em_app_apply(em_boot_t decision);

#endif
