/* Prints the samples of the "pcm" partition as the firmware would play them: IMAGE OFFSET BYTES. */
#include "earmark/pcm_image.h"

#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv) {
    uint8_t header[EM_PCM_IMAGE_HEADER_BYTES];
    uint32_t n_samples;
    int16_t sample;
    if (argc != 4) {
        return 2;
    }
    FILE *file = fopen(argv[1], "rb");
    const uint32_t bytes = (uint32_t)strtoul(argv[3], NULL, 10);
    if (file == NULL || fseek(file, strtol(argv[2], NULL, 10), SEEK_SET) != 0 ||
        fread(header, sizeof header, 1, file) != 1 ||
        !em_pcm_image_parse(header, bytes, &n_samples)) {
        return 1;
    }
    while (n_samples-- > 0 && fread(&sample, sizeof sample, 1, file) == 1) {
        fwrite(&sample, sizeof sample, 1, stdout);
    }
    return fclose(file);
}
