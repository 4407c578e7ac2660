/* Boot with model images: with an engine of its own, whose "network" repeats bytes of its file, the
 * real pipeline, self-test, parser and store. */
#include "check.h"
#include "earmark/engine.h"
#include "earmark/model_boot.h"
#include "store_rig.h"

enum { ELEMENTS = 8, SCORES = 2, FILE_BYTES = 64, ARENA_BYTES = 48, HEAD_BYTES = 32 };
enum {
    LABELS_AT = EM_IMAGE_HEADER_BYTES,
    CLASSES_AT = LABELS_AT + 2 * EM_IMAGE_LABEL_BYTES,
    FILE_AT = 320, /* a multiple of 16 behind the class indices */
    GOLDEN_AT = FILE_AT + FILE_BYTES,
    PAYLOAD_BYTES = GOLDEN_AT + ELEMENTS + SCORES,
    IMAGE_BYTES = EM_BUNDLE_HEADER_BYTES + PAYLOAD_BYTES
};

struct em_tflm_model {
    int unused;
};
static const em_tflm_model_t OPERATORS;

/* The engine under this test ------------------------------------------------------------------ */

uint32_t em_engine_arena_bytes(const em_tflm_model_t *operators, uint32_t tensor_arena_bytes) {
    CHECK(operators == &OPERATORS);
    return HEAD_BYTES + tensor_arena_bytes;
}

em_status_t em_engine_init(em_engine_t *engine, const em_model_t *model, void *arena,
                           size_t arena_bytes) {
    if (arena_bytes < model->arena_bytes || model->tflite == NULL) {
        return EM_ERR_SIZE;
    }
    *engine = (em_engine_t){.model = model, .arena = arena};
    return EM_OK;
}

em_status_t em_engine_invoke(em_engine_t *engine, const void *const inputs[],
                             void *const outputs[]) {
    const int8_t *in = inputs[0];
    int8_t *out = outputs[0];
    for (int i = 0; i < SCORES; i++) {
        out[i] = (int8_t)(in[i] ^ engine->model->tflite[i]);
    }
    return EM_OK;
}

em_status_t em_engine_clear(em_engine_t *engine) {
    (void)engine;
    return EM_OK;
}

/* A model of the application, and images that fit it ------------------------------------------ */

static const uint8_t OWN_FILE[FILE_BYTES] = {1, 2};
static const em_tensor_t INPUT = {EM_TENSOR_INT8, ELEMENTS, 3, {1, 1, ELEMENTS}, 0.5f, -3};
static const em_tensor_t OUTPUT = {EM_TENSOR_INT8, SCORES, 2, {1, SCORES}, 1.0f / 256.0f, -128};
static const int8_t OWN_GOLDEN[ELEMENTS + SCORES] = {5, 6, 7, 8, 9, 10, 11, 12, 5 ^ 1, 6 ^ 2};
static const void *const OWN_IN[] = {OWN_GOLDEN};
static const void *const OWN_OUT[] = {OWN_GOLDEN + ELEMENTS};
static const em_label_t LABELS[] = {{.name = "smoke_alarm"}, {.name = "other"}};
static const em_bundle_t BUNDLE = {.model_version = "em-1.0.0+own0",
                                   .frontend_hash = STORE_HASH,
                                   .detector = {.labels = LABELS, .n_labels = 2}};

static uint32_t crc32(const int8_t *bytes, uint32_t n) { /* an independent, slow one */
    uint32_t crc = UINT32_MAX;
    for (uint32_t i = 0; i < n * 8; i++) {
        const uint32_t bit = ((uint32_t)(uint8_t)bytes[i / 8] >> i % 8 ^ crc) & 1u;
        crc = crc >> 1 ^ (bit ? 0xEDB88320u : 0);
    }
    return ~crc;
}

static uint8_t image[IMAGE_BYTES];
static uint8_t *const payload = image + EM_BUNDLE_HEADER_BYTES;

static void put16(uint32_t at, uint32_t value) {
    payload[at] = (uint8_t)value;
    payload[at + 1] = (uint8_t)(value >> 8);
}

static void put32(uint32_t at, uint32_t value) {
    put16(at, value & 0xffff);
    put16(at + 2, value >> 16);
}

static void put_tensor(uint32_t at, const em_tensor_t *tensor) {
    memcpy(payload + at, &tensor->scale, sizeof tensor->scale);
    put16(at + 4, (uint16_t)tensor->zero_point);
    put16(at + 6, tensor->rank);
    for (uint32_t i = 0; i < tensor->rank; i++) {
        put16(at + 8 + 2 * i, tensor->dims[i]);
    }
}

