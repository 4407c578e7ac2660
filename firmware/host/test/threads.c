/* The whole application core in its three tasks: capture, classify, device. Meant for the thread
 * sanitizer (tests/firmware/test_host_core.py).
 *
 * Usage: threads AUDIO.wav. The device side meets commands, network cuts, acknowledgements and a
 * stall in which three seconds of audio go by; what it reports must be, event by event, what one
 * task alone hears. Linked with --wrap for the allocator: after the start nobody may call it. */
#include "check.h"
#include "earmark/catalog.h"
#include "earmark/listener.h"
#include "earmark/pcm_ring.h"
#include "pcm_source.h"
#include "rig.h"

#include <inttypes.h>
#include <pthread.h>
#include <time.h>

extern const em_bundle_t em_bundle;
extern const em_frontend_tables_t em_frontend_tables;
extern const em_model_t em_model;

enum {
    BLOCK = 320,
    MAX_SAMPLES = 16000 * 60,
    MAX_EVENTS = 256,
    MAX_ACKS = 32,
    STALL_SAMPLES = 3 * 16000,
    STALL_AT_SAMPLES = 5 * 16000, /* in the middle of a sound */
    ROUNDS_PER_CUT = 37,
    ROUNDS_PER_COMMAND = 11,
    N_COMMANDS = 20, /* their answers share the egress budget with the events */
    PATIENCE_S = 120
};

typedef struct {
    char label[EM_LABEL_CHARS + 1];
    uint64_t at_ms;
    uint8_t phase;
} heard_t;

static int16_t pcm[MAX_SAMPLES];
static uint32_t n_pcm;
static em_pcm_ring_t ring;
static em_listener_t listener;
static rig_t rig;
static heard_t expected[MAX_EVENTS], told[MAX_EVENTS];
static uint32_t n_expected, n_told;
static uint32_t acks[MAX_ACKS];
static uint32_t n_acks;
static _Atomic uint32_t n_captured;
static _Atomic bool classified;
static _Atomic uint32_t n_gaps;
static _Atomic uint32_t n_allocations;

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t n, size_t bytes);
void *__real_aligned_alloc(size_t alignment, size_t bytes);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t n, size_t bytes);
void *__wrap_aligned_alloc(size_t alignment, size_t bytes);

void *__wrap_malloc(size_t bytes) {
    atomic_fetch_add(&n_allocations, 1);
    return __real_malloc(bytes);
}

void *__wrap_calloc(size_t n, size_t bytes) {
    atomic_fetch_add(&n_allocations, 1);
    return __real_calloc(n, bytes);
}

void *__wrap_aligned_alloc(size_t alignment, size_t bytes) {
    atomic_fetch_add(&n_allocations, 1);
    return __real_aligned_alloc(alignment, bytes);
}

static void nap(void) {
    const struct timespec a_little = {.tv_nsec = 100000};
    nanosleep(&a_little, NULL);
}

static void load(const char *path) {
    pcm_source_t source;
    const char *problem;
    size_t n;
    CHECK(pcm_source_open(&source, path, false, 0, &problem) == EM_OK);
    CHECK_EQUAL(source.sample_rate_hz, em_bundle.sample_rate_hz);
    const em_audio_source_t microphone = pcm_source_port(&source);
    while (n_pcm + BLOCK <= MAX_SAMPLES &&
           microphone.read(microphone.context, pcm + n_pcm, BLOCK, &n) == EM_OK) {
        n_pcm += (uint32_t)n;
    }
    pcm_source_close(&source);
}

static void *new_listener(em_handover_t *handover) {
    const size_t bytes = em_pipeline_needed_bytes(&em_bundle, &em_frontend_tables, &em_model);
    void *memory = aligned_alloc(16, (bytes + 15u) & ~(size_t)15u);
    CHECK(memory != NULL);
    CHECK(em_listener_init(&listener, &em_bundle, &em_frontend_tables, &em_model, memory, bytes,
                           handover) == EM_OK);
    return memory;
}

