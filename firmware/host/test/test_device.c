/* The device core: what it says, obeys, remembers; and its behaviour for each fault. */
#include "check.h"
#include "rig.h"

static rig_t rig;

static void begin(void) {
    rig_close(&rig);
    rig_open(&rig);
}

static bool said(const char *text) {
    return strstr(rig.last_payload, text) != NULL;
}

static bool told(const char *text) {
    return strstr(rig.last_event, text) != NULL;
}

/* Runs until the next health message and leaves it in last_payload. */
static void next_health(void) {
    bool found = false;
    for (int i = 0; i < 2000 && !found; i++) {
        rig_run(&rig, 100);
        found = strstr(rig.last_topic, "/health") != NULL;
    }
    CHECK(found);
    rig.last_topic[0] = '\0';
}

static void hear_microphone(uint32_t flags) {
    const em_audio_status_t status = {.heard = true, .noise_dbfs = -63, .mic_flags = flags};
    em_handover_report(&rig.handover, &status);
}

static void test_states_are_explicit(void) {
    begin();
    CHECK_EQUAL(rig.device.state, EM_STATE_CONNECTING);
    em_device_set_connected(&rig.device, true);
    rig_run(&rig, 100);
    CHECK_EQUAL(rig.device.state, EM_STATE_ONLINE);
    em_device_set_connected(&rig.device, false);
    rig_run(&rig, 100);
    CHECK_EQUAL(rig.device.state, EM_STATE_OFFLINE);
    em_device_set_updating(&rig.device, true);
    rig_run(&rig, 100);
    CHECK_EQUAL(rig.device.state, EM_STATE_UPDATING);
    em_device_set_self_test(&rig.device, false);
    rig_run(&rig, 100);
    CHECK_EQUAL(rig.device.state, EM_STATE_FAULT);
    em_device_set_self_test(&rig.device, true);
    em_device_set_updating(&rig.device, false);
    rig.device.config.provisioned = false;
    rig_run(&rig, 100);
    CHECK_EQUAL(rig.device.state, EM_STATE_UNPROVISIONED);
    CHECK_EQUAL(rig.n_state_changes, 5);
    for (int state = 0; state <= EM_STATE_FAULT; state++) {
        CHECK(em_device_state_name((em_device_state_t)state)[0] != '\0');
    }
}

static void test_an_event_is_told_until_acknowledged(void) {
    begin();
    rig_hear(&rig, RIG_SMOKE, EM_REPORT_START, 7);
    rig_run(&rig, 1000);
    CHECK_EQUAL(rig.device.outbox.length, 1); /* offline: kept */
    em_device_set_connected(&rig.device, true);
    rig_run(&rig, 100);
    CHECK_TEXT(rig.last_topic, "earmark/v1/4f0c9a1b22d3/event");
    CHECK(told("\"event_type\":\"smoke_alarm\",\"phase\":\"start\""));
    CHECK(told("\"dur_ms\":null"));
    CHECK(told("\"late\":false"));
    const uint64_t messages = rig.n_messages;
    rig_run(&rig, 29000);
    CHECK_EQUAL(rig.device.outbox.length, 1);
    rig_ack(&rig, rig.device.outbox.boot + 1, 1); /* another boot: not ours */
    CHECK_EQUAL(rig.device.outbox.length, 1);
    rig_run(&rig, 2000); /* told again after 30 s */
    CHECK(rig.n_messages > messages);
    rig_ack(&rig, rig.device.outbox.boot, 1);
    CHECK_EQUAL(rig.device.outbox.length, 0);
}

static void test_a_long_past_event_is_late_and_keeps_its_time(void) {
    begin();
    rig.clock_set = false;
    rig_run(&rig, 5000);
    rig_hear(&rig, RIG_KNOCK, EM_REPORT_ONCE, 1);
    rig_run(&rig, 95000);
    CHECK(!rig.device.outbox.entries[0].event.has_wall);
    rig.clock_set = true;
    em_device_set_connected(&rig.device, true);
    rig_run(&rig, 100);
    CHECK(told("\"late\":true"));
    CHECK(told("\"up_ms\":5000,\"ts\":1795000005000,\"sync\":true")); /* completed afterwards */
    CHECK(told("\"dur_ms\":1200"));
}

