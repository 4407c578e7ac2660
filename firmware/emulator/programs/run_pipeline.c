/* Runs the whole audio path of a bundle on pcm.bin (int16) in blocks of 20 ms, as the device's
 * classify task does. Writes hops.bin (u32 instructions of each hop: rows, inference, detector),
 * events.bin (em_event_t's label index, u8 each) and memory.bin (u32 bytes of the pipeline).
 * Exit status: the em_status_t, or 20 when there are more hops or events than fit. */
#include "earmark/pipeline.h"
#include "emulator.h"

enum { ALIGNMENT = 16, MAX_PCM_BYTES = 1 << 22, MAX_HOPS = 256, MAX_EVENTS = 256, TOO_MANY = 20 };

extern const em_bundle_t em_bundle;
extern const em_frontend_tables_t em_frontend_tables;
extern const em_model_t em_model;
extern uint8_t em_free_memory[]; /* sim.ld */

static uint32_t hops[MAX_HOPS];
static uint8_t events[MAX_EVENTS];

static uint8_t *align(uint8_t *p) {
    return p + (0u - (uintptr_t)p) % ALIGNMENT;
}

static uint32_t take_events(em_pipeline_t *pipeline, uint32_t n_events) {
    em_event_t event;
    while (em_pipeline_pop(pipeline, &event)) {
        if (n_events < MAX_EVENTS) {
            events[n_events] = (uint8_t)event.label;
        }
        n_events++;
    }
    return n_events;
}

int main(void) {
    const uint32_t bytes =
        (uint32_t)em_pipeline_needed_bytes(&em_bundle, &em_frontend_tables, &em_model);
    uint8_t *const memory = align(em_free_memory);
    int16_t *const pcm = (int16_t *)align(memory + bytes);
    const uint32_t n_samples = (uint32_t)emulator_read("pcm.bin", pcm, MAX_PCM_BYTES) / 2u;
    const uint32_t block = em_bundle.sample_rate_hz / 50u;
    em_pipeline_t *pipeline;
    uint32_t n_hops = 0, n_events = 0, inferences = 0;
    em_status_t status =
        em_pipeline_init(&pipeline, &em_bundle, &em_frontend_tables, &em_model, memory, bytes);
    uint64_t start = emulator_instructions();
    for (uint32_t at = 0; status == EM_OK && at + block <= n_samples; at += block) {
        status = em_pipeline_process(pipeline, pcm + at, block);
        n_events = take_events(pipeline, n_events);
        if (em_pipeline_inferences(pipeline) != inferences) {
            const uint64_t now = emulator_instructions();
            inferences++;
            if (n_hops < MAX_HOPS) {
                hops[n_hops] = (uint32_t)(now - start);
            }
            n_hops++;
            start = now;
        }
    }
    if (n_hops > MAX_HOPS || n_events > MAX_EVENTS) {
        return TOO_MANY;
    }
    emulator_write("hops.bin", hops, n_hops * (uint32_t)sizeof hops[0]);
    emulator_write("events.bin", events, n_events);
    emulator_write("memory.bin", &bytes, sizeof bytes);
    return (int)status;
}
