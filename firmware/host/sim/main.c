/* earmark-sim: the device's own core with a file as microphone and a line protocol as network. */
#include "earmark/catalog.h"
#include "earmark/device.h"
#include "earmark/golden_features.h"
#include "earmark/listener.h"
#include "host_flash.h"
#include "host_kv.h"
#include "link.h"
#include "options.h"
#include "pcm_source.h"
#include "state_file.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

extern const em_bundle_t em_bundle;
extern const em_frontend_tables_t em_frontend_tables;
extern const em_golden_features_t em_golden_features;
extern const em_model_t em_model;

enum {
    CHUNK_MS = 100,
    CHUNK_MAX_SAMPLES = 4800,
    EVENT_LOG_SECTORS = 16,
    FIRST_CONNECTION_MS = 15000,
    EXIT_UNDELIVERED = 3
};

typedef struct {
    options_t options;
    uint64_t virtual_ms; /* audio time, and what passes after its end */
    uint64_t random_state;
    bool rebooting;
    host_flash_t flash;
    em_flash_t flash_port;
    host_kv_t kv;
    sim_link_t link;
    em_handover_t handover;
    em_catalog_t catalog;
    em_device_t device;
    em_listener_t listener;
} sim_t;

static uint64_t real_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_nsec / 1000000u;
}

static uint64_t real_us(void *context) {
    (void)context;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
}

static uint64_t up_ms(void *context) {
    return ((const sim_t *)context)->virtual_ms;
}

static bool wall_ms(void *context, int64_t *unix_ms, uint64_t *set_age_ms) {
    const sim_t *sim = context;
    *unix_ms = sim->options.start_unix_ms + (int64_t)sim->virtual_ms;
    *set_age_ms = 0;
    return !sim->options.no_clock;
}

/* splitmix64 (Steele, Lea, Flood 2014): good enough for ids of a simulation. */
static void fill_random(void *context, void *bytes, size_t n_bytes) {
    sim_t *sim = context;
    uint8_t *out = bytes;
    for (size_t i = 0; i < n_bytes; i++) {
        uint64_t z = sim->random_state += 0x9e3779b97f4a7c15u;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        out[i] = (uint8_t)(z >> 56);
    }
}

static const char *identify(void *context) {
    (void)context;
    fputs("identify: the LED would blink now\n", stderr);
    return NULL;
}

static const char *self_test(void *context) {
    sim_t *sim = context;
    return em_pipeline_self_test(sim->listener.pipeline) == EM_OK ? NULL : "golden_mismatch";
}

static const char *reboot(void *context) {
    ((sim_t *)context)->rebooting = true;
    return NULL;
}

static const char *update(void *context, em_update_kind_t kind, const char *version) {
    (void)context, (void)version;
    return kind == EM_UPDATE_MODEL ? "model_compiled_in" : "not_in_simulator";
}

static void state_changed(void *context, em_device_state_t from, em_device_state_t to) {
    if (((const sim_t *)context)->options.verbose) {
        fprintf(stderr, "state: %s -> %s\n", em_device_state_name(from), em_device_state_name(to));
    }
}

static void fill_health(void *context, em_health_report_t *health) {
    (void)context;
    (void)health; /* heap, stack and radio are the chip's */
}

static void on_state(void *receiver, bool up) {
    em_device_set_connected(&((sim_t *)receiver)->device, up);
}

static void on_message(void *receiver, const char *topic, const char *payload, size_t bytes) {
    em_device_receive(&((sim_t *)receiver)->device, topic, payload, bytes);
}

static em_status_t start(sim_t *sim) {
    sim->random_state = sim->options.seed;
    em_handover_init(&sim->handover);
    host_kv_open(&sim->kv);
    em_status_t status = host_flash_open(&sim->flash, EVENT_LOG_SECTORS);
    if (status != EM_OK) {
        return status;
    }
    if (sim->options.state_path != NULL) {
        state_file_load(sim->options.state_path, &sim->flash, &sim->kv);
    }
    sim->flash_port = host_flash_port(&sim->flash);
    sim_link_open(&sim->link, sim->options.loopback ? -1 : sim->options.link_fd);
    sim->link.receiver = sim;
    sim->link.on_state = on_state;
    sim->link.on_message = on_message;
    const size_t bytes = em_pipeline_needed_bytes(&em_bundle, &em_frontend_tables, &em_model);
    void *memory = aligned_alloc(16, (bytes + 15u) & ~(size_t)15u);
    if (memory == NULL) {
        return EM_ERR_SIZE;
    }
    const bool features_ok =
        em_golden_features_check(&em_golden_features, &em_frontend_tables, memory, bytes) == EM_OK;
    status = em_listener_init(&sim->listener, &em_bundle, &em_frontend_tables, &em_model, memory,
                              bytes, &sim->handover);
    if (status != EM_OK) {
        free(memory);
        return status;
    }
    sim->listener.now_us = real_us;
    status = em_catalog_from_bundle(&sim->catalog, &em_bundle);
    const em_device_config_t config = {
        .device_id = sim->options.device_id,
        .firmware = EARMARK_VERSION "-sim",
        .catalog = &sim->catalog,
        .clock = {.context = sim, .up_ms = up_ms, .wall_ms = wall_ms},
        .kv = host_kv_port(&sim->kv),
        .event_log = &sim->flash_port,
        .network = sim_link_port(&sim->link),
        .random = {.context = sim, .fill = fill_random},
        .platform = {.context = sim,
                     .identify = identify,
                     .self_test = self_test,
                     .reboot = reboot,
                     .update = update,
                     .state_changed = state_changed,
                     .fill_health = fill_health},
        .handover = &sim->handover,
        .provisioned = true,
    };
    em_device_init(&sim->device, &config);
    em_device_set_self_test(&sim->device, features_ok && self_test(sim) == NULL);
    return status;
}

