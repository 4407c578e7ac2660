/* A week of simulated time: an event every few minutes, the network gone half of the time, gateway
 * and broker restarting, twenty power cuts. Every critical event is stored exactly once after
 * deduplication, no sequence number is missing.
 *
 * Usage: test_week [DAYS [external]]. external: the gateway is the process at the other end of the
 * pipe (tests/firmware/week.py). Lines out: PUB <second> <topic> <payload>, RESTART <second>,
 * FLUSH; after FLUSH come ACK <payload> lines and DONE. At the end: CRITICAL <episode> for each
 * event that must be stored. */
#include "check.h"
#include "rig.h"

#include <inttypes.h>

enum {
    DAY_S = 24 * 3600,
    MAX_EVENTS = 8192,
    POWER_CUTS = 20,
    MAX_BOOTS = POWER_CUTS + 2,
    PENDING_ACKS = 64
};

/* The gateway's store: one row per (boot, seq), as its UNIQUE key has it. */
typedef struct {
    uint64_t boots[MAX_BOOTS];
    uint32_t n_boots, highest[MAX_BOOTS];
    bool stored[MAX_BOOTS][MAX_EVENTS];
    uint32_t episode_of[MAX_BOOTS][MAX_EVENTS];
    uint32_t n_stored, n_duplicates;
    bool down; /* restarting: takes nothing, acknowledges nothing */
    struct {
        uint64_t boot;
        uint32_t seq;
    } acks[PENDING_ACKS];
    uint32_t n_acks;
} gateway_t;

static rig_t rig;
static gateway_t gateway;
static uint32_t random_state = 12345;
static bool external, published;
static uint64_t world_s;
static bool critical_stored[MAX_EVENTS], critical_accepted[MAX_EVENTS];

static uint32_t random_below(uint32_t n) {
    random_state = random_state * 1664525u + 1013904223u;
    return (uint32_t)(((uint64_t)random_state * n) >> 32);
}

static uint32_t boot_index(uint64_t boot) {
    uint32_t i = 0;
    while (i < gateway.n_boots && gateway.boots[i] != boot) {
        i++;
    }
    if (i == gateway.n_boots) {
        CHECK(gateway.n_boots < MAX_BOOTS);
        gateway.boots[gateway.n_boots++] = boot;
    }
    return i;
}

static void on_publish(void *context, const em_message_t *message) {
    uint64_t boot;
    uint32_t seq, episode;
    (void)context;
    if (gateway.down) {
        return; /* QoS 1 does not save it: the broker restarted as well */
    }
    if (external) {
        printf("PUB\t%" PRIu64 "\t%s\t%.*s\n", world_s, message->topic, (int)message->payload_bytes,
               message->payload);
        published = true;
        return;
    }
    if (strstr(message->topic, "/event") == NULL) {
        return;
    }
    CHECK(sscanf(strstr(message->payload, "\"eid\":\"") + 12, "%" SCNu32, &episode) == 1);
    CHECK(sscanf(strstr(message->payload, "\"boot\":\"") + 8, "%" SCNx64, &boot) == 1);
    CHECK(sscanf(strstr(message->payload, "\"seq\":") + 6, "%" SCNu32, &seq) == 1);
    CHECK(seq < MAX_EVENTS && episode < MAX_EVENTS);
    const uint32_t b = boot_index(boot);
    if (gateway.stored[b][seq]) {
        gateway.n_duplicates++;
    } else {
        gateway.stored[b][seq] = true;
        gateway.n_stored++;
        gateway.highest[b] = seq > gateway.highest[b] ? seq : gateway.highest[b];
        if (strstr(message->payload, "smoke_alarm") != NULL) {
            CHECK(!critical_stored[episode]);
            critical_stored[episode] = true;
        }
    }
    if (gateway.n_acks < PENDING_ACKS) {
        gateway.acks[gateway.n_acks].boot = boot;
        gateway.acks[gateway.n_acks++].seq = seq;
    }
}

static const char ACK_TOPIC[] = "earmark/v1/4f0c9a1b22d3/ack";

/* The gateway works off what it got, whether or not its answers arrive. */
static void flush(bool answers_arrive) {
    char line[EM_PAYLOAD_BYTES + 8];
    puts("FLUSH");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin) != NULL && strcmp(line, "DONE\n") != 0) {
        CHECK(strncmp(line, "ACK ", 4) == 0);
        if (answers_arrive) {
            em_device_receive(&rig.device, ACK_TOPIC, line + 4, strlen(line + 4) - 1);
        }
    }
    CHECK(!feof(stdin));
    published = false;
}

