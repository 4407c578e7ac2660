/* The first byte chooses the command, as the topic does. */
#include "earmark/wire.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const SUFFIXES[] = {"cmd/identify", "cmd/self_test", "cmd/set_threshold",
                                           "cmd/reboot",   "cmd/update",    "cmd/other"};
    if (size == 0) {
        return 0;
    }
    em_command_t command;
    const em_status_t status =
        em_wire_parse_command(&command, SUFFIXES[data[0] % 6], (const char *)data + 1, size - 1);
    if (memchr(command.id, 0, sizeof command.id) == NULL ||
        memchr(command.label, 0, sizeof command.label) == NULL ||
        memchr(command.version, 0, sizeof command.version) == NULL) {
        abort();
    }
    if (status == EM_OK && (command.id[0] == '\0' || command.expires_unix_ms < 1 ||
                            command.threshold_milli > 1000 || data[0] % 6 == 5)) {
        abort();
    }
    return 0;
}
