/* A network in ten lines for tests of everything around networks: "whistle" when the upper half of
 * the mel bands is clearly louder than the lower half, "hum" the other way round. Its scores take
 * three values only, so that different sounds of one kind give the same events. */
#include "earmark/model.h"
#include "frontend_tables.h"

enum { FRAMES = 50, BANDS = 64, NEWEST = 12, CONTRAST = 24, SURE = 115, NO = -120 };

static em_status_t run(uint8_t *arena, const void *const inputs[], void *const outputs[]) {
    const int8_t *rows = inputs[0];
    int8_t *scores = outputs[0];
    int32_t low = 0, high = 0;
    (void)arena;
    for (int t = FRAMES - NEWEST; t < FRAMES; t++) {
        for (int band = 0; band < BANDS; band++) {
            *(band < BANDS / 2 ? &low : &high) += rows[t * BANDS + band];
        }
    }
    const int32_t difference = (high - low) / (NEWEST * BANDS / 2);
#ifdef STAND_IN_LEAKS_AUDIO
    /* Deliberate violation for a test: hides a bit of the audio in the confidence. */
    scores[0] = (int8_t)(difference > CONTRAST ? SURE - (rows[FRAMES * BANDS - 1] & 7) : NO);
#else
    scores[0] = difference > CONTRAST ? SURE : NO;
#endif
    scores[1] = difference < -CONTRAST ? SURE : NO;
    scores[2] = NO;
    return EM_OK;
}

static const em_tensor_t INPUT = {.type = EM_TENSOR_INT8,
                                  .elements = FRAMES * BANDS,
                                  .rank = 3,
                                  .dims = {1, FRAMES, BANDS},
                                  .scale = 0.10546875f,
                                  .zero_point = 25};
static const em_tensor_t OUTPUT = {.type = EM_TENSOR_INT8,
                                   .elements = 3,
                                   .rank = 2,
                                   .dims = {1, 3},
                                   .scale = 1.0f / 256.0f,
                                   .zero_point = -128};
static const int8_t GOLDEN_INPUT[FRAMES * BANDS] = {0};
static const int8_t GOLDEN_OUTPUT[3] = {NO, NO, NO};
/* CRC: python3 -c "import zlib; print(hex(zlib.crc32(bytes(3200) + bytes([0x88] * 3))))" */
static const void *const GOLDEN_INPUTS[] = {GOLDEN_INPUT};
static const void *const GOLDEN_OUTPUTS[] = {GOLDEN_OUTPUT};

static const em_golden_t GOLDEN = {
    .inputs = GOLDEN_INPUTS, .outputs = GOLDEN_OUTPUTS, .crc32 = 0xa3e403c4u};

const em_model_t em_model = {
    .name = "stand_in",
    .weights_sha256 = "0000000000000000000000000000000000000000000000000000000000000000",
    .arena_bytes = 16,
    .n_inputs = 1,
    .n_outputs = 1,
    .inputs = &INPUT,
    .outputs = &OUTPUT,
    .golden = &GOLDEN,
    .run = run,
};
