/* Ring, handover and microphone monitor: what stands between the audio and the rest. */
#include "check.h"
#include "earmark/handover.h"
#include "earmark/mic_monitor.h"
#include "earmark/pcm_ring.h"

#include <pthread.h>

enum { RATE_HZ = 16000, BLOCK = 320 };

static em_pcm_ring_t ring;
static em_handover_t handover;
static em_mic_monitor_t mic;

static void fill(int16_t *pcm, uint32_t n, uint32_t first) {
    for (uint32_t i = 0; i < n; i++) {
        pcm[i] = (int16_t)(first + i);
    }
}

static void test_ring_keeps_order_and_forgets_what_was_read(void) {
    int16_t in[1000], out[1000];
    uint32_t gap, written = 0, read = 0;
    em_pcm_ring_init(&ring);
    for (uint32_t round = 0; round < 200; round++) {
        const uint32_t n = 1 + round * 37 % 1000;
        fill(in, n, written);
        em_pcm_ring_write(&ring, in, n);
        written += n;
        uint32_t got;
        while ((got = em_pcm_ring_read(&ring, out, 1 + round % 333, &gap)) > 0) {
            CHECK_EQUAL(gap, 0);
            for (uint32_t i = 0; i < got; i++) {
                CHECK_EQUAL(out[i], (int16_t)(read + i));
            }
            read += got;
        }
    }
    CHECK_EQUAL(read, written);
    for (uint32_t i = 0; i < EM_PCM_RING_SAMPLES; i++) {
        CHECK_EQUAL(ring.samples[i], 0); /* no audio stays behind */
    }
    CHECK_EQUAL(ring.n_overruns, 0);
}

/* Every sample is either delivered or announced as missing at its place. */
static void test_an_overrun_is_counted_and_time_goes_on(void) {
    int16_t in[BLOCK], out[BLOCK];
    uint32_t gap, position = 0, n_lost = 0;
    const uint32_t n_blocks = 64 * 6;
    em_pcm_ring_init(&ring);
    for (uint32_t block = 0; block < n_blocks; block++) {
        fill(in, BLOCK, block * BLOCK);
        em_pcm_ring_write(&ring, in, BLOCK);
        if (block % 64 == 63) { /* the reader was away */
            for (int i = 0; i < 20; i++) {
                const uint32_t n = em_pcm_ring_read(&ring, out, BLOCK, &gap);
                position += gap;
                n_lost += gap;
                for (uint32_t k = 0; k < n; k++) {
                    CHECK_EQUAL(out[k], (int16_t)(position + k));
                }
                position += n;
            }
        }
    }
    CHECK(ring.n_overruns > 0);
    CHECK(n_lost > 0);
    em_pcm_ring_lost(&ring, 77);
    CHECK_EQUAL(ring.lost_unreported % BLOCK, 77);
    CHECK_EQUAL(ring.high_water, EM_PCM_RING_SAMPLES / BLOCK * BLOCK);
}

static void test_nothing_overtakes_the_announcement_of_a_gap(void) {
    int16_t in[BLOCK] = {0}, out[BLOCK];
    uint32_t accounted = 0, gap, n;
    em_pcm_ring_init(&ring);
    for (uint32_t i = 0; i < 2 * EM_PCM_RING_GAPS; i++) { /* more gaps than records for them */
        em_pcm_ring_lost(&ring, 10);
        em_pcm_ring_write(&ring, in, BLOCK);
    }
    for (int round = 0; round < 2; round++) {
        while ((n = em_pcm_ring_read(&ring, out, BLOCK, &gap)) > 0) {
            accounted += n + gap;
        }
        em_pcm_ring_write(&ring, in, BLOCK);
    }
    CHECK_EQUAL(accounted, 2 * EM_PCM_RING_GAPS * (10 + BLOCK) + BLOCK);
}

static void *write_ring(void *argument) {
    int16_t pcm[BLOCK];
    (void)argument;
    for (uint32_t block = 0; block < 5000; block++) {
        fill(pcm, BLOCK, block * BLOCK);
        em_pcm_ring_write(&ring, pcm, BLOCK);
    }
    return NULL;
}

