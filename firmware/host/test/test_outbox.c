/* The outbox and its log: order, full queues, acknowledgement, and a power cut at every operation.
 */
#include "check.h"
#include "earmark/outbox.h"
#include "host_flash.h"

enum { SECTORS = 16 };

static host_flash_t flash;
static em_flash_t port;
static em_outbox_t outbox;

static void begin(uint32_t n_sectors) {
    host_flash_close(&flash);
    CHECK(host_flash_open(&flash, n_sectors) == EM_OK);
    port = host_flash_port(&flash);
    em_outbox_open(&outbox, &port);
    em_outbox_begin_boot(&outbox, 1001, 1);
}

static void reboot(uint32_t boot_n) {
    flash.power_lost = false;
    flash.cut_after = -1;
    em_outbox_open(&outbox, &port);
    em_outbox_begin_boot(&outbox, 1000 + boot_n, boot_n);
}

static em_status_t push(bool critical) {
    em_report_t report = {.phase = EM_REPORT_ONCE,
                          .critical = critical,
                          .dur_ms = EM_DURATION_NONE,
                          .label = "glass_break",
                          .model = "m+0000"};
    return em_outbox_push(&outbox, &report);
}

static void send_all(void) {
    em_outbox_entry_t *entry;
    while ((entry = em_outbox_next(&outbox, 0, EM_OUTBOX_CAPACITY)) != NULL) {
        em_outbox_sent(entry, 0);
    }
}

static void test_events_survive_a_reboot_until_acknowledged(void) {
    begin(SECTORS);
    for (int i = 0; i < 100; i++) {
        CHECK_EQUAL(push(i % 3 == 0), EM_OK);
    }
    reboot(2);
    CHECK_EQUAL(outbox.length, 100);
    CHECK_EQUAL(em_outbox_last_boot_n(&outbox), 1);
    for (uint32_t i = 0; i < 100; i++) {
        CHECK_EQUAL(outbox.entries[i].event.seq, i + 1);
        CHECK_EQUAL(outbox.entries[i].event.critical, i % 3 == 0);
        CHECK_TEXT(outbox.entries[i].event.label, "glass_break");
    }
    /* Nothing that was not sent can be acknowledged. */
    CHECK_EQUAL(em_outbox_acknowledge_upto(&outbox, 1001, 100), 0);
    send_all();
    CHECK_EQUAL(em_outbox_acknowledge_upto(&outbox, 1002, 100), 0);
    CHECK_EQUAL(em_outbox_acknowledge_upto(&outbox, 1001, 60), 60);
    CHECK_EQUAL(em_outbox_acknowledge_one(&outbox, 1001, 70), 1);
    CHECK_EQUAL(em_outbox_acknowledge_one(&outbox, 1001, 70), 0);
    reboot(3);
    CHECK_EQUAL(outbox.length, 39);
    CHECK_EQUAL(outbox.entries[0].event.seq, 61);
}

static void test_a_full_queue_drops_the_oldest_non_critical_event(void) {
    begin(SECTORS);
    for (int i = 0; i < EM_OUTBOX_CAPACITY; i++) {
        CHECK_EQUAL(push(i >= 2), EM_OK);
    }
    CHECK_EQUAL(push(true), EM_OK);
    CHECK_EQUAL(outbox.dropped, 1);
    CHECK_EQUAL(outbox.entries[0].event.seq, 2);
    CHECK_EQUAL(push(false), EM_OK);
    CHECK_EQUAL(outbox.dropped, 2);
    CHECK_EQUAL(outbox.entries[EM_OUTBOX_CAPACITY - 1].event.seq, EM_OUTBOX_CAPACITY + 2);
    CHECK_EQUAL(push(true), EM_OK); /* takes the place of the one just pushed */
    CHECK_EQUAL(push(true), EM_ERR_FULL);
    CHECK_EQUAL(outbox.dropped_critical, 1);
    CHECK_EQUAL(push(false), EM_ERR_FULL);
    CHECK_EQUAL(outbox.dropped, 4);
    CHECK_EQUAL(outbox.high_water, EM_OUTBOX_CAPACITY);
    reboot(2);
    CHECK_EQUAL(outbox.length, EM_OUTBOX_CAPACITY);
    CHECK_EQUAL(outbox.entries[0].event.seq, 3);
}

static void test_a_full_log_keeps_critical_events(void) {
    begin(6); /* room for 62 records */
    for (int i = 0; i < 62; i++) {
        CHECK_EQUAL(push(i % 2 == 0), EM_OK);
    }
    CHECK_EQUAL(outbox.log_full, 0);
    for (int i = 0; i < 40; i++) {
        CHECK_EQUAL(push(true), EM_OK);
    }
    CHECK_EQUAL(push(false), EM_OK);
    CHECK_EQUAL(outbox.log_full, 41);
    CHECK_EQUAL(outbox.length, 103); /* all of them are still in RAM */
    reboot(2);
    CHECK_EQUAL(outbox.length, 62);
    for (uint32_t i = 0; i < outbox.length; i++) {
        CHECK(outbox.entries[i].event.critical);
    }
    CHECK_EQUAL(flash.n_rule_violations, 0);
}

