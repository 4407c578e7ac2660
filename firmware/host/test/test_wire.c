#include "check.h"
#include "earmark/wire.h"

static void test_topics(void) {
    char topic[EM_TOPIC_BYTES];
    CHECK_EQUAL(em_wire_topic(topic, "4f0c9a1b22d3", "event"), EM_OK);
    CHECK_TEXT(topic, "earmark/v1/4f0c9a1b22d3/event");
    CHECK_TEXT(em_wire_suffix("earmark/v1/dev/cmd/reboot", "dev"), "cmd/reboot");
    CHECK(em_wire_suffix("earmark/v1/device/ack", "dev") == NULL);
    CHECK(em_wire_suffix("earmark/v2/dev/ack", "dev") == NULL);
    CHECK(em_wire_suffix("ear", "dev") == NULL);
    char suffix[EM_TOPIC_BYTES];
    memset(suffix, 'x', sizeof suffix);
    suffix[sizeof suffix - 1] = '\0';
    CHECK_EQUAL(em_wire_topic(topic, "dev", suffix), EM_ERR_SIZE);
}

/* The example of docs/gateway.md, byte for byte. */
static void test_event_is_the_documented_one(void) {
    em_report_t report = {
        .boot = 0x5b1e9c7702aa41d3,
        .boot_n = 42,
        .seq = 1234,
        .up_ms = 8123456,
        .unix_ms = 1795227818123,
        .has_wall = true,
        .sync = true,
        .episode = 17,
        .dur_ms = EM_DURATION_NONE,
        .conf_milli = 930,
        .thr_milli = 800,
        .phase = EM_REPORT_START,
        .label = "glass_break",
        .model = "em-1.4.0+3fa9",
    };
    char text[EM_PAYLOAD_BYTES];
    CHECK_EQUAL(em_wire_event(text, &report, false), EM_OK);
    CHECK_TEXT(text,
               "{\"v\":1,\"event_type\":\"glass_break\",\"phase\":\"start\",\"eid\":\"5b1e-17\","
               "\"boot\":\"5b1e9c7702aa41d3\",\"boot_n\":42,\"seq\":1234,\"up_ms\":8123456,"
               "\"ts\":1795227818123,\"sync\":true,\"conf\":0.930,\"thr\":0.800,"
               "\"dur_ms\":null,\"model\":\"em-1.4.0+3fa9\",\"late\":false}");
    report.has_wall = false;
    report.dur_ms = 1200;
    report.phase = EM_REPORT_END;
    CHECK_EQUAL(em_wire_event(text, &report, true), EM_OK);
    CHECK(strstr(text, "\"ts\":null,\"sync\":false") != NULL);
    CHECK(strstr(text, "\"dur_ms\":1200") != NULL);
    CHECK(strstr(text, "\"late\":true") != NULL);
    report.phase = 0;
    CHECK_EQUAL(em_wire_event(text, &report, true), EM_ERR_ARGUMENT);
    report.phase = 5;
    CHECK_EQUAL(em_wire_event(text, &report, true), EM_ERR_ARGUMENT);
}

static void test_the_longest_messages_fit(void) {
    char text[EM_PAYLOAD_BYTES];
    em_report_t report = {.boot = UINT64_MAX,
                          .boot_n = UINT32_MAX,
                          .seq = UINT32_MAX,
                          .up_ms = INT64_MAX,
                          .unix_ms = INT64_MAX,
                          .has_wall = true,
                          .episode = UINT32_MAX,
                          .dur_ms = EM_DURATION_MAX_MS,
                          .phase = EM_REPORT_UPDATE};
    memset(report.label, 'l', EM_LABEL_CHARS);
    memset(report.model, 'm', EM_MODEL_CHARS);
    CHECK_EQUAL(em_wire_event(text, &report, false), EM_OK);
    em_health_report_t health = {
        .boot = UINT64_MAX,
        .boot_n = UINT32_MAX,
        .seq_next = UINT32_MAX,
        .up_ms = INT64_MAX,
        .unix_ms = INT64_MAX,
        .has_wall = true,
        .queue = UINT32_MAX,
        .queue_critical = UINT32_MAX,
        .drops = UINT32_MAX,
        .drops_critical = UINT32_MAX,
        .has_noise = true,
        .noise_dbfs = -90,
        .overruns = UINT32_MAX,
        .heap_min_bytes = UINT32_MAX,
        .stack_min_bytes = UINT32_MAX,
        .has_rssi = true,
        .rssi_dbm = -128,
        .inference_p99_ms = UINT32_MAX,
        .watchdog_resets = UINT32_MAX,
        .flags = UINT32_MAX,
        .state = "unprovisioned",
        .firmware = "0.1.0-0123456789012345678901234",
        .model = report.model,
    };
    CHECK_EQUAL(em_wire_health(text, &health), EM_OK);
    for (uint32_t bit = 0; bit < EM_HEALTH_N_FLAGS; bit++) {
        CHECK(strstr(text, em_wire_health_flag_name(bit)) != NULL);
    }
    CHECK(em_wire_health_flag_name(EM_HEALTH_N_FLAGS) == NULL);
}

