/* Provisioning, trial of a new application, LED and button. */
#include "check.h"
#include "earmark/boot_check.h"
#include "earmark/indicator.h"
#include "earmark/provisioning.h"
#include "earmark/update_url.h"
#include "host_kv.h"

static host_kv_t kv;
static em_identity_t identity;

static em_status_t parse(const char *text) {
    return em_provisioning_parse(&identity, text, strlen(text));
}

static void test_provisioning(void) {
    static const char GOOD[] = "{\"device_id\":\"4f0c9a1b22d3\",\"host\":\"gateway.local\","
                               "\"port\":8883,\"ca\":\"AAEC\",\"cert\":\"AAE=\",\"key\":\"/+==\"}";
    const char *const bad[] = {
        "",
        "{}",
        "{\"device_id\":\"4f0c\",\"host\":\"h\",\"port\":8883,\"ca\":\"AAEC\",\"cert\":\"AAE=\"}",
        "{\"device_id\":\"GATEWAY\",\"host\":\"h\",\"port\":1,\"ca\":\"AAEC\",\"cert\":\"AAEC\","
        "\"key\":\"AAEC\"}",
        "{\"device_id\":\"gateway\",\"host\":\"h\",\"port\":1,\"ca\":\"AAEC\",\"cert\":\"AAEC\","
        "\"key\":\"AAEC\"}",
        "{\"device_id\":\"-a\",\"host\":\"h\",\"port\":1,\"ca\":\"AAEC\",\"cert\":\"AAEC\","
        "\"key\":\"AAEC\"}",
        "{\"device_id\":\"a\",\"host\":\"h\",\"port\":0,\"ca\":\"AAEC\",\"cert\":\"AAEC\","
        "\"key\":\"AAEC\"}",
        "{\"device_id\":\"a\",\"host\":\"h\",\"port\":1,\"ca\":\"AA=C\",\"cert\":\"AAEC\","
        "\"key\":\"AAEC\"}",
        "{\"device_id\":\"a\",\"host\":\"h\",\"port\":1,\"ca\":\"A===\",\"cert\":\"AAEC\","
        "\"key\":\"AAEC\"}",
        "{\"device_id\":\"a\",\"host\":\"h\",\"port\":1,\"ca\":\"AAE\",\"cert\":\"AAEC\","
        "\"key\":\"AAEC\"}",
        "{\"device_id\":\"a\",\"host\":\"h\",\"port\":1,\"ca\":\"AA.C\",\"cert\":\"AAEC\","
        "\"key\":\"AAEC\",\"extra\":1}",
    };
    CHECK_EQUAL(parse(GOOD), EM_OK);
    CHECK_TEXT(identity.device_id, "4f0c9a1b22d3");
    CHECK_EQUAL(identity.broker_port, 8883);
    CHECK_EQUAL(identity.ca_bytes, 3);
    CHECK(memcmp(identity.ca, "\x00\x01\x02", 3) == 0);
    CHECK_EQUAL(identity.certificate_bytes, 2);
    CHECK_EQUAL(identity.key_bytes, 1);
    CHECK_EQUAL(identity.key[0], 0xff);
    host_kv_open(&kv);
    const em_kv_t port = host_kv_port(&kv);
    em_identity_t loaded;
    CHECK_EQUAL(em_provisioning_load(&port, &loaded), EM_ERR_STATE);
    CHECK_EQUAL(em_provisioning_save(&port, &identity), EM_OK);
    CHECK_EQUAL(em_provisioning_load(&port, &loaded), EM_OK);
    CHECK(memcmp(&loaded, &identity, sizeof loaded) == 0);
    char unterminated[EM_DEVICE_ID_CHARS + 1];
    memset(unterminated, 'a', sizeof unterminated);
    CHECK_EQUAL(port.set(port.context, "device_id", unterminated, sizeof unterminated), EM_OK);
    CHECK_EQUAL(em_provisioning_load(&port, &loaded), EM_ERR_FORMAT);
    CHECK_EQUAL(port.set(port.context, "device_id", "short", 5), EM_OK);
    CHECK_EQUAL(em_provisioning_load(&port, &loaded), EM_ERR_FORMAT);
    kv.fail_writes = true;
    CHECK_EQUAL(em_provisioning_save(&port, &identity), EM_ERR_IO);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        CHECK_EQUAL(parse(bad[i]), EM_ERR_FORMAT);
        CHECK_EQUAL(identity.device_id[0], 0);
    }
    static char large[EM_PROVISIONING_BYTES + 1];
    CHECK_EQUAL(em_provisioning_parse(&identity, large, sizeof large), EM_ERR_FORMAT);
    memset(large, 'A', sizeof large);
    memcpy(large, "{\"ca\":\"", 7);
    memcpy(large + 7 + 2000, "\"}", 2);
    CHECK_EQUAL(em_provisioning_parse(&identity, large, 7 + 2000 + 2), EM_ERR_FORMAT);
}