static void test_ring_between_two_threads(void) {
    pthread_t writer;
    uint32_t position = 0, gap;
    int16_t out[BLOCK];
    em_pcm_ring_init(&ring);
    CHECK_EQUAL(pthread_create(&writer, NULL, write_ring, NULL), 0);
    for (uint32_t round = 0; round < 200000 && position < 5000 * BLOCK; round++) {
        const uint32_t n = em_pcm_ring_read(&ring, out, BLOCK, &gap);
        position += gap;
        for (uint32_t i = 0; i < n; i++) {
            CHECK_EQUAL(out[i], (int16_t)(position + i));
        }
        position += n;
    }
    CHECK_EQUAL(pthread_join(writer, NULL), 0);
}

static void *put_detections(void *argument) {
    (void)argument;
    for (uint32_t i = 0; i < 20000;) {
        const em_detection_t detection = {.episode = i, .at_ms = i, .dur_ms = i};
        i += em_handover_put(&handover, &detection);
    }
    return NULL;
}

static void test_handover_between_two_threads(void) {
    pthread_t writer;
    em_detection_t detection;
    em_handover_init(&handover);
    CHECK_EQUAL(pthread_create(&writer, NULL, put_detections, NULL), 0);
    for (uint32_t next = 0; next < 20000;) {
        if (em_handover_take(&handover, &detection)) {
            CHECK_EQUAL(detection.episode, next);
            CHECK_EQUAL(detection.dur_ms, next);
            next++;
        }
    }
    CHECK_EQUAL(pthread_join(writer, NULL), 0);
}

static void test_a_full_handover_counts(void) {
    const em_detection_t detection = {.episode = 1};
    bool passed;
    em_handover_init(&handover);
    for (int i = 0; i < EM_HANDOVER_DETECTIONS; i++) {
        CHECK(em_handover_put(&handover, &detection));
    }
    CHECK(!em_handover_put(&handover, &detection));
    CHECK_EQUAL(em_handover_lost(&handover), 1);
    em_handover_ask_self_test(&handover);
    CHECK(!em_handover_self_test_done(&handover, &passed));
    em_handover_self_test_finish(&handover, true);
    CHECK(em_handover_self_test_done(&handover, &passed) && passed);
}

/* A minute of a signal: every sample `offset` plus a square wave of that amplitude. */
static uint32_t judge(int16_t offset, int16_t amplitude, int period) {
    int16_t pcm[BLOCK];
    em_mic_monitor_init(&mic, RATE_HZ);
    for (int block = 0; block < 61 * RATE_HZ / BLOCK; block++) {
        for (int i = 0; i < BLOCK; i++) {
            const int sign = (block * BLOCK + i) / period % 2 ? 1 : -1;
            pcm[i] = (int16_t)(offset + sign * amplitude);
        }
        (void)em_mic_monitor_process(&mic, pcm, BLOCK);
    }
    CHECK(mic.heard);
    return mic.flags;
}

static void test_microphone_faults(void) {
    CHECK_EQUAL(judge(0, 0, 8), EM_MIC_SILENT);
    CHECK_EQUAL(judge(1234, 0, 8), EM_MIC_DC);
    CHECK_EQUAL(judge(-20000, 100, 8), EM_MIC_DC);
    CHECK_EQUAL(judge(0, 32765, 8), EM_MIC_CLIPPING);
    CHECK_EQUAL(judge(0, 100, 8), 0);
    CHECK_EQUAL(em_mic_monitor_noise_dbfs(&mic), -51); /* 20 log10(100 / 32768) = -50.3 */
    /* One bit that flips ten times a second is not the noise of a microphone. */
    int16_t pcm[RATE_HZ] = {0};
    em_mic_monitor_init(&mic, RATE_HZ);
    for (int i = 0; i < 10; i++) {
        pcm[i * 1600] = 1;
    }
    CHECK(em_mic_monitor_process(&mic, pcm, RATE_HZ));
    CHECK_EQUAL(mic.flags, EM_MIC_NO_FLOOR);
}

int main(void) {
    test_ring_keeps_order_and_forgets_what_was_read();
    test_an_overrun_is_counted_and_time_goes_on();
    test_nothing_overtakes_the_announcement_of_a_gap();
    test_ring_between_two_threads();
    test_handover_between_two_threads();
    test_a_full_handover_counts();
    test_microphone_faults();
    return 0;
}