static void test_detections_without_a_label_are_counted(void) {
    begin();
    rig_hear(&rig, 200, EM_REPORT_ONCE, 1);
    rig_run(&rig, 100);
    CHECK_EQUAL(rig.device.unknown_labels, 1);
    CHECK_EQUAL(rig.device.outbox.length, 0);
}

static void test_commands(void) {
    static const char LONG_AGO[] = "{\"id\":\"a\",\"exp\":1000}";
    static const char VALID[] = "{\"id\":\"b\",\"exp\":1895000000000}";
    begin();
    em_device_set_connected(&rig.device, true);
    rig_run(&rig, 100);
    rig_command(&rig, "identify", LONG_AGO);
    rig_run(&rig, 100);
    CHECK(said("\"id\":\"a\",\"ok\":false,\"error\":\"expired\""));
    CHECK_TEXT(rig.last_topic, "earmark/v1/4f0c9a1b22d3/rsp/identify");
    rig_command(&rig, "identify", VALID);
    rig_command(&rig, "identify", VALID); /* repeated by the broker */
    rig_run(&rig, 100);
    CHECK_EQUAL(rig.n_identify, 1);
    CHECK(said("\"id\":\"b\",\"ok\":true"));
    rig_command(&rig, "self_test", "{\"id\":\"c\",\"exp\":1895000000000}");
    rig_command(&rig, "reboot", "{\"id\":\"d\",\"exp\":1895000000000}");
    rig.update_error = "no_memory";
    rig_command(&rig, "update",
                "{\"id\":\"e\",\"exp\":1895000000000,\"kind\":\"application\","
                "\"version\":\"1.2.3\"}");
    rig_run(&rig, 100);
    CHECK(said("\"error\":\"no_memory\""));
    CHECK_EQUAL(rig.n_self_test + rig.n_reboot + rig.n_update, 3);
    em_device_set_updating(&rig.device, true);
    rig_command(&rig, "update",
                "{\"id\":\"f\",\"exp\":1895000000000,\"kind\":\"model\","
                "\"version\":\"1.2.3\"}");
    rig_run(&rig, 100);
    CHECK(said("\"error\":\"busy\""));
    rig_command(&rig, "reboot", "{\"id\":\"g\",\"exp\":1895000000000,\"x\":1}");
    rig_run(&rig, 100);
    CHECK(said("\"error\":\"bad_request\""));
    rig.clock_set = false;
    rig_command(&rig, "reboot", "{\"id\":\"h\",\"exp\":1895000000000}");
    rig_run(&rig, 100);
    CHECK(said("\"error\":\"clock_unset\""));
    CHECK_EQUAL(rig.n_reboot, 1);
    const uint64_t messages = rig.n_messages;
    rig_command(&rig, "send_audio", VALID);
    rig_command(&rig, "reboot", "nonsense");
    em_device_receive(&rig.device, "earmark/v1/other/cmd/reboot", VALID, strlen(VALID));
    em_device_receive(&rig.device, "earmark/v1/4f0c9a1b22d3/ack", "{}", 2);
    rig_run(&rig, 100);
    CHECK_EQUAL(rig.n_messages, messages);
    CHECK_EQUAL(rig.device.uplink.n_bad_messages, 5);
    for (int i = 0; i < 2 * EM_UPLINK_RESPONSES; i++) { /* more than answers are kept for */
        rig_command(&rig, "identify", VALID);
    }
    CHECK_EQUAL(rig.device.uplink.n_responses, EM_UPLINK_RESPONSES);
}