static void test_boot_check(void) {
    em_boot_check_t check;
    em_boot_check_init(&check, false); /* an old image never rolls back */
    CHECK_EQUAL(em_boot_check_poll(&check, EM_BOOT_CHECK_LIMIT_MS), EM_BOOT_DECIDED);
    CHECK_EQUAL(em_boot_check_fail(&check), EM_BOOT_DECIDED);
    em_boot_check_init(&check, true);
    em_boot_check_pass(&check, EM_CHECK_GOLDEN | EM_CHECK_MICROPHONE | EM_CHECK_STORAGE);
    CHECK_EQUAL(em_boot_check_poll(&check, EM_BOOT_CHECK_LIMIT_MS - 1), EM_BOOT_WAITING);
    em_boot_check_pass(&check, EM_CHECK_BROKER);
    CHECK_EQUAL(em_boot_check_poll(&check, EM_BOOT_CHECK_LIMIT_MS - 1), EM_BOOT_CONFIRM);
    CHECK_EQUAL(em_boot_check_poll(&check, EM_BOOT_CHECK_LIMIT_MS), EM_BOOT_DECIDED);
    for (uint32_t missing = 1; missing <= EM_CHECK_BROKER; missing *= 2) {
        em_boot_check_init(&check, true);
        em_boot_check_pass(&check, EM_CHECK_ALL & ~missing);
        CHECK_EQUAL(em_boot_check_poll(&check, EM_BOOT_CHECK_LIMIT_MS), EM_BOOT_ROLL_BACK);
        CHECK_EQUAL(em_boot_check_poll(&check, EM_BOOT_CHECK_LIMIT_MS), EM_BOOT_DECIDED);
    }
}

static void test_update_url(void) {
    static const char *const BAD[] = {"",    ".", "../a",   "a/b", "..",
                                      "a b", "A", "%2e%2e", "?a",  "\n"};
    char url[EM_UPDATE_URL_BYTES], large[EM_UPDATE_URL_BYTES];
    CHECK(em_update_url(url, "https://u.example/earmark", "em-1.4.0+3fa9", "model.img"));
    CHECK_TEXT(url, "https://u.example/earmark/em-1.4.0+3fa9/model.img");
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++) {
        CHECK(!em_update_url(url, "https://u.example", BAD[i], "model.img"));
    }
    memset(large, 'a', sizeof large);
    large[sizeof large - sizeof "https://u.example//x"] = '\0';
    CHECK(em_update_url(url, "https://u.example", large, "x"));
    CHECK_EQUAL(strlen(url), EM_UPDATE_URL_BYTES - 1);
    CHECK(!em_update_url(url, "https://u.example", large, "xy"));
}

static void test_indicator(void) {
    CHECK(!em_led_is_on(EM_LED_ONLINE, 12345));
    CHECK(em_led_is_on(EM_LED_FAULT, 12345));
    for (int pattern = EM_LED_UNPROVISIONED; pattern <= EM_LED_IDENTIFY; pattern++) {
        uint32_t on = 0;
        for (uint64_t ms = 0; ms < 10000; ms += 10) {
            on += em_led_is_on((em_led_pattern_t)pattern, ms);
        }
        CHECK((on > 0 && on < 1000) || pattern == EM_LED_ONLINE || pattern == EM_LED_FAULT);
    }
    em_button_t button = {0};
    uint64_t now = 0;
    int n_short = 0, n_reset = 0;
    const struct {
        bool pressed;
        uint64_t ms;
    } script[] = {{true, 10}, {false, 500}, {true, 200}, {false, 500}, {true, 12000}, {false, 500}};
    for (size_t i = 0; i < sizeof script / sizeof script[0]; i++) {
        for (const uint64_t end = now + script[i].ms; now < end; now += 10) {
            const em_button_event_t event = em_button_sample(&button, script[i].pressed, now);
            n_short += event == EM_BUTTON_SHORT;
            n_reset += event == EM_BUTTON_FACTORY_RESET;
        }
    }
    CHECK_EQUAL(n_short, 1); /* the 10 ms bounce and the long press are none */
    CHECK_EQUAL(n_reset, 1);
    em_button_t shorted = {0};
    for (now = 0; now < 60000; now += 10) {
        CHECK_EQUAL(em_button_sample(&shorted, true, now), EM_BUTTON_NONE);
    }
}

int main(void) {
    test_provisioning();
    test_boot_check();
    test_update_url();
    test_indicator();
    return 0;
}
