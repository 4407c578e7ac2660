#include "check.h"
#include "earmark/crc32.h"
#include "earmark/json.h"

static em_status_t parse(const char *text, int *n_members) {
    em_json_reader_t r;
    em_json_value_t value;
    em_json_read(&r, text, strlen(text));
    *n_members = 0;
    while (em_json_next(&r, &value)) {
        (*n_members)++;
    }
    return r.status;
}

static void accepts(const char *text, int n_members) {
    int n;
    CHECK_EQUAL(parse(text, &n), EM_OK);
    CHECK_EQUAL(n, n_members);
}

static void refuses(const char *text) {
    int n;
    CHECK_EQUAL(parse(text, &n), EM_ERR_FORMAT);
}

static int64_t number(const char *text) {
    char array[64];
    em_json_reader_t r;
    em_json_value_t value;
    snprintf(array, sizeof array, "[%s]", text);
    em_json_read(&r, array, strlen(array));
    CHECK(em_json_next(&r, &value));
    CHECK(value.type == EM_JSON_NUMBER);
    return value.micro;
}

static void test_reader(void) {
    accepts("{}", 0);
    accepts(" [ ] ", 0);
    accepts("{\"a\":1,\"b\":[1,2],\"c\":{\"d\":\"]}\"},\"e\":null,\"f\":true,\"g\":-0.5}", 6);
    accepts("[[[1]]]", 1);
    const char *const bad[] = {
        "",
        "{",
        "[1",
        "}",
        "{]",
        "1",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{,}",
        "{\"a\":1 2}",
        "[1,]",
        "[01]",
        "[-]",
        "[1.]",
        "[.5]",
        "[1e3]",
        "[NaN]",
        "[tru]",
        "[\"a]",
        "[\"\\n\"]",
        "[\"\x01\"]",
        "[\"\xc3\"]",
        "[[[[1]]]]",
        "{a:1}",
        "{\"a\":1}}",
        "[{]]",
        "[[1}]",
        "[99999999999999999999]",
        "[[\"a\\\"]]",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        refuses(bad[i]);
    }
    CHECK_EQUAL(number("1795227818123"), 1795227818123000000);
    CHECK_EQUAL(number("0.93"), 930000);
    CHECK_EQUAL(number("-12.0000019"), -12000001);
}

static void test_values(void) {
    char text[4];
    int64_t n;
    em_json_value_t value = {.type = EM_JSON_STRING, .text = "abcd", .length = 4};
    CHECK(!em_json_copy_string(&value, text, sizeof text));
    value.length = 3;
    CHECK(em_json_copy_string(&value, text, sizeof text));
    CHECK_TEXT(text, "abc");
    CHECK(!em_json_get_integer(&value, 0, 9, &n));
    value = (em_json_value_t){.type = EM_JSON_NUMBER, .micro = 1500000};
    CHECK(!em_json_get_integer(&value, 0, 9, &n));
    value.micro = 10000000;
    CHECK(!em_json_get_integer(&value, 0, 9, &n));
    CHECK(em_json_get_integer(&value, 0, 10, &n));
    CHECK_EQUAL(n, 10);
}

static void test_writer(void) {
    char text[80];
    em_json_writer_t w;
    em_json_begin(&w, text, sizeof text);
    em_json_open(&w, NULL, '{');
    em_json_string(&w, "s", "a\"b\\\xff");
    em_json_milli(&w, "m", 930);
    em_json_milli(&w, "n", -1005);
    em_json_integer(&w, "i", INT64_MIN);
    em_json_bool(&w, "b", true);
    em_json_null(&w, "z");
    em_json_close(&w, '}');
    CHECK_EQUAL(em_json_finish(&w), EM_OK);
    CHECK_TEXT(text, "{\"s\":\"a?b??\",\"m\":0.930,\"n\":-1.005,\"i\":-9223372036854775808,"
                     "\"b\":true,\"z\":null}");
    for (size_t capacity = 0; capacity < 4; capacity++) {
        memset(text, '#', sizeof text);
        em_json_begin(&w, text, capacity);
        em_json_string(&w, NULL, "long");
        CHECK_EQUAL(em_json_finish(&w), EM_ERR_SIZE);
        CHECK(text[capacity] == '#');
    }
}

int main(void) {
    test_reader();
    test_values();
    test_writer();
    CHECK_EQUAL(em_crc32(0, "123456789", 9), 0xcbf43926); /* check value of CRC-32/ISO-HDLC */
    CHECK_EQUAL(em_crc32(em_crc32(0, "1234", 4), "56789", 5), 0xcbf43926);
    return 0;
}