static void put_label(uint32_t index, const char *name, uint32_t classes) {
    const uint32_t at = LABELS_AT + index * EM_IMAGE_LABEL_BYTES;
    memcpy(payload + at, name, strlen(name));
    for (uint32_t field = 36; field < 48; field += 2) {
        put16(at + field, field == 36 ? classes != 0 : 100 + field);
    }
    put32(at + 48, 148);
    put32(at + 52, 152);
    put32(at + 56, 156);
    payload[at + 60] = 3;
    payload[at + 61] = 1;
    put16(at + 62, 162);
    put16(at + 64, 164);
    put16(at + 66, 166);
    put32(at + 68, classes);
}

static void make_payload(uint8_t seed) {
    static const int8_t GOLDEN_IN[ELEMENTS] = {-1, 2, -3, 4, -5, 6, -7, 8};
    memset(payload, 0, PAYLOAD_BYTES);
    memcpy(payload, "EMP1", 4);
    put32(4, 16000);
    for (uint32_t at = 8; at < 16; at += 2) {
        put16(at, at * 11);
    }
    put16(16, 2);
    put16(18, SCORES);
    put32(20, 200000);
    put32(24, 20000);
    put16(28, 64);
    payload[30] = 12;
    payload[31] = 3;
    put_tensor(32, &INPUT);
    put_tensor(52, &OUTPUT);
    put32(72, ARENA_BYTES);
    put32(76, FILE_AT);
    put32(80, FILE_BYTES);
    put32(84, GOLDEN_AT);
    put32(92, LABELS_AT);
    memset(payload + 96, 'e', 64);
    put_label(0, "smoke_alarm", CLASSES_AT);
    put_label(1, "other", 0);
    put16(CLASSES_AT, 1);
    memset(payload + FILE_AT, seed, FILE_BYTES);
    memcpy(payload + GOLDEN_AT, GOLDEN_IN, ELEMENTS);
    for (uint32_t i = 0; i < SCORES; i++) {
        payload[GOLDEN_AT + ELEMENTS + i] = (uint8_t)GOLDEN_IN[i] ^ seed;
    }
    put32(88, crc32((const int8_t *)payload + GOLDEN_AT, ELEMENTS + SCORES));
}

/* A device ------------------------------------------------------------------------------------ */

static host_flash_t flash;
static em_flash_t flash_port;
static host_kv_t kv;
static em_model_store_t store;
static em_image_model_t model;
static int n_mapped, n_started;
static bool cannot_map;
static em_status_t start_refuses;

static const uint8_t *map(void *context, const em_bundle_image_t *found) {
    (void)context;
    n_mapped += !cannot_map;
    return cannot_map ? NULL : flash.bytes + found->payload_offset;
}

static void unmap(void *context) {
    (void)context;
    n_mapped--;
}

static em_status_t start(void *context, const em_bundle_t *bundle, const em_model_t *candidate) {
    static _Alignas(16) uint8_t arena[HEAD_BYTES + ARENA_BYTES];
    _Alignas(4) uint8_t scores[SCORES];
    em_engine_t engine;
    (void)context, (void)bundle;
    n_started++;
    em_status_t status = start_refuses;
    if (status == EM_OK) {
        status = em_engine_init(&engine, candidate, arena, sizeof arena);
    }
    return status == EM_OK ? em_engine_self_test(&engine, scores, sizeof scores) : status;
}

/* Returns the version that runs. */
static const char *boot(void) {
    static const em_golden_t GOLDEN = {OWN_IN, OWN_OUT, 0};
    em_golden_t golden = GOLDEN;
    golden.crc32 = crc32(OWN_GOLDEN, sizeof OWN_GOLDEN);
    const em_model_t own = {.arena_bytes = HEAD_BYTES,
                            .n_inputs = 1,
                            .n_outputs = 1,
                            .inputs = &INPUT,
                            .outputs = &OUTPUT,
                            .golden = &golden,
                            .tflm = &OPERATORS,
                            .tflite = OWN_FILE};
    const em_kv_t kv_port = host_kv_port(&kv);
    const em_model_needs_t needs = em_model_needs(&BUNDLE);
    const em_bundle_t *used;
    flash_port = host_flash_port(&flash);
    em_model_store_init(&store, &flash_port, &kv_port, &SUM, &needs);
    n_mapped = n_started = 0;
    const em_model_boot_t config = {.store = &store,
                                    .bundle = &BUNDLE,
                                    .model = &own,
                                    .map = map,
                                    .unmap = unmap,
                                    .start = start};
    CHECK_EQUAL(em_model_boot(&config, &model, &used), start_refuses);
    CHECK_EQUAL(n_mapped, used == &model.bundle ? 1 : 0); /* what does not run is not held */
    return used->model_version;
}

static void open_device(void) {
    CHECK(host_flash_open(&flash, STORE_SECTORS) == EM_OK);
    host_kv_open(&kv);
    cannot_map = false;
    start_refuses = EM_OK;
    CHECK_TEXT(boot(), "em-1.0.0+own0");
}

