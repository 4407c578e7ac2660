/* Acknowledgements and commands: the first byte chooses the parser. */
#include "earmark/wire.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const SUFFIXES[] = {"cmd/identify", "cmd/self_test", "cmd/set_threshold",
                                           "cmd/reboot",   "cmd/update",    "cmd/other"};
    if (size == 0) {
        return 0;
    }
    const char *text = (const char *)data + 1;
    em_ack_t ack;
    em_command_t command;
    if (data[0] % 7 == 6) {
        if (em_wire_parse_ack(&ack, text, size - 1) == EM_OK && ack.n_seqs > EM_ACK_MAX_SEQS) {
            abort();
        }
    } else if (em_wire_parse_command(&command, SUFFIXES[data[0] % 7], text, size - 1) == EM_OK) {
        if (command.id[0] == '\0' || command.threshold_milli > 1000) {
            abort();
        }
    }
    return 0;
}