static void test_info_and_response(void) {
    char text[EM_PAYLOAD_BYTES];
    em_catalog_t catalog = {.model = "m+0000", .front_end_hash = "0123456789abcdef", .n_labels = 2};
    catalog.labels[0].name = "smoke_alarm";
    catalog.labels[0].threshold_milli = 800;
    catalog.labels[0].reported = true;
    catalog.labels[1].name = "background";
    CHECK_EQUAL(em_wire_info(text, &catalog, "0.1.0"), EM_OK);
    CHECK_TEXT(text, "{\"v\":1,\"firmware\":\"0.1.0\",\"model\":\"m+0000\",\"frontend\":"
                     "\"0123456789abcdef\",\"labels\":[\"smoke_alarm\"],\"thresholds\":"
                     "{\"smoke_alarm\":0.800}}");
    catalog.n_labels = EM_CATALOG_MAX_LABELS;
    for (int i = 0; i < EM_CATALOG_MAX_LABELS; i++) {
        catalog.labels[i].name = "a_label_of_thirty_two_characters";
        catalog.labels[i].reported = true;
    }
    CHECK_EQUAL(em_wire_info(text, &catalog, "0.1.0"), EM_ERR_SIZE);
    CHECK_EQUAL(em_wire_response(text, "id-1", NULL), EM_OK);
    CHECK_TEXT(text, "{\"v\":1,\"id\":\"id-1\",\"ok\":true}");
    CHECK_EQUAL(em_wire_response(text, "id-1", "expired"), EM_OK);
    CHECK_TEXT(text, "{\"v\":1,\"id\":\"id-1\",\"ok\":false,\"error\":\"expired\"}");
}

static em_status_t parse_ack(em_ack_t *ack, const char *text) {
    return em_wire_parse_ack(ack, text, strlen(text));
}

static void test_acks(void) {
    em_ack_t ack;
    CHECK_EQUAL(parse_ack(&ack, "{\"boot\":\"5b1e9c7702aa41d3\",\"upto\":1234,\"seqs\":[1240,7]}"),
                EM_OK);
    CHECK(ack.boot == 0x5b1e9c7702aa41d3);
    CHECK(ack.has_upto);
    CHECK_EQUAL(ack.upto, 1234);
    CHECK_EQUAL(ack.n_seqs, 2);
    CHECK_EQUAL(ack.seqs[0], 1240);
    CHECK_EQUAL(parse_ack(&ack, "{\"boot\":\"5b1e9c7702aa41d3\",\"upto\":null,\"seqs\":[]}"),
                EM_OK);
    CHECK(!ack.has_upto);
    const char *const bad[] = {
        "",
        "{}",
        "{\"boot\":\"5b1e9c7702aa41d3\"}",
        "{\"upto\":1}",
        "{\"boot\":\"5B1e9c7702aa41d3\",\"upto\":1}",
        "{\"boot\":\"5b1e\",\"upto\":1}",
        "{\"boot\":5,\"upto\":1}",
        "{\"boot\":\"5b1e9c7702aa41d3\",\"upto\":-1}",
        "{\"boot\":\"5b1e9c7702aa41d3\",\"upto\":1.5}",
        "{\"boot\":\"5b1e9c7702aa41d3\",\"upto\":4294967296}",
        "{\"boot\":\"5b1e9c7702aa41d3\",\"upto\":1,\"upto\":2}",
        "{\"boot\":\"5b1e9c7702aa41d3\",\"seqs\":1}",
        "{\"boot\":\"5b1e9c7702aa41d3\",\"seqs\":[1,]}",
        "{\"boot\":\"5b1e9c7702aa41d3\",\"seqs\":[\"1\"]}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        CHECK_EQUAL(parse_ack(&ack, bad[i]), EM_ERR_FORMAT);
    }
    char many[600] = "{\"boot\":\"5b1e9c7702aa41d3\",\"seqs\":[1";
    for (int i = 0; i < EM_ACK_MAX_SEQS; i++) {
        strcat(many, ",2");
    }
    strcat(many, "]}");
    CHECK_EQUAL(parse_ack(&ack, many), EM_ERR_FORMAT);
    char large[EM_PAYLOAD_BYTES + 1];
    memset(large, ' ', sizeof large);
    CHECK_EQUAL(em_wire_parse_ack(&ack, large, sizeof large), EM_ERR_FORMAT);
}

