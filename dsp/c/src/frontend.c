/* Framing and state; the arithmetic is in the stages. */
#include "earmark/frontend.h"

#include "stages.h"

#include <string.h>

/* Where the frame starts in `pcm`: after the sample before it, and aligned for word-wise copies. */
#define FRAME 2U

/* One allocation: this header, then the buffers below in order of falling alignment. */
struct em_frontend {
    const em_frontend_tables_t *tables;
    uint64_t *band;     /* [n_mels] */
    uint64_t *smoothed; /* [n_mels], PCEN only */
    int32_t *re, *im;   /* [fft_length / 2 + 1] each; later power */
    int16_t *pcm;       /* FRAME elements, the frame, zeros up to fft_length */
    int16_t *row_q8;    /* [n_features] */
    uint16_t filled;    /* samples of the frame so far */
    uint8_t smoothing;  /* 0 until the first row has set `smoothed` */
};

static size_t header_bytes(void) {
    return (sizeof(em_frontend_t) + 7U) & ~(size_t)7U;
}

static size_t smoothed_length(const em_frontend_tables_t *t) {
    return t->compression == EM_COMPRESSION_PCEN ? t->n_mels : 0;
}

size_t em_frontend_needed_bytes(const em_frontend_tables_t *tables) {
    if (tables == NULL) {
        return 0;
    }
    return header_bytes() + (tables->n_mels + smoothed_length(tables)) * sizeof(uint64_t) +
           (tables->fft_length + 2U) * sizeof(int32_t) +
           (tables->n_features + FRAME + tables->fft_length) * sizeof(int16_t);
}

em_status_t em_frontend_init(em_frontend_t **fe, const em_frontend_tables_t *tables, void *memory,
                             size_t bytes) {
    if (fe == NULL || tables == NULL || memory == NULL) {
        return EM_ERR_ARGUMENT;
    }
    if (bytes < em_frontend_needed_bytes(tables) || ((uintptr_t)memory & 7U) != 0) {
        return EM_ERR_SIZE;
    }
    em_frontend_t *self = memory;
    self->tables = tables;
    self->band = (uint64_t *)(void *)((uint8_t *)memory + header_bytes());
    self->smoothed = self->band + tables->n_mels;
    self->re = (int32_t *)(self->smoothed + smoothed_length(tables));
    self->im = self->re + tables->fft_length / 2U + 1U;
    self->pcm = (int16_t *)(self->im + tables->fft_length / 2U + 1U);
    self->row_q8 = self->pcm + FRAME + tables->fft_length;
    memset(self->row_q8, 0, tables->n_features * sizeof(int16_t));
    em_frontend_reset(self);
    *fe = self;
    return EM_OK;
}

void em_frontend_reset(em_frontend_t *fe) {
    if (fe == NULL) {
        return;
    }
    fe->filled = 0;
    fe->smoothing = 0;
    memset(fe->pcm, 0, (FRAME + fe->tables->fft_length) * sizeof(int16_t));
}

static void compute_row(em_frontend_t *fe) {
    const em_frontend_tables_t *tables = fe->tables;
    em_window_first_stage(tables, fe->pcm + FRAME, fe->re, fe->im);
    em_fft(tables, fe->re, fe->im);
    em_power(tables, fe->re, fe->im);
    if (tables->spectrum == EM_SPECTRUM_MAGNITUDE) {
        em_magnitude(tables, fe->re, fe->im);
    }
    em_mel(tables, fe->re, fe->im, fe->band);
    if (tables->compression == EM_COMPRESSION_LOG) {
        em_log(tables, fe->band, fe->re, fe->row_q8); /* re is free by now */
        return;
    }
    if (!fe->smoothing) {
        /* Start as if the first frame had always been heard: no transient at start-up. */
        memcpy(fe->smoothed, fe->band, tables->n_mels * sizeof(uint64_t));
        fe->smoothing = 1;
    }
    em_pcen(tables, fe->band, fe->smoothed, fe->row_q8);
}

em_status_t em_frontend_process(em_frontend_t *fe, const int16_t *pcm, size_t n_samples,
                                size_t *consumed, int8_t *row, int *row_ready) {
    if (fe == NULL || (pcm == NULL && n_samples != 0) || consumed == NULL || row == NULL ||
        row_ready == NULL) {
        return EM_ERR_ARGUMENT;
    }
    const em_frontend_tables_t *tables = fe->tables;
    const size_t missing = (size_t)tables->window_length - fe->filled;
    const size_t taken = n_samples < missing ? n_samples : missing;
    if (taken != 0) {
        memcpy(fe->pcm + FRAME + fe->filled, pcm, taken * sizeof(int16_t));
    }
    fe->filled = (uint16_t)(fe->filled + taken);
    *consumed = taken;
    *row_ready = fe->filled == tables->window_length;
    if (!*row_ready) {
        return EM_OK;
    }
    compute_row(fe);
    for (size_t j = 0; j < tables->n_features; j++) {
        const int32_t rounded = (fe->row_q8[j] + 128) >> 8;
        row[j] = (int8_t)(rounded > INT8_MAX ? INT8_MAX : rounded);
    }
    const size_t kept = (size_t)tables->window_length - tables->hop_length;
    int16_t *frame = fe->pcm + FRAME;
    frame[-1] = frame[tables->hop_length - 1U];
    memmove(frame, frame + tables->hop_length, kept * sizeof(int16_t));
    fe->filled = (uint16_t)kept;
    return EM_OK;
}

const int16_t *em_frontend_last_row_q8(const em_frontend_t *fe) {
    return fe == NULL ? NULL : fe->row_q8;
}