static void test_thresholds_stay_within_bounds_and_survive(void) {
    begin();
    em_device_set_connected(&rig.device, true);
    rig_command(&rig, "set_threshold",
                "{\"id\":\"a\",\"exp\":1895000000000,\"label\":\"knock\",\"threshold\":0.2}");
    rig_run(&rig, 100);
    CHECK(said("\"error\":\"out_of_bounds\""));
    rig_command(&rig, "set_threshold",
                "{\"id\":\"b\",\"exp\":1895000000000,\"label\":\"music\",\"threshold\":0.5}");
    rig_run(&rig, 100);
    CHECK(said("\"error\":\"unknown_label\""));
    rig_command(&rig, "set_threshold",
                "{\"id\":\"c\",\"exp\":1895000000000,\"label\":\"knock\",\"threshold\":0.7}");
    rig_run(&rig, 100);
    CHECK_EQUAL(atomic_load(&rig.handover.threshold_milli[RIG_KNOCK]), 700);
    rig_boot(&rig);
    CHECK_EQUAL(atomic_load(&rig.handover.threshold_milli[RIG_KNOCK]), 700);
    CHECK_EQUAL(rig.device.catalog.labels[RIG_KNOCK].threshold_milli, 700);
    em_device_set_connected(&rig.device, true);
    rig.network_full = true;
    rig_run(&rig, 1000);
    rig.network_full = false;
    rig.catalog.model = "em-2.0.0+ffff"; /* another model: its own calibration */
    rig_boot(&rig);
    CHECK_EQUAL(rig.device.catalog.labels[RIG_KNOCK].threshold_milli, 600);
    em_handover_set_threshold(&rig.handover, 99, 500); /* ignored */
}

static void test_factory_reset(void) {
    begin();
    rig_hear(&rig, RIG_SMOKE, EM_REPORT_ONCE, 1);
    rig_run(&rig, 100);
    CHECK_EQUAL(em_device_factory_reset(&rig.device), EM_OK);
    rig_boot(&rig);
    CHECK_EQUAL(rig.device.outbox.length, 0);
    CHECK_EQUAL(rig.kv.n_entries, 1); /* the new boot counter */
    rig.flash.fail_writes = true;
    CHECK_EQUAL(em_device_factory_reset(&rig.device), EM_ERR_IO);
}

static void test_the_end_is_said(void) {
    begin();
    CHECK_EQUAL(em_uplink_stop(&rig.device.uplink), EM_ERR_STATE);
    const em_message_t will = em_uplink_will(&rig.device.uplink);
    CHECK_TEXT(will.payload, "offline");
    CHECK(will.retain && will.qos == 1);
    em_device_set_connected(&rig.device, true);
    CHECK_EQUAL(em_uplink_stop(&rig.device.uplink), EM_OK);
    CHECK_TEXT(rig.last_payload, "stopped");
}

/* Faults: each has a stated behaviour (docs/firmware.md) and a health flag. */
static void test_microphone_faults_are_told(void) {
    static const struct {
        uint32_t flag;
        const char *name;
    } FAULTS[] = {{EM_MIC_SILENT, "mic_silent"},
                  {EM_MIC_DC, "mic_dc"},
                  {EM_MIC_NO_FLOOR, "mic_no_floor"},
                  {EM_MIC_CLIPPING, "mic_clipping"}};
    begin();
    em_device_set_connected(&rig.device, true);
    next_health();
    CHECK(said("\"mic_ok\":false") && said("\"noise_dbfs\":null"));
    hear_microphone(0);
    next_health();
    CHECK(said("\"mic_ok\":true,\"noise_dbfs\":-63") && said("\"flags\":[]"));
    CHECK(said("\"heap_min\":54321") && said("\"rssi\":-61"));
    for (size_t i = 0; i < 4; i++) {
        hear_microphone(FAULTS[i].flag);
        next_health();
        CHECK(said("\"mic_ok\":false") && said(FAULTS[i].name));
    }
}

static void test_clock_never_set(void) {
    begin();
    rig.clock_set = false;
    em_device_set_connected(&rig.device, true);
    rig_hear(&rig, RIG_SMOKE, EM_REPORT_ONCE, 1);
    rig_run(&rig, 100);
    CHECK(told("\"ts\":null,\"sync\":false"));
    next_health();
    CHECK(said("clock_unset"));
    rig.clock_set = true;
    rig.clock_age_ms = 25 * 3600 * 1000ull; /* set, but too long ago to be called in step */
    rig_hear(&rig, RIG_SMOKE, EM_REPORT_ONCE, 2);
    rig_run(&rig, 100);
    CHECK(told("\"sync\":false") && !told("\"ts\":null"));
}

