/* A partition full of arbitrary bytes must open, and still keep new events. The input is spread
 * over the sectors as (offset, length, bytes) pieces, with valid records among them. */
#include "earmark/outbox.h"
#include "host_flash.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SECTORS = 6 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static em_outbox_t outbox;
    host_flash_t flash;
    if (host_flash_open(&flash, SECTORS) != EM_OK) {
        abort();
    }
    const em_flash_t port = host_flash_port(&flash);
    em_outbox_open(&outbox, &port);
    em_outbox_begin_boot(&outbox, 7, 7);
    em_report_t report = {.phase = EM_REPORT_ONCE, .critical = true, .label = "smoke_alarm"};
    for (int i = 0; size > 0 && i < data[0] % 100; i++) {
        (void)em_outbox_push(&outbox, &report);
    }
    while (size >= 4) {
        const uint32_t at = (uint32_t)(data[0] | data[1] << 8) % (SECTORS * 4096u);
        const size_t n = data[2] < size - 3 ? data[2] : size - 3;
        for (size_t i = 0; i < n && at + i < SECTORS * 4096u; i++) {
            flash.bytes[at + i] = data[3 + i];
        }
        data += 3 + n;
        size -= 3 + n;
    }
    em_outbox_open(&outbox, &port);
    em_outbox_begin_boot(&outbox, 8, 8);
    if (em_outbox_push(&outbox, &report) != EM_OK || outbox.length > EM_OUTBOX_CAPACITY) {
        abort();
    }
    host_flash_close(&flash);
    return 0;
}
