/* Ring of PCM between the capture task and the listener. One writer, one reader, no locks. Caller
 * places it in internal SRAM; it is the only place where more than one DMA block of audio exists.
 */
#ifndef EARMARK_PCM_RING_H
#define EARMARK_PCM_RING_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

enum {
    EM_PCM_RING_SAMPLES = 8192, /* a power of two; 0.51 s: an inference takes half of that */
    EM_PCM_RING_GAPS = 8
};

typedef struct {
    int16_t samples[EM_PCM_RING_SAMPLES];
    _Atomic uint32_t n_written, n_read; /* free running */
    struct {
        uint32_t at; /* n_written when samples were lost */
        uint32_t n_samples;
    } gaps[EM_PCM_RING_GAPS];
    _Atomic uint32_t n_gaps_put, n_gaps_taken;
    uint32_t lost_unreported;    /* writer only */
    _Atomic uint32_t n_overruns; /* blocks that did not fit */
    _Atomic uint32_t high_water; /* most samples waiting */
} em_pcm_ring_t;

void em_pcm_ring_init(em_pcm_ring_t *ring);

/* Writer. A block that does not fit is lost as a whole: counted, and its time is kept. */
void em_pcm_ring_write(em_pcm_ring_t *ring, const int16_t *pcm, uint32_t n_samples);
/* Writer: samples that the hardware lost before they got here. */
void em_pcm_ring_lost(em_pcm_ring_t *ring, uint32_t n_samples);

/* Reader. Returns samples read (0: none waiting). *n_gap > 0: so many samples are missing before
 * the returned ones; then tell the pipeline first. What was read is overwritten with zeros. */
uint32_t em_pcm_ring_read(em_pcm_ring_t *ring, int16_t *pcm, uint32_t n_samples, uint32_t *n_gap);

#endif