/* What one task alone hears. */
static void expect(void) {
    static em_handover_t handover;
    em_detection_t detection;
    em_handover_init(&handover);
    void *memory = new_listener(&handover);
    for (uint32_t at = 0; at + BLOCK <= n_pcm; at += BLOCK) {
        CHECK(em_listener_process(&listener, pcm + at, BLOCK) == EM_OK);
        while (em_handover_take(&handover, &detection)) {
            CHECK(n_expected < MAX_EVENTS);
            heard_t *heard = &expected[n_expected++];
            snprintf(heard->label, sizeof heard->label, "%s",
                     em_bundle.detector.labels[detection.label].name);
            heard->at_ms =
                detection.phase == EM_REPORT_START ? detection.onset_ms : detection.at_ms;
            heard->phase = detection.phase;
        }
    }
    free(memory);
}

static void *capture_task(void *argument) {
    (void)argument;
    for (uint32_t at = 0; at + BLOCK <= n_pcm; at += BLOCK) {
        while (atomic_load(&ring.n_written) - atomic_load(&ring.n_read) >
               EM_PCM_RING_SAMPLES - BLOCK) {
            nap();
        }
        em_pcm_ring_write(&ring, pcm + at, BLOCK);
        atomic_fetch_add(&n_captured, BLOCK);
    }
    return NULL;
}

static void *classify_task(void *argument) {
    int16_t block[BLOCK];
    (void)argument;
    for (uint32_t done = 0; done + BLOCK <= n_pcm;) {
        uint32_t n_gap;
        const uint32_t n = em_pcm_ring_read(&ring, block, BLOCK, &n_gap);
        if (n_gap > 0) {
            em_listener_gap(&listener, n_gap);
            atomic_fetch_add(&n_gaps, 1);
        }
        if (n == 0) {
            nap();
            continue;
        }
        listener.status.overruns = atomic_load(&ring.n_overruns);
        CHECK(em_listener_process(&listener, block, n) == EM_OK);
        done += n;
    }
    atomic_store(&classified, true);
    return NULL;
}

static uint64_t number_after(const char *text, const char *name) {
    uint64_t value = 0;
    const char *at = strstr(text, name);
    CHECK(at != NULL);
    CHECK(sscanf(at + strlen(name), "%" SCNu64, &value) == 1);
    return value;
}

static uint8_t phase_of(const char *payload) {
    static const char *const NAMES[] = {"\"none\"", "\"start\"", "\"update\"", "\"end\"",
                                        "\"once\""};
    for (uint8_t i = 1; i < 5; i++) {
        if (strstr(payload, NAMES[i]) != NULL) {
            return i;
        }
    }
    return 0;
}

static void on_publish(void *context, const em_message_t *message) {
    (void)context;
    if (strstr(message->topic, "/event") == NULL) {
        return;
    }
    const uint32_t seq = (uint32_t)number_after(message->payload, "\"seq\":");
    CHECK(seq >= 1 && seq <= MAX_EVENTS);
    heard_t *heard = &told[seq - 1];
    const char *label = strstr(message->payload, "\"event_type\":\"");
    CHECK(label != NULL);
    label += strlen("\"event_type\":\"");
    snprintf(heard->label, sizeof heard->label, "%.*s", (int)strcspn(label, "\""), label);
    heard->at_ms = number_after(message->payload, "\"up_ms\":");
    heard->phase = phase_of(message->payload);
    n_told = seq > n_told ? seq : n_told;
    if (n_acks < MAX_ACKS) {
        acks[n_acks++] = seq;
    }
}

static void deliver_acks(void) {
    char payload[96];
    for (uint32_t i = 0; i < n_acks; i++) {
        snprintf(payload, sizeof payload, "{\"boot\":\"%016" PRIx64 "\",\"seqs\":[%" PRIu32 "]}",
                 rig.device.outbox.boot, acks[i]);
        em_device_receive(&rig.device, "earmark/v1/4f0c9a1b22d3/ack", payload, strlen(payload));
    }
    n_acks = 0;
}