static void test_without_flash_events_live_in_ram(void) {
    em_outbox_open(&outbox, NULL);
    em_outbox_begin_boot(&outbox, 1, 1);
    CHECK_EQUAL(push(true), EM_OK);
    CHECK_EQUAL(outbox.length, 1);
    CHECK_EQUAL(outbox.log_errors, 2);
    CHECK_EQUAL(em_outbox_erase(&outbox), EM_OK);
    begin(SECTORS);
    CHECK_EQUAL(push(true), EM_OK);
    flash.fail_writes = true;
    CHECK_EQUAL(push(true), EM_OK);
    CHECK_EQUAL(outbox.log_errors, 1);
    send_all();
    CHECK_EQUAL(em_outbox_acknowledge_upto(&outbox, 1001, 2), 2);
    CHECK_EQUAL(outbox.log_errors, 2);
    CHECK_EQUAL(em_outbox_erase(&outbox), EM_ERR_IO);
    begin(3); /* too small to be a log */
    CHECK_EQUAL(outbox.log_errors, 1);
}

static void test_retries_back_off_and_critical_events_go_first(void) {
    begin(SECTORS);
    for (int i = 0; i < 4; i++) {
        push(i == 3);
    }
    em_outbox_entry_t *entry = em_outbox_next(&outbox, 0, 2);
    CHECK_EQUAL(entry->event.seq, 4);
    em_outbox_sent(entry, 0);
    entry = em_outbox_next(&outbox, 0, 2);
    CHECK_EQUAL(entry->event.seq, 1);
    em_outbox_sent(entry, 0);
    CHECK(em_outbox_next(&outbox, 0, 2) == NULL); /* the window is full */
    CHECK(em_outbox_next(&outbox, 29999, 2) == NULL);
    entry = em_outbox_next(&outbox, 30000, 2);
    CHECK_EQUAL(entry->event.seq, 4);
    em_outbox_sent(entry, 30000);
    em_outbox_sent(em_outbox_next(&outbox, 30000, 2), 30000);
    CHECK(em_outbox_next(&outbox, 30000 + 59999, 2) == NULL);
    CHECK(em_outbox_next(&outbox, 30000 + 60000, 2) != NULL);
    for (int i = 0; i < 300; i++) {
        em_outbox_sent(&outbox.entries[3], 0);
    }
    CHECK_EQUAL(outbox.entries[3].attempts, UINT8_MAX);
    em_outbox_resend_all(&outbox);
    CHECK_EQUAL(em_outbox_in_flight(&outbox), 0);
}

static void test_factory_reset_forgets_everything(void) {
    begin(SECTORS);
    push(true);
    CHECK_EQUAL(em_outbox_erase(&outbox), EM_OK);
    reboot(2);
    CHECK_EQUAL(outbox.length, 0);
}

/* A long run on a small ring: most events are acknowledged at once, some only after about as many
 * events as the ring has slots, so that live records are moved, and acknowledged soon after it. The
 * arrays say what was accepted and what was acknowledged before the power went. */
enum {
    RUN_EVENTS = 420,
    RUN_SECTORS = 8,
    LATE = 205,
    VERY_LATE = 280,
    AFTERWARDS = 300,
    TEARS = 24
};
static bool accepted[RUN_EVENTS + 1], acknowledged[RUN_EVENTS + 1], marking[RUN_EVENTS + 1];

static void acknowledge(uint32_t seq) {
    marking[seq] = true;
    if (em_outbox_acknowledge_one(&outbox, 1001, seq) && !flash.power_lost) {
        acknowledged[seq] = true;
    }
}

static void long_run(void) {
    memset(accepted, 0, sizeof accepted);
    memset(acknowledged, 0, sizeof acknowledged);
    memset(marking, 0, sizeof marking);
    for (uint32_t seq = 1; seq <= RUN_EVENTS && !flash.power_lost; seq++) {
        accepted[seq] = push(seq % 4 != 0) == EM_OK && !flash.power_lost;
        send_all();
        const bool late = seq % 3 == 0, very_late = seq % 7 == 0;
        if (!late && !very_late && !flash.power_lost) {
            acknowledge(seq);
        }
        if (seq > LATE && (seq - LATE) % 3 == 0 && !flash.power_lost) {
            acknowledge(seq - LATE);
        }
        if (seq > VERY_LATE && (seq - VERY_LATE) % 7 == 0 && !flash.power_lost) {
            acknowledge(seq - VERY_LATE);
        }
    }
}

