/* Carries out commands: expiry, replay, bounds. The broker has authenticated the sender (TLS
 * identity, ACL on cmd/#). No command takes or returns anything that could be audio. */
#ifndef EARMARK_COMMANDS_H
#define EARMARK_COMMANDS_H

#include "earmark/ports.h"
#include "earmark/wire.h"

enum { EM_COMMAND_MEMORY = 8 };

/* What commands can make the device do. Each returns NULL or a short word for the error. */
typedef struct {
    void *context;
    const char *(*identify)(void *context);
    const char *(*self_test)(void *context);
    const char *(*set_threshold)(void *context, uint8_t label, uint16_t milli);
    const char *(*reboot)(void *context);
    const char *(*update)(void *context, em_update_kind_t kind, const char *version);
} em_actions_t;

typedef struct {
    struct {
        char id[EM_COMMAND_ID_CHARS + 1];
        const char *error;
    } done[EM_COMMAND_MEMORY]; /* ring: a repeated id gets the first answer and no second action */
    uint32_t n_done;
} em_commands_t;

/* Returns NULL or the error word. A command whose id was seen is not carried out again. */
const char *em_commands_execute(em_commands_t *commands, const em_command_t *command,
                                const em_catalog_t *catalog, const em_clock_t *clock,
                                const em_actions_t *actions);

#endif
