/* Runs the front end on random streams until argv[1] rows are done. The streams change character
 * every few frames: white noise of random level, full-scale squares, constants, sparse impulses. */
#include "earmark/frontend.h"
#include "frontend_tables.h"

#include <stdio.h>
#include <stdlib.h>

static uint32_t state = 1;

static uint32_t next_random(void) {
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return state;
}

static int16_t sample(unsigned kind, unsigned shift, uint32_t x) {
    const int16_t noise = (int16_t)(x & 0xFFFFU);
    switch (kind) {
    case 0:
        return (int16_t)(noise / (1 << shift));
    case 1:
        return noise < 0 ? INT16_MIN : INT16_MAX;
    case 2:
        return (shift & 1U) != 0 ? INT16_MIN : INT16_MAX;
    default:
        return (x & 255U) == 0 ? INT16_MIN : 0;
    }
}

int main(int argc, char **argv) {
    static int16_t pcm[2048];
    static int8_t row[2048];
    const long rows = argc > 1 ? atol(argv[1]) : 1000;
    const size_t bytes = em_frontend_needed_bytes(&em_frontend_tables);
    void *memory = malloc(bytes); /* exact size: one byte beyond is an error under ASan */
    em_frontend_t *fe;
    if (memory == NULL || em_frontend_init(&fe, &em_frontend_tables, memory, bytes) != EM_OK) {
        return 1;
    }
    long sum = 0;
    for (long done = 0; done < rows;) {
        const size_t n = 1 + next_random() % 2048;
        const unsigned kind = next_random() & 3U;
        const unsigned shift = next_random() & 15U;
        for (size_t i = 0; i < n; i++) {
            pcm[i] = sample(kind, shift, next_random());
        }
        for (size_t used = 0; used < n && done < rows;) {
            size_t consumed;
            int ready;
            if (em_frontend_process(fe, pcm + used, n - used, &consumed, row, &ready) != EM_OK) {
                return 2;
            }
            used += consumed;
            done += ready;
            sum += row[0];
        }
        if ((next_random() & 1023U) == 0) {
            em_frontend_reset(fe);
        }
    }
    free(memory);
    printf("rows %ld sum %ld\n", rows, sum);
    return 0;
}