static void check_after_cut(void) {
    bool present[RUN_EVENTS + 1] = {false};
    for (uint32_t i = 0; i < outbox.length; i++) {
        const em_report_t *event = &outbox.entries[i].event;
        if (event->boot != 1001) {
            continue;
        }
        CHECK(event->seq >= 1 && event->seq <= RUN_EVENTS);
        CHECK(!present[event->seq]);
        present[event->seq] = true;
    }
    for (uint32_t seq = 1; seq <= RUN_EVENTS; seq++) {
        CHECK(!(acknowledged[seq] && present[seq]));
        CHECK(!(accepted[seq] && !marking[seq] && !present[seq]));
    }
}

static void acknowledge_some(uint32_t cut) {
    send_all();
    for (uint32_t seq = 1 + cut % 3; seq <= RUN_EVENTS; seq += 3) {
        acknowledge(seq);
    }
}

/* Life goes on after the cut: the ring comes round once more. */
static void go_on(void) {
    for (uint32_t i = 0; i < AFTERWARDS; i++) {
        CHECK_EQUAL(push(true), EM_OK);
        CHECK(outbox.entries[outbox.length - 1].slot != EM_SLOT_NONE);
        send_all();
        CHECK_EQUAL(em_outbox_acknowledge_one(&outbox, outbox.boot, i + 1), 1);
    }
    CHECK_EQUAL(outbox.log_errors, 0);
}

static bool cut_once(uint32_t cut, uint32_t seed) {
    begin(RUN_SECTORS);
    flash.cut_after = cut;
    flash.tear_seed = seed;
    long_run();
    const bool torn_erase = flash.torn_erase;
    reboot(2);
    check_after_cut();
    acknowledge_some(cut);
    reboot(3);
    check_after_cut();
    go_on();
    reboot(4);
    check_after_cut();
    CHECK_EQUAL(flash.n_rule_violations, 0);
    return torn_erase;
}

static void test_power_cut_at_every_operation(uint32_t seed) {
    begin(RUN_SECTORS);
    long_run();
    const uint32_t n_operations = flash.n_operations;
    CHECK(n_operations > 1000);
    CHECK(flash.n_erases > RUN_SECTORS);
    for (uint32_t cut = 0; cut < n_operations; cut++) {
        /* What an interrupted erase leaves is the most varied: try it many times. */
        if (cut_once(cut, seed * 7919 + cut)) {
            for (uint32_t tear = 1; tear < TEARS; tear++) {
                (void)cut_once(cut, seed * 7919 + cut + tear * 104729);
            }
        }
    }
}

/* Cuts while recovering from cuts: the log must never become unusable or lose a live record. */
static void test_power_cuts_in_a_row(void) {
    uint32_t boot_n = 1, kept = 0;
    begin(SECTORS);
    for (int i = 0; i < 100; i++) {
        push(true);
    }
    kept = outbox.length;
    for (uint32_t round = 0; round < 2000; round++) {
        flash.cut_after = round % 9;
        flash.tear_seed = round;
        for (int i = 0; i < 20 && !flash.power_lost; i++) {
            if (push(false) == EM_OK && !flash.power_lost) {
                send_all();
                em_outbox_acknowledge_one(&outbox, outbox.boot, outbox.next_seq - 1);
            }
        }
        boot_n++;
        flash.power_lost = false;
        flash.cut_after =
            round % 5 == 0 ? (int64_t)(round % 3) : -1; /* sometimes while mounting, too */
        em_outbox_open(&outbox, &port);
        reboot(boot_n);
        uint32_t critical = 0;
        for (uint32_t i = 0; i < outbox.length; i++) {
            critical += outbox.entries[i].event.critical;
            CHECK(outbox.entries[i].event.critical ||
                  outbox.entries[i].event.boot_n == boot_n - 1 || outbox.length < 256);
        }
        CHECK_EQUAL(critical, kept);
        send_all();
        for (uint32_t old = 2; old < boot_n; old++) {
            em_outbox_acknowledge_upto(&outbox, 1000 + old, UINT32_MAX);
        }
    }
    CHECK_EQUAL(flash.n_rule_violations, 0);
}

int main(int argc, char **argv) {
    test_events_survive_a_reboot_until_acknowledged();
    test_a_full_queue_drops_the_oldest_non_critical_event();
    test_a_full_log_keeps_critical_events();
    test_without_flash_events_live_in_ram();
    test_retries_back_off_and_critical_events_go_first();
    test_factory_reset_forgets_everything();
    test_power_cut_at_every_operation(argc > 1 ? (uint32_t)atoi(argv[1]) : 1);
    test_power_cuts_in_a_row();
    host_flash_close(&flash);
    return 0;
}
