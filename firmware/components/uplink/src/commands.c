#include "earmark/commands.h"

#include <string.h>

static const char *set_threshold(const em_command_t *command, const em_catalog_t *catalog,
                                 const em_actions_t *actions) {
    for (uint8_t i = 0; i < catalog->n_labels; i++) {
        if (strcmp(catalog->labels[i].name, command->label) == 0) {
            if (command->threshold_milli < catalog->labels[i].min_milli ||
                command->threshold_milli > catalog->labels[i].max_milli) {
                return "out_of_bounds";
            }
            return actions->set_threshold(actions->context, i, command->threshold_milli);
        }
    }
    return "unknown_label";
}

static const char *carry_out(const em_command_t *command, const em_catalog_t *catalog,
                             const em_actions_t *actions) {
    switch (command->name) {
    case EM_COMMAND_IDENTIFY:
        return actions->identify(actions->context);
    case EM_COMMAND_SELF_TEST:
        return actions->self_test(actions->context);
    case EM_COMMAND_SET_THRESHOLD:
        return set_threshold(command, catalog, actions);
    case EM_COMMAND_REBOOT:
        return actions->reboot(actions->context);
    case EM_COMMAND_UPDATE:
        return actions->update(actions->context, command->update_kind, command->version);
    }
    return "unknown_command";
}

const char *em_commands_execute(em_commands_t *commands, const em_command_t *command,
                                const em_catalog_t *catalog, const em_clock_t *clock,
                                const em_actions_t *actions) {
    for (uint32_t i = 0; i < EM_COMMAND_MEMORY && i < commands->n_done; i++) {
        if (strcmp(commands->done[i].id, command->id) == 0) {
            return commands->done[i].error;
        }
    }
    int64_t now_unix_ms;
    uint64_t set_age_ms;
    const char *error;
    if (!clock->wall_ms(clock->context, &now_unix_ms, &set_age_ms)) {
        return "clock_unset"; /* an old command could not be told from a new one */
    }
    if (command->expires_unix_ms < now_unix_ms) {
        return "expired";
    }
    error = carry_out(command, catalog, actions);
    const uint32_t at = commands->n_done++ % EM_COMMAND_MEMORY;
    memcpy(commands->done[at].id, command->id, sizeof command->id);
    commands->done[at].error = error;
    return error;
}
