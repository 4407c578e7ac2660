/* For the emulator (firmware/emulator): rows of a PCM file, and instructions per frame by stage.
 *
 * Reads pcm.raw; writes rows.raw, per row n_features int8 and then n_features int16 values.
 * Regions: "frame" is all of em_frontend_process per row, the others are its stages on the last
 * frame. */
#include "earmark/frontend.h"
#include "emulator.h"
#include "frontend_tables.h"
#include "stages.h"

enum { MAX_SAMPLES = 1 << 20, MAX_ROW_BYTES = 1 << 22, MAX_FFT = 2048, MAX_MELS = 512 };

static uint64_t memory[32 * 1024 / 8];
static int16_t pcm[MAX_SAMPLES];
static uint8_t rows[MAX_ROW_BYTES];
static int32_t re[MAX_FFT / 2 + 1];
static int32_t im[MAX_FFT / 2 + 1];
static uint64_t band[MAX_MELS];
static uint64_t smoothed[MAX_MELS];
static int16_t row_q8[MAX_MELS];
static int8_t row[MAX_MELS];

static void count_stages(const em_frontend_tables_t *tables, const int16_t *frame) {
    emulator_region_begin("window_first_stage");
    em_window_first_stage(tables, frame, re, im);
    emulator_region_end();
    emulator_region_begin("fft");
    em_fft(tables, re, im);
    emulator_region_end();
    emulator_region_begin("power");
    em_power(tables, re, im);
    emulator_region_end();
    if (tables->spectrum == EM_SPECTRUM_MAGNITUDE) {
        emulator_region_begin("magnitude");
        em_magnitude(tables, re, im);
        emulator_region_end();
    }
    emulator_region_begin("mel");
    em_mel(tables, re, im, band);
    emulator_region_end();
    emulator_region_begin("compression");
    if (tables->compression == EM_COMPRESSION_PCEN) {
        em_pcen(tables, band, smoothed, row_q8);
    } else {
        em_log(tables, band, re, row_q8);
    }
    emulator_region_end();
}

int main(void) {
    const em_frontend_tables_t *tables = &em_frontend_tables;
    const int32_t bytes = emulator_read("pcm.raw", pcm, sizeof pcm);
    em_frontend_t *fe;
    if (bytes <= 0 || em_frontend_init(&fe, tables, memory, sizeof memory) != EM_OK) {
        return 1;
    }
    const size_t n_features = tables->n_features;
    const size_t n_samples = (size_t)bytes / sizeof(int16_t);
    uint8_t *out = rows;
    size_t used = 0;
    /* As the capture task does: one hop at a time once the first frame is full. */
    for (size_t chunk = tables->window_length; chunk <= n_samples - used;
         chunk = tables->hop_length) {
        size_t consumed;
        int ready;
        emulator_region_begin(used == 0 ? "first frame" : "frame");
        const em_status_t status =
            em_frontend_process(fe, pcm + used, chunk, &consumed, row, &ready);
        emulator_region_end();
        if (status != EM_OK || !ready || consumed != chunk) {
            return 2;
        }
        used += consumed;
        const int16_t *fine = em_frontend_last_row_q8(fe);
        for (size_t j = 0; j < n_features; j++) {
            out[j] = (uint8_t)row[j];
            out[n_features + 2 * j] = (uint8_t)((uint16_t)fine[j] & 0xFFU);
            out[n_features + 2 * j + 1] = (uint8_t)((uint16_t)fine[j] >> 8);
        }
        out += 3 * n_features;
    }
    count_stages(tables, pcm + used - tables->window_length);
    return emulator_write("rows.raw", rows, (uint32_t)(out - rows)) == 0 ? 0 : 3;
}
