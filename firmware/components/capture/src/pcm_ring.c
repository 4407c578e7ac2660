#include "earmark/pcm_ring.h"

#include <stdbool.h>
#include <string.h>

static uint32_t minimum(uint32_t a, uint32_t b) {
    return a < b ? a : b;
}

void em_pcm_ring_init(em_pcm_ring_t *ring) {
    memset(ring, 0, sizeof *ring);
}

/* The reader learns of a loss at the position where it happened. False: no record is free, and what
 * follows must not overtake the announcement. */
static bool record_loss(em_pcm_ring_t *ring) {
    const uint32_t put = atomic_load_explicit(&ring->n_gaps_put, memory_order_relaxed);
    const uint32_t taken = atomic_load_explicit(&ring->n_gaps_taken, memory_order_acquire);
    if (ring->lost_unreported == 0) {
        return true;
    }
    if (put - taken == EM_PCM_RING_GAPS) {
        return false;
    }
    ring->gaps[put % EM_PCM_RING_GAPS].at = atomic_load(&ring->n_written);
    ring->gaps[put % EM_PCM_RING_GAPS].n_samples = ring->lost_unreported;
    ring->lost_unreported = 0;
    atomic_store_explicit(&ring->n_gaps_put, put + 1, memory_order_release);
    return true;
}

void em_pcm_ring_lost(em_pcm_ring_t *ring, uint32_t n_samples) {
    ring->lost_unreported += n_samples;
    atomic_fetch_add(&ring->n_overruns, 1);
}

void em_pcm_ring_write(em_pcm_ring_t *ring, const int16_t *pcm, uint32_t n_samples) {
    const uint32_t written = atomic_load_explicit(&ring->n_written, memory_order_relaxed);
    const uint32_t waiting = written - atomic_load_explicit(&ring->n_read, memory_order_acquire);
    if (n_samples > EM_PCM_RING_SAMPLES - waiting || !record_loss(ring)) {
        em_pcm_ring_lost(ring, n_samples);
        return;
    }
    const uint32_t start = written % EM_PCM_RING_SAMPLES;
    const uint32_t head = minimum(n_samples, EM_PCM_RING_SAMPLES - start);
    memcpy(ring->samples + start, pcm, head * sizeof *pcm);
    memcpy(ring->samples, pcm + head, (n_samples - head) * sizeof *pcm);
    if (waiting + n_samples > atomic_load(&ring->high_water)) {
        atomic_store(&ring->high_water, waiting + n_samples);
    }
    atomic_store_explicit(&ring->n_written, written + n_samples, memory_order_release);
}

static void move_out(em_pcm_ring_t *ring, uint32_t start, int16_t *pcm, uint32_t n) {
    memcpy(pcm, ring->samples + start, n * sizeof *pcm);
    memset(ring->samples + start, 0, n * sizeof *pcm);
}

uint32_t em_pcm_ring_read(em_pcm_ring_t *ring, int16_t *pcm, uint32_t n_samples, uint32_t *n_gap) {
    const uint32_t read = atomic_load_explicit(&ring->n_read, memory_order_relaxed);
    uint32_t n =
        minimum(n_samples, atomic_load_explicit(&ring->n_written, memory_order_acquire) - read);
    *n_gap = 0;
    const uint32_t taken = atomic_load_explicit(&ring->n_gaps_taken, memory_order_relaxed);
    if (taken != atomic_load_explicit(&ring->n_gaps_put, memory_order_acquire)) {
        const uint32_t ahead = ring->gaps[taken % EM_PCM_RING_GAPS].at - read;
        if (ahead == 0) {
            *n_gap = ring->gaps[taken % EM_PCM_RING_GAPS].n_samples;
            atomic_store_explicit(&ring->n_gaps_taken, taken + 1, memory_order_release);
        } else {
            n = minimum(n, ahead);
        }
    }
    const uint32_t start = read % EM_PCM_RING_SAMPLES;
    const uint32_t head = minimum(n, EM_PCM_RING_SAMPLES - start);
    move_out(ring, start, pcm, head);
    move_out(ring, 0, pcm + head, n - head);
    atomic_store_explicit(&ring->n_read, read + n, memory_order_release);
    return n;
}