static em_status_t install(const char *version) {
    /* python3 -c "import zlib; print(hex(zlib.crc32(b'smoke_alarm\nother')))" */
    seal_image(image, IMAGE_BYTES, STORE_HASH, 0xedc6576cu, version);
    return install_image(&store, image, IMAGE_BYTES);
}

static void test_fields(void) {
    make_payload(3);
    _Alignas(16) static uint8_t aligned[PAYLOAD_BYTES];
    memcpy(aligned, payload, PAYLOAD_BYTES);
    CHECK_EQUAL(em_model_image_open(&model, aligned, PAYLOAD_BYTES, STORE_HASH, "em-1.2.3+beef",
                                    &OPERATORS),
                EM_OK);
    const em_bundle_t *bundle = &model.bundle;
    CHECK_TEXT(bundle->model_version, "em-1.2.3+beef");
    CHECK_TEXT(bundle->frontend_hash, STORE_HASH);
    CHECK_EQUAL(bundle->sample_rate_hz, 16000);
    CHECK_EQUAL(bundle->hop_length, 88);
    CHECK_EQUAL(bundle->n_features, 110);
    CHECK_EQUAL(bundle->context_frames, 132);
    CHECK_EQUAL(bundle->hop_frames, 154);
    CHECK_EQUAL(bundle->detector.inference_period_us, 200000);
    CHECK_EQUAL(bundle->detector.cadence.row_period_us, 20000);
    CHECK_EQUAL(bundle->detector.cadence.n_features, 64);
    CHECK_EQUAL(bundle->detector.cadence.min_contrast, 12);
    CHECK_EQUAL(bundle->detector.cadence.clip_steps, 3);
    const em_label_t *label = &bundle->detector.labels[0];
    CHECK_TEXT(label->name, "smoke_alarm");
    CHECK_EQUAL(label->n_classes, 1);
    CHECK_EQUAL(label->classes[0], 1);
    CHECK_EQUAL(label->on_permille, 138);
    CHECK_EQUAL(label->off_permille, 140);
    CHECK_EQUAL(label->min_permille, 142);
    CHECK_EQUAL(label->max_permille, 144);
    CHECK_EQUAL(label->alpha_q15, 146);
    CHECK_EQUAL(label->min_duration_ms, 148);
    CHECK_EQUAL(label->refractory_ms, 152);
    CHECK_EQUAL(label->update_ms, 156);
    CHECK_EQUAL(label->flags, 3);
    CHECK_EQUAL(label->cadence, EM_CADENCE_T3);
    CHECK_EQUAL(label->cadence_permille, 162);
    CHECK_EQUAL(label->cadence_alone_permille, 164);
    CHECK_EQUAL(label->gate_permille, 166);
    CHECK(bundle->detector.labels[1].classes == NULL);
    CHECK_EQUAL(model.model.arena_bytes, HEAD_BYTES + ARENA_BYTES);
    CHECK_EQUAL(model.model.inputs->elements, ELEMENTS);
    CHECK(model.model.inputs->scale == 0.5f);
    CHECK_EQUAL(model.model.inputs->zero_point, -3);
    CHECK_EQUAL(model.model.outputs->zero_point, -128);
    CHECK_EQUAL(model.model.tflite_bytes, FILE_BYTES);
    CHECK_EQUAL(strlen(model.model.weights_sha256), 64);
    CHECK_EQUAL(em_model_image_open(&model, aligned + 1, PAYLOAD_BYTES - 1, STORE_HASH, "em-1.2.3",
                                    &OPERATORS),
                EM_ERR_ARGUMENT);
}

/* Each field that says where or how much, beyond what is there. */
static void test_damaged_payloads(void) {
    static const struct {
        uint32_t at, value;
        bool is_16_bit;
    } SPOILED[] = {
        {0, 0, false},
        {16, 0, true},
        {16, EM_IMAGE_MAX_LABELS + 1, true},
        {32 + 6, 7, true},
        {32 + 8, 0, true},
        {32 + 12, UINT16_MAX, true},
        {72, UINT32_MAX, false},
        {76, FILE_AT + 1, false},
        {76, UINT32_MAX - 15, false},
        {76, 0, false},
        {80, 0, false},
        {80, PAYLOAD_BYTES - FILE_AT + 1, false},
        {84, GOLDEN_AT + 1, false},
        {84, 0, false},
        {92, PAYLOAD_BYTES, false},
        {92, LABELS_AT + 2, false},
        {LABELS_AT, 0, false},
        {LABELS_AT + 36, UINT16_MAX, true},
        {LABELS_AT + 68, CLASSES_AT + 1, false},
        {LABELS_AT + 68, PAYLOAD_BYTES, false},
    };
    _Alignas(16) static uint8_t aligned[PAYLOAD_BYTES];
    for (size_t i = 0; i < sizeof SPOILED / sizeof SPOILED[0]; i++) {
        make_payload(3);
        (SPOILED[i].is_16_bit ? put16 : put32)(SPOILED[i].at, SPOILED[i].value);
        memcpy(aligned, payload, PAYLOAD_BYTES);
        CHECK_EQUAL(
            em_model_image_open(&model, aligned, PAYLOAD_BYTES, STORE_HASH, "em-1.2.3", &OPERATORS),
            EM_ERR_FORMAT);
    }
    make_payload(3);
    memset(payload + LABELS_AT, 'a', 36); /* a name without its end */
    memcpy(aligned, payload, PAYLOAD_BYTES);
    for (uint32_t n = 0; n <= PAYLOAD_BYTES; n++) {
        CHECK_EQUAL(em_model_image_open(&model, aligned, n, STORE_HASH, "em-1.2.3", &OPERATORS),
                    EM_ERR_FORMAT);
    }
}

