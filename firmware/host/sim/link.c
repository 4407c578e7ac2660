#include "link.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void sim_link_open(sim_link_t *link, int input_fd) {
    memset(link, 0, sizeof *link);
    link->input_fd = input_fd;
}

static void print_message(const char *verb, const em_message_t *message) {
    printf("%s\t%d\t%d\t%s\t%.*s\n", verb, message->qos, message->retain, message->topic,
           (int)message->payload_bytes, message->payload);
    fflush(stdout);
}

void sim_link_send_will(const em_message_t *will) {
    print_message("WILL", will);
}

/* Copies the quoted value that follows `name` in our own encoder's output. */
static void copy_after(char *out, size_t capacity, const char *text, const char *name) {
    const char *at = strstr(text, name);
    size_t i = 0;
    for (at = at ? at + strlen(name) : ""; *at && !strchr(",\"}", *at) && i + 1 < capacity; at++) {
        out[i++] = *at;
    }
    out[i] = '\0';
}

static void prepare_loopback_ack(sim_link_t *link, const em_message_t *message) {
    char boot[20], seq[16];
    const size_t topic_bytes = strlen(message->topic);
    if (topic_bytes < 6 || strcmp(message->topic + topic_bytes - 6, "/event") != 0) {
        return;
    }
    copy_after(boot, sizeof boot, message->payload, "\"boot\":\"");
    copy_after(seq, sizeof seq, message->payload, "\"seq\":");
    snprintf(link->pending_ack[0], sizeof link->pending_ack[0], "%.*s/ack", (int)topic_bytes - 6,
             message->topic);
    snprintf(link->pending_ack[1], sizeof link->pending_ack[1], "{\"boot\":\"%s\",\"upto\":%s}",
             boot, seq);
}

static em_status_t publish(void *context, const em_message_t *message) {
    sim_link_t *link = context;
    if (!link->up) {
        return EM_ERR_IO;
    }
    print_message("PUB", message);
    link->n_published++;
    if (link->input_fd < 0) {
        prepare_loopback_ack(link, message);
    }
    return EM_OK;
}

em_network_t sim_link_port(sim_link_t *link) {
    return (em_network_t){.context = link, .publish = publish};
}

static void set_up(sim_link_t *link, bool up) {
    link->up = up;
    link->on_state(link->receiver, up);
}

static void handle_line(sim_link_t *link, char *line) {
    if (strcmp(line, "UP") == 0 || strcmp(line, "DOWN") == 0) {
        set_up(link, line[0] == 'U');
        return;
    }
    char *first = strchr(line, '\t');
    if (first == NULL) {
        return;
    }
    *first++ = '\0';
    char *second = strchr(first, '\t');
    if (strcmp(line, "MSG") == 0 && second != NULL) {
        *second++ = '\0';
        link->on_message(link->receiver, first, second, strlen(second));
    } else if (strcmp(line, "SENT") == 0) {
        link->n_sent++;
    }
}

static int handle_input(sim_link_t *link) {
    const ssize_t n =
        read(link->input_fd, link->line + link->length, sizeof link->line - 1 - link->length);
    int lines = 0;
    if (n <= 0) {
        link->closed = true;
        set_up(link, false);
        return 0;
    }
    link->length += (size_t)n;
    char *start = link->line, *end;
    while ((end = memchr(start, '\n', (size_t)(link->line + link->length - start))) != NULL) {
        *end = '\0';
        handle_line(link, start);
        start = end + 1;
        lines++;
    }
    link->length = (size_t)(link->line + link->length - start);
    memmove(link->line, start, link->length);
    if (link->length == sizeof link->line - 1) {
        link->length = 0; /* no message of ours is that long: drop it */
    }
    return lines;
}

static int poll_loopback(sim_link_t *link) {
    if (!link->up) {
        set_up(link, true);
        return 1;
    }
    if (link->pending_ack[0][0] == '\0') {
        return 0;
    }
    link->on_message(link->receiver, link->pending_ack[0], link->pending_ack[1],
                     strlen(link->pending_ack[1]));
    link->pending_ack[0][0] = '\0';
    return 1;
}

int sim_link_poll(sim_link_t *link, int wait_ms) {
    if (link->input_fd < 0) {
        return poll_loopback(link);
    }
    int lines = 0;
    struct pollfd fd = {.fd = link->input_fd, .events = POLLIN};
    while (!link->closed && poll(&fd, 1, lines > 0 ? 0 : wait_ms) > 0) {
        lines += handle_input(link);
    }
    return lines;
}
