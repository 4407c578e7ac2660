/* Where updates come from: BASE/VERSION/FILE, with BASE fixed in the image (Kconfig). */
#ifndef EARMARK_UPDATE_URL_H
#define EARMARK_UPDATE_URL_H

#include <stdbool.h>
#include <stddef.h>

enum { EM_UPDATE_URL_BYTES = 192 };

/* False for a version that could lead elsewhere, or does not fit. */
bool em_update_url(char url[EM_UPDATE_URL_BYTES], const char *base, const char *version,
                   const char *file);

#endif
