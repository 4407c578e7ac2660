/* Command line of the simulator. */
#ifndef EARMARK_OPTIONS_H
#define EARMARK_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

typedef struct {
    const char *audio_path, *device_id, *state_path;
    bool raw, realtime, loopback, no_clock, verbose;
    int link_fd;
    int64_t start_unix_ms;
    uint64_t seed;
    uint32_t ack_wait_ms, drain_ms;
} options_t;

extern const char OPTIONS_USAGE[];

/* False if the arguments make no sense: show OPTIONS_USAGE. */
bool options_parse(options_t *o, int argc, char **argv);

#endif
