#include "pcm_source.h"

#include <string.h>

static uint32_t little_endian(const uint8_t *bytes, int n) {
    uint32_t value = 0;
    for (int i = n; i-- > 0;) {
        value = value << 8 | bytes[i];
    }
    return value;
}

static bool skip(FILE *file, uint32_t n_bytes) {
    while (n_bytes-- > 0) {
        if (fgetc(file) == EOF) {
            return false;
        }
    }
    return true;
}

/* Walks the RIFF chunks up to "data". */
static const char *open_wav(pcm_source_t *source) {
    uint8_t header[12], chunk[8], format[16] = {0};
    bool has_format = false;
    if (fread(header, 1, 12, source->file) != 12 || memcmp(header, "RIFF", 4) != 0 ||
        memcmp(header + 8, "WAVE", 4) != 0) {
        return "not a WAV file";
    }
    while (fread(chunk, 1, 8, source->file) == 8) {
        const uint32_t bytes = little_endian(chunk + 4, 4);
        if (memcmp(chunk, "data", 4) == 0) {
            source->samples_left = bytes / 2;
            return has_format ? NULL : "WAV file without a format before its data";
        }
        uint32_t rest = bytes + (bytes & 1);
        if (memcmp(chunk, "fmt ", 4) == 0 && bytes >= 16) {
            if (fread(format, 1, 16, source->file) != 16) {
                return "WAV file ends in its format";
            }
            const uint32_t tag = little_endian(format, 2);
            if ((tag != 1 && tag != 0xfffe) || little_endian(format + 2, 2) != 1 ||
                little_endian(format + 14, 2) != 16) {
                return "not 16-bit PCM with one channel";
            }
            source->sample_rate_hz = little_endian(format + 4, 4);
            has_format = true;
            rest -= 16;
        }
        if (!skip(source->file, rest)) {
            break;
        }
    }
    return "WAV file without data";
}

em_status_t pcm_source_open(pcm_source_t *source, const char *path, bool raw,
                            uint32_t raw_sample_rate_hz, const char **problem) {
    *source = (pcm_source_t){.samples_left = UINT64_MAX, .sample_rate_hz = raw_sample_rate_hz};
    source->file = strcmp(path, "-") == 0 ? stdin : fopen(path, "rb");
    *problem = source->file == NULL ? "cannot be opened" : raw ? NULL : open_wav(source);
    return *problem == NULL ? EM_OK : EM_ERR_FORMAT;
}

static em_status_t read_pcm(void *context, int16_t *pcm, size_t n_samples, size_t *n_read) {
    pcm_source_t *source = context;
    uint8_t bytes[2];
    *n_read = 0;
    while (*n_read < n_samples && source->samples_left > 0 &&
           fread(bytes, 1, 2, source->file) == 2) {
        const uint32_t value = little_endian(bytes, 2);
        pcm[(*n_read)++] = (int16_t)(value < 0x8000 ? (int32_t)value : (int32_t)value - 0x10000);
        if (source->samples_left != UINT64_MAX) {
            source->samples_left--;
        }
    }
    return *n_read > 0 ? EM_OK : EM_ERR_IO;
}

em_audio_source_t pcm_source_port(pcm_source_t *source) {
    return (em_audio_source_t){.context = source, .read = read_pcm};
}

void pcm_source_close(pcm_source_t *source) {
    if (source->file != NULL && source->file != stdin) {
        fclose(source->file);
    }
}
