#include "earmark/boot_check.h"

void em_boot_check_init(em_boot_check_t *check, bool on_trial) {
    *check = (em_boot_check_t){.on_trial = on_trial, .decided = !on_trial};
}

void em_boot_check_pass(em_boot_check_t *check, uint32_t which) {
    check->passed |= which;
}

em_boot_t em_boot_check_fail(em_boot_check_t *check) {
    if (check->decided) {
        return EM_BOOT_DECIDED;
    }
    check->decided = true;
    return EM_BOOT_ROLL_BACK;
}

em_boot_t em_boot_check_poll(em_boot_check_t *check, uint64_t up_ms) {
    if (check->decided) {
        return EM_BOOT_DECIDED;
    }
    if (check->passed == EM_CHECK_ALL) {
        check->decided = true;
        return EM_BOOT_CONFIRM;
    }
    return up_ms >= EM_BOOT_CHECK_LIMIT_MS ? em_boot_check_fail(check) : EM_BOOT_WAITING;
}