static bool waiting_for_ack(const sim_t *sim) {
    return em_outbox_in_flight(&sim->device.outbox) > 0;
}

/* Audio time stands still while an acknowledgement is on its way: otherwise minutes of audio would
 * pass in the milliseconds that a broker needs. */
static bool await_acks(sim_t *sim) {
    const uint64_t deadline = real_ms() + sim->options.ack_wait_ms;
    while (waiting_for_ack(sim) && !sim->link.closed && sim->link.up && real_ms() < deadline) {
        sim_link_poll(&sim->link, 50);
        em_device_tick(&sim->device);
    }
    return !waiting_for_ack(sim);
}

static void connect_first(sim_t *sim) {
    const em_message_t will = em_uplink_will(&sim->device.uplink);
    const uint64_t deadline = real_ms() + FIRST_CONNECTION_MS;
    sim_link_send_will(&will);
    while (!sim->link.up && !sim->link.closed && real_ms() < deadline) {
        sim_link_poll(&sim->link, 50);
    }
}

static em_status_t listen(sim_t *sim, const em_audio_source_t *microphone, uint64_t *n_samples) {
    int16_t pcm[CHUNK_MAX_SAMPLES];
    const uint32_t rate = em_bundle.sample_rate_hz;
    const size_t chunk = rate * CHUNK_MS / 1000u;
    const uint64_t began_ms = real_ms();
    bool patient = true;
    size_t n;
    while (!sim->rebooting && microphone->read(microphone->context, pcm, chunk, &n) == EM_OK) {
        *n_samples += n;
        sim->virtual_ms = *n_samples * 1000u / rate;
        const em_status_t status = em_listener_process(&sim->listener, pcm, n);
        if (status != EM_OK) {
            return status;
        }
        em_device_tick(&sim->device);
        const uint64_t due_ms = began_ms + sim->virtual_ms;
        const uint64_t now = real_ms();
        const bool early = sim->options.realtime && due_ms > now;
        if (sim_link_poll(&sim->link, early ? (int)(due_ms - now) : 0) > 0) {
            patient = true;
            em_device_tick(&sim->device);
        }
        if (!sim->options.realtime && patient && waiting_for_ack(sim)) {
            patient = await_acks(sim);
        }
        while (sim->options.realtime && !sim->link.closed && real_ms() < due_ms) {
            sim_link_poll(&sim->link, (int)(due_ms - real_ms()));
        }
    }
    return EM_OK;
}

/* After the audio: until the outbox is empty. Time that only waits for the egress budget is skipped
 * unless --realtime. */
static void drain(sim_t *sim) {
    const uint64_t deadline = real_ms() + sim->options.drain_ms;
    while (sim->device.outbox.length > 0 && !sim->link.closed && real_ms() < deadline) {
        const bool skip = sim->link.up && !sim->options.realtime && !waiting_for_ack(sim);
        const uint64_t before = real_ms();
        sim_link_poll(&sim->link, skip ? 0 : 50);
        sim->virtual_ms += skip ? CHUNK_MS : real_ms() - before;
        em_device_tick(&sim->device);
    }
}

int main(int argc, char **argv) {
    static sim_t sim;
    pcm_source_t source;
    const char *problem;
    if (!options_parse(&sim.options, argc, argv)) {
        fputs(OPTIONS_USAGE, stderr);
        return 1;
    }
    if (pcm_source_open(&source, sim.options.audio_path, sim.options.raw, em_bundle.sample_rate_hz,
                        &problem) != EM_OK) {
        fprintf(stderr, "error: %s: %s\n", sim.options.audio_path, problem);
        return 1;
    }
    if (source.sample_rate_hz != em_bundle.sample_rate_hz) {
        fprintf(stderr, "error: %s: %" PRIu32 " Hz, the model needs %" PRIu32 " Hz; resample it\n",
                sim.options.audio_path, source.sample_rate_hz, em_bundle.sample_rate_hz);
        return 1;
    }
    em_status_t status = start(&sim);
    if (status != EM_OK) {
        fprintf(stderr, "error: the bundle does not fit this simulator (status %d)\n", status);
        return 1;
    }
    connect_first(&sim);
    const em_audio_source_t microphone = pcm_source_port(&source);
    uint64_t n_samples = 0;
    em_device_tick(&sim.device);
    status = listen(&sim, &microphone, &n_samples);
    drain(&sim);
    (void)em_uplink_stop(&sim.device.uplink);
    if (sim.options.state_path != NULL) {
        state_file_save(sim.options.state_path, &sim.flash, &sim.kv);
    }
    fprintf(stderr,
            "{\"audio_s\":%.3f,\"events\":%" PRIu32 ",\"undelivered\":%" PRIu32
            ",\"dropped\":%" PRIu32 ",\"published\":%" PRIu32 ",\"inferences\":%" PRIu32
            ",\"pipeline_bytes\":%zu,\"rebooting\":%s}\n",
            (double)n_samples / em_bundle.sample_rate_hz, sim.device.outbox.next_seq - 1,
            sim.device.outbox.length, sim.device.outbox.dropped, sim.link.n_published,
            em_pipeline_inferences(sim.listener.pipeline),
            em_pipeline_needed_bytes(&em_bundle, &em_frontend_tables, &em_model),
            sim.rebooting ? "true" : "false");
    pcm_source_close(&source);
    free(sim.listener.pipeline);
    host_flash_close(&sim.flash);
    if (status != EM_OK) {
        fprintf(stderr, "error: inference failed (status %d)\n", status);
        return 1;
    }
    return sim.device.outbox.length == 0 ? 0 : EXIT_UNDELIVERED;
}
