/* Decides whether a new application image may stay: every check must pass in time, else the boot
 * loader goes back to the one before. An image that was confirmed earlier is never rolled back. */
#ifndef EARMARK_BOOT_CHECK_H
#define EARMARK_BOOT_CHECK_H

#include <stdbool.h>
#include <stdint.h>

enum {
    EM_CHECK_GOLDEN = 1,     /* features and logits are those of the workstation */
    EM_CHECK_MICROPHONE = 2, /* alive: noise floor, no DC, no clipping */
    EM_CHECK_STORAGE = 4,    /* settings and event log open */
    EM_CHECK_BROKER = 8,     /* reached: an image without network could never be replaced */
    EM_CHECK_ALL = 15,
    EM_BOOT_CHECK_LIMIT_MS = 600000 /* a router that restarts with us needs minutes */
};

typedef enum { EM_BOOT_WAITING, EM_BOOT_CONFIRM, EM_BOOT_ROLL_BACK, EM_BOOT_DECIDED } em_boot_t;

typedef struct {
    bool on_trial; /* first boots of a new image */
    bool decided;
    uint32_t passed;
} em_boot_check_t;

void em_boot_check_init(em_boot_check_t *check, bool on_trial);
void em_boot_check_pass(em_boot_check_t *check, uint32_t which);
/* A check that cannot pass any more: roll back at once. */
em_boot_t em_boot_check_fail(em_boot_check_t *check);
/* Call now and then. CONFIRM and ROLL_BACK are each returned once, for the caller to carry out. */
em_boot_t em_boot_check_poll(em_boot_check_t *check, uint64_t up_ms);

#endif