static void send_command(uint32_t number) {
    static const char *const NAMES[] = {"identify", "self_test", "set_threshold", "reboot"};
    const uint32_t which = number % 4;
    char payload[160];
    /* The threshold that it has already: the audio side takes it over, and hears the same. */
    snprintf(payload, sizeof payload, "{\"id\":\"c%" PRIu32 "\",\"exp\":%s%s}", number,
             "1895000000000", which == 2 ? ",\"label\":\"hum\",\"threshold\":0.8" : "");
    rig_command(&rig, NAMES[which], payload);
}

/* Nothing of the device side runs while three seconds of audio are captured and classified. */
static void stall(void) {
    const uint32_t until = atomic_load(&n_captured) + STALL_SAMPLES;
    while (atomic_load(&n_captured) < until && !atomic_load(&classified)) {
        nap();
    }
    CHECK(atomic_load(&n_captured) >= until);
}

static void device_task(void) {
    bool up = true, stalled = false, passed = false, asked = false;
    uint32_t n_self_tests = 0, n_commands = 0;
    const time_t deadline = time(NULL) + PATIENCE_S;
    for (uint32_t round = 1;
         !atomic_load(&classified) || rig.device.outbox.length > 0 || n_commands < N_COMMANDS;
         round++) {
        CHECK(time(NULL) < deadline);
        if (!stalled && atomic_load(&n_captured) >= STALL_AT_SAMPLES) {
            stalled = true;
            stall();
        }
        if (round % ROUNDS_PER_CUT == 0) {
            up = !up || atomic_load(&classified);
            em_device_set_connected(&rig.device, up);
        }
        if (round % ROUNDS_PER_COMMAND == 0 && n_commands < N_COMMANDS) {
            send_command(n_commands++);
        }
        if (!asked && !atomic_load(&classified)) {
            em_handover_ask_self_test(&rig.handover);
            asked = true;
        } else if (asked && em_handover_self_test_done(&rig.handover, &passed)) {
            CHECK(passed);
            n_self_tests++;
            asked = false;
        }
        rig_run(&rig, 100);
        if (up) {
            deliver_acks();
        }
        nap();
    }
    CHECK(stalled);
    CHECK(n_self_tests > 0);
}

int main(int argc, char **argv) {
    pthread_t capture, classify;
    CHECK_EQUAL(argc, 2);
    load(argv[1]);
    expect();
    rig_open(&rig);
    CHECK(em_catalog_from_bundle(&rig.catalog, &em_bundle) == EM_OK);
    rig_boot(&rig);
    rig.on_publish = on_publish;
    em_device_set_connected(&rig.device, true);
    em_pcm_ring_init(&ring);
    void *memory = new_listener(&rig.handover);
    const uint32_t allocated = atomic_load(&n_allocations);
    CHECK(allocated > 0); /* the count works */
    CHECK_EQUAL(pthread_create(&classify, NULL, classify_task, NULL), 0);
    CHECK_EQUAL(pthread_create(&capture, NULL, capture_task, NULL), 0);
    device_task();
    CHECK_EQUAL(pthread_join(capture, NULL), 0);
    CHECK_EQUAL(pthread_join(classify, NULL), 0);
    CHECK_EQUAL(atomic_load(&n_allocations), allocated);
    CHECK_EQUAL(ring.n_overruns + atomic_load(&n_gaps), 0);
    CHECK_EQUAL(em_handover_lost(&rig.handover), 0);
    CHECK(n_expected > 3);
    CHECK_EQUAL(n_told, n_expected);
    for (uint32_t i = 0; i < n_expected; i++) {
        CHECK_TEXT(told[i].label, expected[i].label);
        CHECK_EQUAL(told[i].phase, expected[i].phase);
        CHECK_EQUAL(told[i].at_ms, expected[i].at_ms);
    }
    CHECK(rig.n_identify > 0 && rig.n_self_test > 0 && rig.n_reboot > 0);
    printf("{\"events\":%" PRIu32 ",\"samples\":%" PRIu32 "}\n", n_told, n_pcm);
    free(memory);
    rig_close(&rig);
    return 0;
}
