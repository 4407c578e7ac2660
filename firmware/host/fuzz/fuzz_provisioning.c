#include "earmark/provisioning.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static em_identity_t identity;
    const em_status_t status = em_provisioning_parse(&identity, (const char *)data, size);
    if ((status == EM_OK) != (identity.device_id[0] != '\0')) {
        abort();
    }
    return 0;
}
