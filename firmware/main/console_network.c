#include "tasks.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static em_status_t publish(void *context, const em_message_t *message) {
    (void)context;
    printf("PUB\t%d\t%d\t%s\t%.*s\n", message->qos, message->retain, message->topic,
           (int)message->payload_bytes, message->payload);
    return EM_OK;
}

em_network_t em_console_network_port(void) {
    return (em_network_t){.publish = publish};
}

void em_console_acknowledge(em_device_t *device) {
    char topic[EM_TOPIC_BYTES], payload[64];
    if (em_outbox_in_flight(&device->outbox) == 0 ||
        em_wire_topic(topic, device->config.device_id, "ack") != EM_OK) {
        return;
    }
    snprintf(payload, sizeof payload, "{\"boot\":\"%016" PRIx64 "\",\"upto\":%" PRIu32 "}",
             device->outbox.boot, device->outbox.next_seq - 1);
    em_device_receive(device, topic, payload, strlen(payload));
}