static void test_corrupted_settings(void) {
    begin();
    rig_hear(&rig, RIG_SMOKE, EM_REPORT_ONCE, 1);
    rig_run(&rig, 100);
    rig.kv.corrupt = true;
    rig_boot(&rig);
    /* The counter goes on from the event log: the gateway must not take us for a replay. */
    CHECK_EQUAL(rig.device.outbox.boot_n, 2);
    CHECK_EQUAL(rig.device.outbox.length, 1);
    em_device_set_connected(&rig.device, true);
    next_health();
    CHECK(said("kv_lost"));
    rig_boot(&rig);
    CHECK_EQUAL(rig.device.outbox.boot_n, 3);
    CHECK(!rig.device.kv_lost);
    rig.kv.fail_writes = true;
    rig_boot(&rig);
    CHECK(rig.device.kv_lost);
}

static void test_broken_and_full_flash(void) {
    begin();
    rig.flash.fail_writes = true;
    em_device_set_connected(&rig.device, true);
    rig_hear(&rig, RIG_SMOKE, EM_REPORT_ONCE, 1);
    rig_run(&rig, 100);
    CHECK(told("smoke_alarm")); /* told all the same */
    next_health();
    CHECK(said("log_failed"));
    rig.device.outbox.log_full = 1;
    next_health();
    CHECK(said("log_full"));
}

static void test_refused_certificate(void) {
    begin();
    em_device_certificate_refused(&rig.device);
    rig_run(&rig, 60000);
    CHECK_EQUAL(rig.device.state, EM_STATE_CONNECTING); /* listens, keeps, tries again */
    em_device_set_connected(&rig.device, true);
    next_health();
    CHECK(said("certificate"));
    next_health();
    CHECK(!said("certificate"));
}

static void test_a_gateway_that_never_acknowledges(void) {
    begin();
    em_device_set_connected(&rig.device, true);
    for (uint32_t i = 0; i < 20; i++) {
        rig_hear(&rig, RIG_KNOCK, EM_REPORT_ONCE, i);
    }
    rig_run(&rig, 1000);
    CHECK_EQUAL(em_outbox_in_flight(&rig.device.outbox), EM_UPLINK_MAX_IN_FLIGHT);
    rig_hear(&rig, RIG_SMOKE, EM_REPORT_ONCE, 99);
    rig_run(&rig, 1000);
    CHECK(told("smoke_alarm")); /* does not wait behind the others */
    rig_run(&rig, 150000);
    next_health();
    CHECK(said("gateway_silent"));
    rig_ack(&rig, rig.device.outbox.boot, 21);
    next_health();
    CHECK(!said("gateway_silent"));
}

static void test_overruns_are_shown_for_a_minute(void) {
    const em_audio_status_t status = {.heard = true, .overruns = 3, .inference_p99_ms = 96};
    begin();
    em_device_set_connected(&rig.device, true);
    em_handover_report(&rig.handover, &status);
    next_health();
    CHECK(said("\"overruns\":3") && said("\"overrun\"") && said("\"inf_p99_ms\":96"));
    next_health();
    CHECK(said("\"overruns\":3") && !said("\"overrun\""));
    em_device_set_self_test(&rig.device, false);
    next_health();
    CHECK(said("\"state\":\"fault\"") && said("\"self_test\""));
}

/* Flash and network may stop the device task for seconds; the audio side does not wait for it. */
static void test_a_stall_of_three_seconds_loses_nothing(void) {
    begin();
    for (uint32_t i = 0; i < 30; i++) {
        rig.now_up_ms += 100;
        rig_hear(&rig, RIG_KNOCK, EM_REPORT_ONCE, i);
    }
    rig_run(&rig, 100);
    CHECK_EQUAL(rig.device.outbox.length, 30);
    CHECK_EQUAL(em_handover_lost(&rig.handover), 0);
}

