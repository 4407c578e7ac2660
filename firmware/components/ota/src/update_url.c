#include "earmark/update_url.h"

#include <stdio.h>
#include <string.h>

/* Only names that cannot leave the directory. */
static bool is_plain(const char *version) {
    return version[0] != '\0' && version[0] != '.' &&
           strspn(version, "0123456789abcdefghijklmnopqrstuvwxyz.-+_") == strlen(version);
}

bool em_update_url(char url[EM_UPDATE_URL_BYTES], const char *base, const char *version,
                   const char *file) {
    if (!is_plain(version)) {
        return false;
    }
    const int n = snprintf(url, EM_UPDATE_URL_BYTES, "%s/%s/%s", base, version, file);
    return n > 0 && n < EM_UPDATE_URL_BYTES;
}
