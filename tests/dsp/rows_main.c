/* Feeds 16-bit PCM from standard input through the front end in chunks of changing size; writes
 * each row as int8 and then as int16 to standard output. Exit status: the em_status_t of the first
 * error. */
#include "earmark/frontend.h"
#include "frontend_tables.h"

#include <stdio.h>

static uint64_t memory[16 * 1024 / 8];
static int16_t pcm[1000];
static int8_t row[2048];

int main(void) {
    em_frontend_t *fe;
    em_status_t status = em_frontend_init(&fe, &em_frontend_tables, memory, sizeof memory);
    size_t chunk = 1;
    size_t n;
    while (status == EM_OK && (n = fread(pcm, sizeof pcm[0], chunk, stdin)) > 0) {
        const int16_t *next = pcm;
        while (status == EM_OK && n > 0) {
            size_t consumed;
            int ready;
            status = em_frontend_process(fe, next, n, &consumed, row, &ready);
            next += consumed;
            n -= consumed;
            if (status == EM_OK && ready) {
                const size_t n_features = em_frontend_tables.n_features;
                fwrite(row, 1, n_features, stdout);
                fwrite(em_frontend_last_row_q8(fe), sizeof(int16_t), n_features, stdout);
            }
        }
        chunk = chunk * 7 % 997;
    }
    return (int)status;
}
