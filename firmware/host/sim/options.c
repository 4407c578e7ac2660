#include "options.h"

#include "earmark/wire.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

const char OPTIONS_USAGE[] =
    "usage: earmark-sim (--wav FILE | --pcm FILE|-) [options]\n"
    "  --device-id ID       topic name of the device (default demo)\n"
    "  --realtime           as fast as the audio; default: as fast as possible\n"
    "  --loopback           no network: acknowledge every event here\n"
    "  --link-fd N          read the line protocol from descriptor N (default 0)\n"
    "  --start-unix-ms T    wall clock at the first sample (default: now)\n"
    "  --no-clock           the wall clock is never set\n"
    "  --state FILE         flash and settings survive here from run to run\n"
    "  --seed N             reproducible ids (default: from the system)\n"
    "  --ack-wait-ms N      longest wait for one acknowledgement (default 3000)\n"
    "  --drain-ms N         longest wait for all of them at the end (default 10000)\n"
    "Messages go to standard output; one line of results to standard error.\n"
    "Exit status: 0 all delivered, 3 events left in the outbox, 1 bad input.\n";

bool options_parse(options_t *o, int argc, char **argv) {
    enum {
        WAV = 256,
        PCM,
        ID,
        REALTIME,
        LOOPBACK,
        LINK,
        START,
        NO_CLOCK,
        STATE,
        SEED,
        ACK,
        DRAIN,
        VERBOSE
    };
    static const struct option LONG[] = {{"wav", required_argument, NULL, WAV},
                                         {"pcm", required_argument, NULL, PCM},
                                         {"device-id", required_argument, NULL, ID},
                                         {"realtime", no_argument, NULL, REALTIME},
                                         {"loopback", no_argument, NULL, LOOPBACK},
                                         {"link-fd", required_argument, NULL, LINK},
                                         {"start-unix-ms", required_argument, NULL, START},
                                         {"no-clock", no_argument, NULL, NO_CLOCK},
                                         {"state", required_argument, NULL, STATE},
                                         {"seed", required_argument, NULL, SEED},
                                         {"ack-wait-ms", required_argument, NULL, ACK},
                                         {"drain-ms", required_argument, NULL, DRAIN},
                                         {"verbose", no_argument, NULL, VERBOSE},
                                         {NULL, 0, NULL, 0}};
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    *o = (options_t){.device_id = "demo",
                     .start_unix_ms = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000,
                     .seed = (uint64_t)now.tv_nsec * 1000003u ^ (uint64_t)now.tv_sec,
                     .ack_wait_ms = 3000,
                     .drain_ms = 10000};
    int option;
    while ((option = getopt_long(argc, argv, "", LONG, NULL)) != -1) {
        switch (option) {
        case WAV:
        case PCM:
            o->audio_path = optarg;
            o->raw = option == PCM;
            break;
        case ID:
            o->device_id = optarg;
            break;
        case REALTIME:
            o->realtime = true;
            break;
        case LOOPBACK:
            o->loopback = true;
            break;
        case LINK:
            o->link_fd = (int)strtol(optarg, NULL, 10);
            break;
        case START:
            o->start_unix_ms = strtoll(optarg, NULL, 10);
            break;
        case NO_CLOCK:
            o->no_clock = true;
            break;
        case STATE:
            o->state_path = optarg;
            break;
        case SEED:
            o->seed = strtoull(optarg, NULL, 10);
            break;
        case ACK:
            o->ack_wait_ms = (uint32_t)strtoul(optarg, NULL, 10);
            break;
        case DRAIN:
            o->drain_ms = (uint32_t)strtoul(optarg, NULL, 10);
            break;
        case VERBOSE:
            o->verbose = true;
            break;
        default:
            return false;
        }
    }
    return o->audio_path != NULL && optind == argc && strlen(o->device_id) <= EM_DEVICE_ID_CHARS;
}
