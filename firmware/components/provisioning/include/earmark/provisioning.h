/* What an installer hands to a new device, beside the Wi-Fi password (which ESP-IDF's provisioning
 * manager takes): identity, broker and keys, as one JSON object over the secured channel. */
#ifndef EARMARK_PROVISIONING_H
#define EARMARK_PROVISIONING_H

#include "earmark/ports.h"
#include "earmark/wire.h"

enum { EM_HOST_CHARS = 63, EM_DER_BYTES = 1400, EM_PROVISIONING_BYTES = 6144 };

typedef struct {
    char device_id[EM_DEVICE_ID_CHARS + 1];
    char broker_host[EM_HOST_CHARS + 1];
    uint16_t broker_port;
    uint16_t ca_bytes, certificate_bytes, key_bytes;
    uint8_t ca[EM_DER_BYTES], certificate[EM_DER_BYTES], key[EM_DER_BYTES]; /* DER */
} em_identity_t;

/* {"device_id":"4f0c9a1b22d3","host":"gateway.local","port":8883,"ca":"<base64 DER>","cert":..,
 * "key":..}. EM_ERR_FORMAT: anything else; the identity is then all zeros. */
em_status_t em_provisioning_parse(em_identity_t *identity, const char *text, size_t bytes);

/* The identity in the key-value store. EM_ERR_STATE: none. */
em_status_t em_provisioning_save(const em_kv_t *kv, const em_identity_t *identity);
em_status_t em_provisioning_load(const em_kv_t *kv, em_identity_t *identity);

#endif
