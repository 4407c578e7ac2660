/* The two slots: what is accepted, what is refused, and a power cut at every write. */
#include "check.h"
#include "store_rig.h"

enum { IMAGE_BYTES = EM_BUNDLE_HEADER_BYTES + 5001 };
static uint8_t image[IMAGE_BYTES];
static host_kv_t kv;
static host_flash_t flash;
static em_flash_t flash_port;
static em_model_store_t store;
static uint32_t own_release;

static void make_image(const char *hash, uint32_t labels, const char *version) {
    for (uint32_t i = EM_BUNDLE_HEADER_BYTES; i < IMAGE_BYTES; i++) {
        image[i] = (uint8_t)(i * 7 + (uint8_t)version[3]);
    }
    seal_image(image, IMAGE_BYTES, hash, labels, version);
}

static em_status_t install(const char *version) {
    make_image(STORE_HASH, STORE_LABELS_CRC32, version);
    return install_image(&store, image, IMAGE_BYTES);
}

static void boot_store(void) {
    const em_model_needs_t needs = {
        .front_end_hash = STORE_HASH, .labels_crc32 = STORE_LABELS_CRC32, .release = own_release};
    const em_kv_t port = host_kv_port(&kv);
    flash_port = host_flash_port(&flash);
    em_model_store_init(&store, &flash_port, &port, &SUM, &needs);
}

static void open_store(void) {
    CHECK(host_flash_open(&flash, STORE_SECTORS) == EM_OK);
    host_kv_open(&kv);
    own_release = 0;
    boot_store();
}

static void check_selected(const char *version) {
    em_bundle_image_t selected;
    CHECK_EQUAL(em_model_store_select(&store, &selected), EM_OK);
    CHECK_TEXT(selected.version, version);
}

static void install_and_confirm(const char *version) {
    CHECK_EQUAL(install(version), EM_OK);
    check_selected(version);
    CHECK_EQUAL(em_model_store_confirm(&store), EM_OK);
}

static void test_trial(void) {
    em_bundle_image_t selected;
    open_store();
    CHECK_EQUAL(em_model_store_select(&store, &selected), EM_ERR_STATE);
    CHECK_EQUAL(em_model_store_confirm(&store), EM_ERR_STATE);
    CHECK_EQUAL(em_model_store_finish(&store), EM_ERR_STATE);
    CHECK_EQUAL(em_model_store_write(&store, "x", 1), EM_ERR_STATE);
    CHECK_EQUAL(install("em-1.0.0+aaaa"), EM_OK);
    CHECK_EQUAL(em_model_store_begin(&store), EM_ERR_STATE); /* decide on the trial first */
    check_selected("em-1.0.0+aaaa");
    CHECK_EQUAL(em_model_store_confirm(&store), EM_OK);

    CHECK_EQUAL(install("em-1.0.1+bbbb"), EM_OK); /* crashes on its trial */
    boot_store();
    check_selected("em-1.0.1+bbbb");
    boot_store();
    check_selected("em-1.0.0+aaaa");

    CHECK_EQUAL(install("em-1.0.2+cccc"), EM_OK); /* fails its golden vector */
    check_selected("em-1.0.2+cccc");
    CHECK_EQUAL(em_model_store_reject(&store), EM_OK);
    check_selected("em-1.0.0+aaaa");
    host_flash_close(&flash);
}

static void test_refusals(void) {
    open_store();
    install_and_confirm("em-1.0.0+aaaa");
    make_image(STORE_HASH, STORE_LABELS_CRC32 + 1, "em-1.0.1+dddd"); /* other labels */
    CHECK_EQUAL(install_image(&store, image, IMAGE_BYTES), EM_ERR_MISMATCH);
    make_image("ffffffffffffffff", STORE_LABELS_CRC32, "em-1.0.1+eeee"); /* other front end */
    CHECK_EQUAL(install_image(&store, image, IMAGE_BYTES), EM_ERR_MISMATCH);
    for (uint32_t at = 0; at < IMAGE_BYTES; at += 97) { /* any damaged byte */
        if (at >= 68 && at < 128) {
            continue; /* the stand-in signature is 4 bytes long */
        }
        make_image(STORE_HASH, STORE_LABELS_CRC32, "em-1.0.1+ffff");
        image[at] ^= 0x10;
        CHECK(install_image(&store, image, IMAGE_BYTES) != EM_OK);
        check_selected("em-1.0.0+aaaa");
    }
    for (uint32_t n = 0; n < IMAGE_BYTES; n += 333) { /* a download that ends early */
        make_image(STORE_HASH, STORE_LABELS_CRC32, "em-1.0.1+ffff");
        CHECK(install_image(&store, image, n) != EM_OK);
        check_selected("em-1.0.0+aaaa");
    }
    static uint8_t large[5 * HOST_FLASH_SECTOR_BYTES];
    CHECK_EQUAL(em_model_store_begin(&store), EM_OK);
    CHECK_EQUAL(em_model_store_write(&store, large, sizeof large), EM_ERR_FULL);
    CHECK_EQUAL(em_model_store_begin(&store), EM_OK);
    flash.fail_writes = true;
    CHECK_EQUAL(em_model_store_write(&store, large, 17), EM_ERR_IO);
    CHECK_EQUAL(flash.n_rule_violations, 0);
    host_flash_close(&flash);
}