static void deliver_acks(void) {
    for (uint32_t i = 0; i < gateway.n_acks; i++) {
        char payload[96];
        snprintf(payload, sizeof payload, "{\"boot\":\"%016" PRIx64 "\",\"seqs\":[%" PRIu32 "]}",
                 gateway.acks[i].boot, gateway.acks[i].seq);
        em_device_receive(&rig.device, ACK_TOPIC, payload, strlen(payload));
    }
    gateway.n_acks = 0;
}

static void cut_power(void) {
    /* Sometimes in the middle of writing: let it happen within the next operations. */
    rig.flash.cut_after = random_below(4);
    rig.flash.tear_seed = random_state;
    gateway.n_acks = 0;
}

int main(int argc, char **argv) {
    const uint64_t week_s = (argc > 1 ? strtoul(argv[1], NULL, 10) : 7) * DAY_S;
    static uint64_t cut_at_s[POWER_CUTS];
    uint32_t episode = 0, n_cuts = 0, high_water = 0, log_errors = 0;
    uint64_t next_event_s = 60, next_network_s = 600, next_gateway_s = 1800;
    bool up = true;
    external = argc > 2;
    CHECK(week_s > 0);
    for (int i = 0; i < POWER_CUTS; i++) {
        cut_at_s[i] = (uint64_t)(i + 1) * (week_s / (POWER_CUTS + 1)) + random_below(3600);
    }
    rig_open(&rig);
    rig.on_publish = on_publish;
    em_device_set_connected(&rig.device, true);
    for (uint64_t second = 0; second < week_s + DAY_S; second++) {
        world_s = second;
        const bool quiet = second >= week_s; /* a day to deliver what is left */
        if (!quiet && second >= next_event_s) {
            const bool critical = random_below(2) == 0;
            rig_hear(&rig, critical ? RIG_SMOKE : RIG_KNOCK, EM_REPORT_ONCE, ++episode);
            next_event_s = second + 60 + random_below(300);
            em_device_tick(&rig.device);
            /* Accepted: on flash before the power could go. */
            critical_accepted[episode] = critical && !rig.flash.power_lost;
        }
        if (second >= next_network_s) {
            up = quiet || !up; /* on average as long down as up */
            em_device_set_connected(&rig.device, up);
            next_network_s = second + 60 + random_below(7200);
        }
        if (second >= next_gateway_s) {
            gateway.down = !quiet && !gateway.down;
            if (external && gateway.down) {
                printf("RESTART\t%" PRIu64 "\n", second);
            }
            next_gateway_s = second + 30 + random_below(gateway.down ? 600 : 10000);
        }
        if (n_cuts < POWER_CUTS && second == cut_at_s[n_cuts]) {
            n_cuts++;
            cut_power();
        }
        rig_run(&rig, 1000);
        const bool lost = random_below(10) == 0; /* the broker restarted with the answers in it */
        if (lost) {
            gateway.n_acks = 0;
        }
        if (published) {
            flush(!lost && !gateway.down && up && !rig.flash.power_lost);
        }
        if (!gateway.down && up) {
            deliver_acks();
        }
        if (rig.flash.power_lost) {
            high_water = rig.device.outbox.high_water > high_water ? rig.device.outbox.high_water
                                                                   : high_water;
            rig_boot(&rig);
            log_errors += rig.device.outbox.log_errors;
            em_device_set_connected(&rig.device, up);
        }
    }
    uint32_t n_critical = 0;
    for (uint32_t i = 1; i <= episode; i++) {
        CHECK(external || !critical_accepted[i] || critical_stored[i]);
        if (external && critical_accepted[i]) {
            printf("CRITICAL\t%" PRIu32 "\n", i);
        }
        n_critical += critical_accepted[i];
    }
    for (uint32_t b = 0; b < gateway.n_boots; b++) {
        for (uint32_t seq = 1; seq <= gateway.highest[b]; seq++) {
            CHECK(gateway.stored[b][seq]);
        }
    }
    CHECK_EQUAL(rig.device.outbox.length, 0);
    CHECK_EQUAL(rig.device.outbox.dropped + rig.device.outbox.dropped_critical, 0);
    CHECK_EQUAL(rig.flash.n_rule_violations, 0);
    CHECK_EQUAL(log_errors, 0);
    CHECK_EQUAL(n_cuts, POWER_CUTS);
    CHECK(external || gateway.n_duplicates > 0); /* the faults were real */
    printf("{\"events\":%" PRIu32 ",\"critical\":%" PRIu32 ",\"stored\":%" PRIu32
           ",\"duplicates\":%" PRIu32 ",\"boots\":%" PRIu32 ",\"erases\":%" PRIu32
           ",\"queue_high_water\":%" PRIu32 "}\n",
           episode, n_critical, gateway.n_stored, gateway.n_duplicates, gateway.n_boots,
           rig.flash.n_erases, high_water);
    rig_close(&rig);
    return 0;
}
