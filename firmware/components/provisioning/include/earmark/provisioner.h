/* SoftAP with proof of possession: an installer's phone hands over Wi-Fi and identity. */
#ifndef EARMARK_PROVISIONER_H
#define EARMARK_PROVISIONER_H

#include "earmark/provisioning.h"

#include <esp_err.h>

/* Blocks until Wi-Fi credentials and identity are stored. The proof of possession is the value
 * "pop" of the factory store, written at manufacture and printed on the label. */
esp_err_t em_provisioner_run(const em_kv_t *kv, const em_kv_t *factory, em_identity_t *identity);
/* Wi-Fi credentials of an earlier provisioning exist. */
bool em_provisioner_has_wifi(void);

#endif
