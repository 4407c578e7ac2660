#include "earmark/mqtt_network.h"

#include <esp_check.h>
#include <esp_log.h>
#include <esp_tls_errors.h>
#include <inttypes.h>
#include <mqtt_client.h>
#include <stdio.h>
#include <string.h>

static const char TAG[] = "mqtt";

enum {
    KEEPALIVE_S = 30,
    BUFFER_BYTES = 1536, /* the longest message is 1 KiB and its topic */
    /* Messages wait in our own outbox; the client's is for what is on the wire. */
    CLIENT_OUTBOX_BYTES = 8192,
    RECONNECT_MS = 5000,
    PACKET_MARGIN_BYTES = 96
};

static esp_mqtt_client_handle_t s_client;
static em_link_callback_t s_callback;
static char s_will_topic[EM_TOPIC_BYTES];
static char s_subscriptions[2][EM_TOPIC_BYTES];

static void on_connected(void) {
    for (int i = 0; i < 2; i++) {
        if (esp_mqtt_client_subscribe_single(s_client, s_subscriptions[i], 1) < 0) {
            ESP_LOGW(TAG, "subscribe failed");
        }
    }
    s_callback(EM_LINK_UP, NULL, NULL, 0);
}

static void on_error(const esp_mqtt_error_codes_t *error) {
    if (error->error_type != MQTT_ERROR_TYPE_TCP_TRANSPORT) {
        return;
    }
    ESP_LOGW(TAG, "transport: esp-tls 0x%x, certificate flags 0x%x",
             (unsigned)error->esp_tls_last_esp_err, (unsigned)error->esp_tls_cert_verify_flags);
    if (error->esp_tls_cert_verify_flags != 0 ||
        error->esp_tls_last_esp_err == ESP_ERR_MBEDTLS_SSL_HANDSHAKE_FAILED) {
        s_callback(EM_LINK_CERTIFICATE, NULL, NULL, 0);
    }
}

static void on_data(const esp_mqtt_event_t *event) {
    char topic[EM_TOPIC_BYTES];
    /* Nothing we accept is longer than one buffer: fragments are not ours. */
    if (event->total_data_len != event->data_len || event->data_len > EM_PAYLOAD_BYTES ||
        event->topic_len <= 0 || event->topic_len >= EM_TOPIC_BYTES) {
        ESP_LOGW(TAG, "message of %d bytes ignored", event->total_data_len);
        return;
    }
    memcpy(topic, event->topic, (size_t)event->topic_len);
    topic[event->topic_len] = '\0';
    s_callback(EM_LINK_MESSAGE, topic, event->data, (size_t)event->data_len);
}

static void on_event(void *argument, esp_event_base_t base, int32_t id, void *data) {
    const esp_mqtt_event_t *event = data;
    (void)argument;
    (void)base;
    switch ((esp_mqtt_event_id_t)id) {
    case MQTT_EVENT_CONNECTED:
        on_connected();
        break;
    case MQTT_EVENT_DISCONNECTED:
        s_callback(EM_LINK_DOWN, NULL, NULL, 0);
        break;
    case MQTT_EVENT_DATA:
        on_data(event);
        break;
    case MQTT_EVENT_ERROR:
        on_error(event->error_handle);
        break;
    default:
        break;
    }
}

static em_status_t publish(void *context, const em_message_t *message) {
    (void)context;
    if (esp_mqtt_client_get_outbox_size(s_client) >
        CLIENT_OUTBOX_BYTES - EM_PAYLOAD_BYTES - PACKET_MARGIN_BYTES) {
        return EM_ERR_IO;
    }
    return esp_mqtt_client_enqueue(s_client, message->topic, message->payload,
                                   (int)message->payload_bytes, message->qos, message->retain,
                                   true) < 0
               ? EM_ERR_IO
               : EM_OK;
}

em_network_t em_mqtt_port(void) {
    return (em_network_t){.publish = publish};
}

esp_err_t em_mqtt_start(const em_identity_t *identity, const em_message_t *will,
                        em_link_callback_t callback) {
    s_callback = callback;
    snprintf(s_will_topic, sizeof s_will_topic, "%s", will->topic);
    ESP_RETURN_ON_FALSE(em_wire_topic(s_subscriptions[0], identity->device_id, "ack") == EM_OK &&
                            em_wire_topic(s_subscriptions[1], identity->device_id, "cmd/#") ==
                                EM_OK,
                        ESP_ERR_INVALID_SIZE, TAG, "device id");
    const esp_mqtt_client_config_t config = {
        .broker =
            {
                .address = {.hostname = identity->broker_host,
                            .port = identity->broker_port,
                            .transport = MQTT_TRANSPORT_OVER_SSL},
                .verification = {.certificate = (const char *)identity->ca,
                                 .certificate_len = identity->ca_bytes},
            },
        .credentials =
            {
                .username = identity->device_id,
                .client_id = identity->device_id,
                .authentication = {.certificate = (const char *)identity->certificate,
                                   .certificate_len = identity->certificate_bytes,
                                   .key = (const char *)identity->key,
                                   .key_len = identity->key_bytes},
            },
        .session =
            {
                .last_will = {.topic = s_will_topic,
                              .msg = will->payload,
                              .msg_len = (int)will->payload_bytes,
                              .qos = will->qos,
                              .retain = will->retain},
                .keepalive = KEEPALIVE_S,
                .protocol_ver = MQTT_PROTOCOL_V_5,
            },
        .network = {.reconnect_timeout_ms = RECONNECT_MS},
        .buffer = {.size = BUFFER_BYTES},
        .outbox = {.limit = CLIENT_OUTBOX_BYTES},
    };
    s_client = esp_mqtt_client_init(&config);
    ESP_RETURN_ON_FALSE(s_client != NULL, ESP_ERR_NO_MEM, TAG, "client");
    ESP_RETURN_ON_ERROR(esp_mqtt_client_register_event(s_client, ESP_EVENT_ANY_ID, on_event, NULL),
                        TAG, "events");
    return esp_mqtt_client_start(s_client);
}
