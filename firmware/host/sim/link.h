/* The simulator's network: the line protocol of docs/contracts.md on a file descriptor and standard
 * output, or a loopback that acknowledges every event itself. */
#ifndef EARMARK_LINK_H
#define EARMARK_LINK_H

#include "earmark/ports.h"

typedef struct {
    int input_fd; /* -1: loopback */
    bool up, closed;
    uint32_t n_published, n_sent;
    size_t length;
    char line[4096];
    char pending_ack[2][256]; /* loopback: topic and payload of the answer to the last event */
    void *receiver;
    void (*on_state)(void *receiver, bool up);
    void (*on_message)(void *receiver, const char *topic, const char *payload, size_t bytes);
} sim_link_t;

void sim_link_open(sim_link_t *link, int input_fd);
em_network_t sim_link_port(sim_link_t *link);
void sim_link_send_will(const em_message_t *will);
/* Waits up to wait_ms for lines and handles them. Returns how many there were. */
int sim_link_poll(sim_link_t *link, int wait_ms);

#endif