static void test_release_numbers(void) {
    static const char *const RISING[] = {"em-0.0.1+0000", "em-0.1.0+0000", "1.0.0",
                                         "em-1.0.1023",   "em-1.4.0+3fa9", "stand-in-2.0.0+0000"};
    static const char *const BAD[] = {"",           "em",           "em-1",        "em-1.2",
                                      "em-1.2.",    "em-1.2.3x",    "em-1.2.1024", "em-1..2",
                                      "em-1.2.3.4", "em--1.2.3-rc1"};
    uint32_t last = 0, release;
    for (size_t i = 0; i < sizeof RISING / sizeof RISING[0]; i++) {
        CHECK_EQUAL(em_model_release(RISING[i], &release), EM_OK);
        CHECK(release > last);
        last = release;
    }
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++) {
        CHECK_EQUAL(em_model_release(BAD[i], &release), EM_ERR_FORMAT);
        CHECK_EQUAL(release, 0);
    }
}

static void test_no_way_back_to_an_older_release(void) {
    em_bundle_image_t selected;
    open_store();
    install_and_confirm("em-1.4.0+aaaa");
    CHECK_EQUAL(install("em-1.3.9+bbbb"), EM_ERR_ARGUMENT);
    check_selected("em-1.4.0+aaaa");
    install_and_confirm("em-1.4.0+cccc"); /* the same release trained again */
    CHECK_EQUAL(install("em-1.5.0+dddd"), EM_OK);
    check_selected("em-1.5.0+dddd");
    CHECK_EQUAL(em_model_store_reject(&store), EM_OK);
    install_and_confirm("em-1.4.1+eeee"); /* a rejected release raises no floor */

    CHECK_EQUAL(em_model_release("em-2.0.0+0000", &own_release), EM_OK);
    boot_store(); /* an application update brought a newer model of its own */
    CHECK_EQUAL(em_model_store_select(&store, &selected), EM_ERR_STATE);
    CHECK_EQUAL(install("em-1.9.0+ffff"), EM_ERR_ARGUMENT);
    install_and_confirm("em-2.0.0+ffff");
    host_flash_close(&flash);
}

/* Whatever the moment: afterwards the old or the whole new model runs, and an update succeeds. */
static void test_power_cut_at_every_write(void) {
    bool finished = false;
    int n_cuts = 0, n_new = 0;
    for (int64_t cut = 0; !finished; cut++, n_cuts++) {
        em_bundle_image_t selected;
        open_store();
        install_and_confirm("em-1.0.0+aaaa");
        flash.cut_after = cut;
        flash.tear_seed = (uint32_t)cut * 977;
        finished = install("em-1.0.1+bbbb") == EM_OK;
        flash.power_lost = false;
        flash.cut_after = -1;
        boot_store();
        CHECK_EQUAL(em_model_store_select(&store, &selected), EM_OK);
        if (store.trying) {
            CHECK_TEXT(selected.version, "em-1.0.1+bbbb");
            CHECK(memcmp(flash.bytes + selected.payload_offset, image + EM_BUNDLE_HEADER_BYTES,
                         selected.payload_bytes) == 0);
            CHECK_EQUAL(em_model_store_confirm(&store), EM_OK);
            n_new++;
        } else {
            CHECK_TEXT(selected.version, "em-1.0.0+aaaa");
        }
        install_and_confirm("em-1.0.2+cccc");
        CHECK_EQUAL(flash.n_rule_violations, 0);
        host_flash_close(&flash);
    }
    CHECK(n_cuts > IMAGE_BYTES / 16); /* every block and every erase */
    CHECK_EQUAL(n_new, 1);            /* only the run without a cut put it on trial */
}

/* Settings that cannot be written leave the confirmed model in charge. */
static void test_settings_that_refuse(void) {
    em_bundle_image_t selected;
    open_store();
    install_and_confirm("em-1.0.0+aaaa");
    CHECK_EQUAL(install("em-1.0.1+bbbb"), EM_OK);
    kv.fail_writes = true;
    check_selected("em-1.0.0+aaaa");
    CHECK(!store.trying);
    kv.fail_writes = false;
    check_selected("em-1.0.1+bbbb");
    kv.fail_writes = true;
    CHECK_EQUAL(em_model_store_confirm(&store), EM_ERR_IO);
    kv.fail_writes = false;
    check_selected("em-1.0.0+aaaa");
    kv.fail_writes = true;
    CHECK_EQUAL(install("em-1.0.1+bbbb"), EM_ERR_IO);
    kv.fail_writes = false;
    check_selected("em-1.0.0+aaaa");
    flash.bytes[EM_BUNDLE_HEADER_BYTES + 7] ^= 1; /* rot in the confirmed image */
    flash.bytes[STORE_SECTORS / 2 * HOST_FLASH_SECTOR_BYTES + EM_BUNDLE_HEADER_BYTES + 7] ^= 1;
    CHECK_EQUAL(em_model_store_select(&store, &selected), EM_ERR_STATE);
    host_flash_close(&flash);
}

int main(void) {
    test_trial();
    test_refusals();
    test_release_numbers();
    test_no_way_back_to_an_older_release();
    test_power_cut_at_every_write();
    test_settings_that_refuse();
    return 0;
}