static void test_an_update_runs_and_stays(void) {
    open_device();
    make_payload(7);
    CHECK_EQUAL(install("em-1.1.0+aaaa"), EM_OK);
    CHECK_TEXT(boot(), "em-1.1.0+aaaa");
    CHECK_EQUAL(n_started, 1);
    CHECK_TEXT(boot(), "em-1.1.0+aaaa"); /* confirmed: not a trial any more */
    CHECK(!store.trying);
    host_flash_close(&flash);
}

static void test_a_golden_vector_that_fails_returns_to_the_previous(void) {
    open_device();
    make_payload(7);
    CHECK_EQUAL(install("em-1.1.0+aaaa"), EM_OK);
    CHECK_TEXT(boot(), "em-1.1.0+aaaa");
    payload[GOLDEN_AT + ELEMENTS] ^= 1; /* signed, but this chip computes something else */
    put32(88, crc32((const int8_t *)payload + GOLDEN_AT, ELEMENTS + SCORES));
    CHECK_EQUAL(install("em-1.2.0+bbbb"), EM_OK);
    CHECK_TEXT(boot(), "em-1.1.0+aaaa");
    CHECK_EQUAL(n_started, 2);
    CHECK_TEXT(boot(), "em-1.1.0+aaaa");
    CHECK_EQUAL(n_started, 1);
    make_payload(9);
    CHECK_EQUAL(install("em-1.2.1+cccc"), EM_OK);
    CHECK_TEXT(boot(), "em-1.2.1+cccc");
    host_flash_close(&flash);
}

static void test_a_first_image_that_fails_leaves_the_own_model(void) {
    open_device();
    make_payload(7);
    put32(76, FILE_AT + 4); /* signed nonsense */
    CHECK_EQUAL(install("em-1.1.0+aaaa"), EM_OK);
    CHECK_TEXT(boot(), "em-1.0.0+own0");
    make_payload(7);
    CHECK_EQUAL(install("em-1.1.0+aaaa"), EM_OK);
    cannot_map = true; /* no address space left for it */
    CHECK_TEXT(boot(), "em-1.0.0+own0");
    host_flash_close(&flash);
}

static void test_a_confirmed_model_that_cannot_run_is_kept(void) {
    open_device();
    make_payload(7);
    CHECK_EQUAL(install("em-1.1.0+aaaa"), EM_OK);
    CHECK_TEXT(boot(), "em-1.1.0+aaaa");
    cannot_map = true;
    CHECK_TEXT(boot(), "em-1.0.0+own0");
    cannot_map = false;
    CHECK_TEXT(boot(), "em-1.1.0+aaaa");
    start_refuses = EM_ERR_SIZE; /* nothing runs: told, and not taken out on the model */
    CHECK_TEXT(boot(), "em-1.0.0+own0");
    start_refuses = EM_OK;
    CHECK_TEXT(boot(), "em-1.1.0+aaaa");
    host_flash_close(&flash);
}

static void test_settings_that_refuse_during_a_trial(void) {
    open_device();
    make_payload(7);
    CHECK_EQUAL(install("em-1.1.0+aaaa"), EM_OK);
    kv.fail_writes = true;
    CHECK_TEXT(boot(), "em-1.0.0+own0"); /* a trial that cannot be noted is not begun */
    kv.fail_writes = false;
    CHECK_TEXT(boot(), "em-1.1.0+aaaa");
    host_flash_close(&flash);
}

int main(void) {
    test_fields();
    test_damaged_payloads();
    test_an_update_runs_and_stays();
    test_a_golden_vector_that_fails_returns_to_the_previous();
    test_a_first_image_that_fails_leaves_the_own_model();
    test_a_confirmed_model_that_cannot_run_is_kept();
    test_settings_that_refuse_during_a_trial();
    return 0;
}
