/* Checks a front end's golden features; with the argument "sound", prints the samples instead. */
#include "earmark/golden_features.h"
#include "frontend_tables.h"

#include <stdio.h>
#include <string.h>

extern const em_golden_features_t em_golden_features;

int main(int argc, char **argv) {
    em_frontend_tables_t tables = em_frontend_tables;
    const size_t needed = em_frontend_needed_bytes(&tables) + tables.n_features;
    static _Alignas(16) uint8_t memory[1 << 16];
    static int32_t window[2048];
    static uint32_t mel[4096];
    const size_t n_bytes = sizeof memory;
    uint32_t state = 1;
    if (argc > 1 && strcmp(argv[1], "sound") == 0) {
        for (uint32_t i = 0; i < em_golden_features.n_samples; i++) {
            printf("%d\n", em_golden_sample(&state, i));
        }
        return 0;
    }
    if (em_golden_features_check(&em_golden_features, &tables, memory, needed) != EM_OK) {
        return 1;
    }
    if (em_golden_features_check(&em_golden_features, &tables, memory, needed - 1) != EM_ERR_SIZE) {
        return 2;
    }
    /* One bit of one table, each in turn: none may pass unnoticed. */
    memcpy(window, tables.window_q31, tables.fft_length * sizeof *window);
    memcpy(mel, tables.mel_rising_q32, tables.n_bins * sizeof *mel);
    window[tables.fft_length / 3] ^= 1 << 28;
    tables.window_q31 = window;
    if (em_golden_features_check(&em_golden_features, &tables, memory, n_bytes) !=
        EM_ERR_SELF_TEST) {
        return 3;
    }
    tables.window_q31 = em_frontend_tables.window_q31;
    mel[tables.n_bins / 2] ^= 1u << 29;
    tables.mel_rising_q32 = mel;
    if (em_golden_features_check(&em_golden_features, &tables, memory, n_bytes) !=
        EM_ERR_SELF_TEST) {
        return 4;
    }
    tables.mel_rising_q32 = em_frontend_tables.mel_rising_q32;
    em_golden_features_t other = em_golden_features;
    other.n_rows++;
    return em_golden_features_check(&other, &tables, memory, n_bytes) == EM_ERR_SELF_TEST &&
                   em_golden_features_check(&em_golden_features, &tables, memory, n_bytes) == EM_OK
               ? 0
               : 5;
}
