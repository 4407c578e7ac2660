/* What the firmware understands of provisioning data on standard input, as lines of text. */
#include "earmark/provisioning.h"

#include <stdio.h>

static void print_der(const char *name, const uint8_t *der, size_t bytes) {
    printf("%s ", name);
    for (size_t i = 0; i < bytes; i++) {
        printf("%02x", der[i]);
    }
    printf("\n");
}

int main(void) {
    static char text[EM_PROVISIONING_BYTES + 1];
    static em_identity_t identity;
    const size_t bytes = fread(text, 1, sizeof text, stdin);
    if (em_provisioning_parse(&identity, text, bytes) != EM_OK) {
        return 1;
    }
    printf("device_id %s\nhost %s\nport %u\n", identity.device_id, identity.broker_host,
           identity.broker_port);
    print_der("ca", identity.ca, identity.ca_bytes);
    print_der("cert", identity.certificate, identity.certificate_bytes);
    print_der("key", identity.key, identity.key_bytes);
    return 0;
}
