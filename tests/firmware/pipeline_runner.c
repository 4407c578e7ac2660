/* Runs a bundle's pipeline over raw int16 PCM from standard input, in chunks of the given sizes.
 * Prints one line per inference (its scores) and per event; used by test_pipeline.py. */
#include "earmark/pipeline.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern const em_bundle_t em_bundle;
extern const em_frontend_tables_t em_frontend_tables;
extern const em_model_t em_model;

static void drain(em_pipeline_t *pipeline, uint32_t *inferences) {
    if (em_pipeline_inferences(pipeline) != *inferences) {
        *inferences = em_pipeline_inferences(pipeline);
        printf("scores %" PRIu64, em_pipeline_now_us(pipeline));
        for (uint32_t i = 0u; i < em_bundle.detector.n_scores; ++i) {
            printf(" %d", em_pipeline_scores(pipeline)[i]);
        }
        printf("\n");
    }
    em_event_t e;
    while (em_pipeline_pop(pipeline, &e) != 0) {
        printf("event %s %u %" PRIu64 " %" PRIu64 " %" PRIu32 " %u %u %" PRIu32 "\n",
               em_bundle.detector.labels[e.label].name, e.phase, e.at_us, e.onset_us, e.dur_ms,
               e.conf_permille, e.thr_permille, e.id);
    }
}

/* Each way in which parts can fail to belong together must be refused. */
static int refusals(void *memory, size_t bytes) {
    em_pipeline_t *pipeline;
    em_bundle_t wrong[5];
    for (int i = 0; i < 5; ++i) {
        wrong[i] = em_bundle;
    }
    wrong[0].frontend_hash = "0123456789abcdef";
    wrong[1].hop_frames = (uint16_t)(em_bundle.context_frames + 1u);
    wrong[2].sample_rate_hz = 8000u;
    wrong[3].detector.inference_period_us += 1u;
    wrong[4].n_features = (uint16_t)(em_bundle.n_features - 1u);
    for (int i = 0; i < 5; ++i) {
        if (em_pipeline_init(&pipeline, &wrong[i], &em_frontend_tables, &em_model, memory, bytes) !=
            EM_ERR_MISMATCH) {
            return 10 + i;
        }
    }
    em_model_t other = em_model;
    em_tensor_t input = em_model.inputs[0];
    input.zero_point += 1;
    other.inputs = &input;
    if (em_pipeline_init(&pipeline, &em_bundle, &em_frontend_tables, &other, memory, bytes) !=
        EM_ERR_MISMATCH) {
        return 20;
    }
    if (em_pipeline_init(&pipeline, &em_bundle, &em_frontend_tables, &em_model, memory,
                         bytes - 1u) != EM_ERR_SIZE) {
        return 21;
    }
    return em_pipeline_init(NULL, &em_bundle, &em_frontend_tables, &em_model, memory, bytes) ==
                   EM_ERR_ARGUMENT
               ? 0
               : 22;
}

int main(int argc, char **argv) {
    const size_t chunk = argc > 1 ? strtoul(argv[1], NULL, 10) : 320u;
    const uint64_t gap_at = argc > 2 ? strtoul(argv[2], NULL, 10) : UINT64_MAX;
    const uint64_t gap = argc > 3 ? strtoul(argv[3], NULL, 10) : 0u;
    const size_t needed = em_pipeline_needed_bytes(&em_bundle, &em_frontend_tables, &em_model);
    void *memory = aligned_alloc(16, (needed + 15u) & ~(size_t)15u);
    int16_t *pcm = malloc(chunk * sizeof *pcm);
    em_pipeline_t *pipeline;
    int failed = refusals(memory, needed);
    if (failed == 0 && (em_pipeline_init(&pipeline, &em_bundle, &em_frontend_tables, &em_model,
                                         memory, needed) != EM_OK ||
                        em_pipeline_self_test(pipeline) != EM_OK)) {
        failed = 1;
    }
    if (failed != 0) {
        fprintf(stderr, "failed %d\n", failed);
        return failed;
    }
    printf("needed_bytes %zu\n", needed);
    uint32_t inferences = 0u;
    size_t n;
    while ((n = fread(pcm, sizeof *pcm, chunk, stdin)) > 0u) {
        if (em_pipeline_now_us(pipeline) / 1000u == gap_at) {
            em_pipeline_gap(pipeline, gap);
        }
        if (em_pipeline_process(pipeline, pcm, n) != EM_OK) {
            return 2;
        }
        drain(pipeline, &inferences);
    }
    em_pipeline_clear(pipeline);
    drain(pipeline, &inferences);
    /* After mute nothing of the sound may be left: the newest scores are those of silence. */
    for (uint32_t i = 0u; i < em_bundle.detector.n_scores; ++i) {
        failed |= em_pipeline_scores(pipeline)[i] != INT8_MIN ? 3 : 0;
    }
    free(pcm);
    free(memory);
    return failed;
}