static em_status_t parse_command(em_command_t *command, const char *name, const char *text) {
    return em_wire_parse_command(command, name, text, strlen(text));
}

static void test_commands(void) {
    em_command_t c;
    CHECK_EQUAL(parse_command(&c, "cmd/set_threshold",
                              "{\"id\":\"a-1\",\"exp\":1795227818123,\"label\":\"knock\","
                              "\"threshold\":0.7305}"),
                EM_OK);
    CHECK_EQUAL(c.name, EM_COMMAND_SET_THRESHOLD);
    CHECK_TEXT(c.id, "a-1");
    CHECK_TEXT(c.label, "knock");
    CHECK(c.expires_unix_ms == 1795227818123);
    CHECK_EQUAL(c.threshold_milli, 731);
    CHECK_EQUAL(parse_command(&c, "cmd/update",
                              "{\"id\":\"u\",\"exp\":1,\"kind\":\"model\",\"version\":\"1.2\"}"),
                EM_OK);
    CHECK_EQUAL(c.update_kind, EM_UPDATE_MODEL);
    CHECK_EQUAL(parse_command(&c, "cmd/stream_audio", "{\"id\":\"u\",\"exp\":1}"), EM_ERR_ARGUMENT);
    CHECK_EQUAL(parse_command(&c, "rsp/reboot", "{\"id\":\"u\",\"exp\":1}"), EM_ERR_ARGUMENT);
    const struct {
        const char *name, *text;
    } bad[] = {
        {"cmd/reboot", "{\"id\":\"u\"}"},
        {"cmd/reboot", "{\"exp\":1}"},
        {"cmd/reboot", "{\"id\":\"u\",\"exp\":1,\"url\":\"x\"}"},
        {"cmd/reboot", "{\"id\":\"u\",\"exp\":1,\"label\":\"x\"}"},
        {"cmd/reboot", "{\"id\":\"u\",\"id\":\"v\",\"exp\":1}"},
        {"cmd/reboot", "{\"id\":\"u v\",\"exp\":1}"},
        {"cmd/reboot", "{\"id\":\"\",\"exp\":1}"},
        {"cmd/reboot", "{\"id\":\"u\",\"exp\":0}"},
        {"cmd/reboot", "{\"id\":\"u\",\"exp\":1"},
        {"cmd/reboot", "{\"id\":7,\"exp\":1}"},
        {"cmd/update", "{\"id\":\"u\",\"exp\":1,\"kind\":\"audio\",\"version\":\"1\"}"},
        {"cmd/update", "{\"id\":\"u\",\"exp\":1,\"kind\":1,\"version\":\"1\"}"},
        {"cmd/set_threshold", "{\"id\":\"u\",\"exp\":1,\"label\":\"x\",\"threshold\":1.1}"},
        {"cmd/set_threshold", "{\"id\":\"u\",\"exp\":1,\"label\":\"x\",\"threshold\":\"1\"}"},
        {"cmd/set_threshold", "{\"id\":\"u\",\"exp\":1,\"label\":\"x\",\"threshold\":-0.1}"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        CHECK_EQUAL(parse_command(&c, bad[i].name, bad[i].text), EM_ERR_FORMAT);
    }
    char large[EM_PAYLOAD_BYTES + 1];
    memset(large, ' ', sizeof large);
    CHECK_EQUAL(em_wire_parse_command(&c, "cmd/reboot", large, sizeof large), EM_ERR_FORMAT);
    CHECK_TEXT(em_wire_command_name(EM_COMMAND_IDENTIFY), "identify");
}

int main(void) {
    test_topics();
    test_event_is_the_documented_one();
    test_the_longest_messages_fit();
    test_info_and_response();
    test_acks();
    test_commands();
    return 0;
}