static void test_mute_is_told(void) {
    begin();
    em_device_set_connected(&rig.device, true);
    em_device_set_muted(&rig.device, true);
    CHECK(em_handover_muted(&rig.handover));
    next_health();
    CHECK(said("\"muted\""));
    em_device_set_muted(&rig.device, false);
    next_health();
    CHECK(!said("\"muted\""));
}

/* An event a second for two hours, a gateway that acknowledges: the budget holds in every window.
 */
static void test_egress_stays_below_the_lowest_speech_codec(void) {
    enum { HOURS = 2, SECONDS = HOURS * 3600 };
    begin();
    em_device_set_connected(&rig.device, true);
    hear_microphone(0);
    for (uint32_t second = 0; second < SECONDS; second++) {
        rig_hear(&rig, second % 2 ? RIG_SMOKE : RIG_KNOCK, EM_REPORT_ONCE, second);
        rig_run(&rig, 1000);
        rig_ack(&rig, rig.device.outbox.boot, UINT32_MAX);
    }
    CHECK(rig.charged_bytes <= EM_EGRESS_BURST_BYTES + (uint64_t)SECONDS * EM_EGRESS_BYTES_PER_S);
    CHECK(rig.charged_bytes * 8 < 700ull * SECONDS);
    CHECK(rig.charged_bytes * 8 > 500ull * SECONDS); /* the budget, not an idle device */
    CHECK(rig.device.outbox.dropped > 0);
}

/* Negative control: without the bucket the same storm would be four times over the budget. */
static void test_the_budget_is_what_limits_it(void) {
    begin();
    em_device_set_connected(&rig.device, true);
    for (uint32_t second = 0; second < 3600; second++) {
        rig_hear(&rig, RIG_SMOKE, EM_REPORT_ONCE, second);
        rig.device.uplink.bucket.level_milli = EM_EGRESS_BURST_BYTES * 1000ull;
        rig_run(&rig, 1000);
        rig_ack(&rig, rig.device.outbox.boot, UINT32_MAX);
    }
    CHECK(rig.charged_bytes * 8 > 700ull * 3600);
}

/* A command a second asks for twice the budget in answers; what is heard goes first. */
static void test_a_flood_of_commands_holds_up_no_event(void) {
    begin();
    em_device_set_connected(&rig.device, true);
    for (uint32_t second = 0; second < 600; second++) {
        char payload[64];
        snprintf(payload, sizeof payload, "{\"id\":\"f%u\",\"exp\":1895000000000}",
                 (unsigned)second);
        rig_command(&rig, "identify", payload);
        if (second % 10 == 0) {
            rig_hear(&rig, RIG_KNOCK, EM_REPORT_ONCE, second);
        }
        rig_run(&rig, 1000);
        rig_ack(&rig, rig.device.outbox.boot, UINT32_MAX);
        CHECK(rig.device.outbox.length <= 1);
    }
    CHECK(rig.n_identify > 100); /* commands are obeyed all the same */
}

int main(void) {
    test_states_are_explicit();
    test_an_event_is_told_until_acknowledged();
    test_a_long_past_event_is_late_and_keeps_its_time();
    test_detections_without_a_label_are_counted();
    test_commands();
    test_thresholds_stay_within_bounds_and_survive();
    test_factory_reset();
    test_the_end_is_said();
    test_microphone_faults_are_told();
    test_clock_never_set();
    test_corrupted_settings();
    test_broken_and_full_flash();
    test_refused_certificate();
    test_a_gateway_that_never_acknowledges();
    test_overruns_are_shown_for_a_minute();
    test_a_stall_of_three_seconds_loses_nothing();
    test_mute_is_told();
    test_egress_stays_below_the_lowest_speech_codec();
    test_the_budget_is_what_limits_it();
    test_a_flood_of_commands_holds_up_no_event();
    rig_close(&rig);
    return 0;
}
