/* MQTT 5 over TLS with the device's own key. */
#ifndef EARMARK_MQTT_NETWORK_H
#define EARMARK_MQTT_NETWORK_H

#include "earmark/ports.h"
#include "earmark/provisioning.h"

#include <esp_err.h>

typedef enum { EM_LINK_UP, EM_LINK_DOWN, EM_LINK_CERTIFICATE, EM_LINK_MESSAGE } em_link_event_t;

/* Called from the MQTT task; must not block. topic and payload only for EM_LINK_MESSAGE. */
typedef void (*em_link_callback_t)(em_link_event_t event, const char *topic, const char *payload,
                                   size_t payload_bytes);

/* The identity must outlive the connection; so must the will's text. */
esp_err_t em_mqtt_start(const em_identity_t *identity, const em_message_t *will,
                        em_link_callback_t callback);
em_network_t em_mqtt_port(void);

#endif
