#include "tasks.h"

#include <stdio.h>

static em_status_t publish(void *context, const em_message_t *message) {
    (void)context;
    printf("PUB\t%d\t%d\t%s\t%.*s\n", message->qos, message->retain, message->topic,
           (int)message->payload_bytes, message->payload);
    return EM_OK;
}

em_network_t em_console_network_port(void) {
    return (em_network_t){.publish = publish};
}
