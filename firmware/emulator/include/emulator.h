/* What a program under QEMU can do besides computing: host files, counting instructions.
 *
 * `main` is the program's own; its return value is the exit status. Files lie in the directory that
 * the Python side prepares (earmark_training.deploy.emulator).
 */
#ifndef EARMARK_EMULATOR_H
#define EARMARK_EMULATOR_H

#include <stdint.h>

/* Read at most max_bytes of a host file; the number of bytes, or -1 if it cannot be opened. */
int32_t emulator_read(const char *name, void *to, uint32_t max_bytes);

/* Write a host file; 0, or -1 on failure. */
int32_t emulator_write(const char *name, const void *from, uint32_t n_bytes);

/* Instructions executed since the start, those of emulating MULUH and MULSH left out. Exact to one
 * between two calls. Must be called at least every 800 million instructions (CCOUNT wraps). */
uint64_t emulator_instructions(void);

/* Adds what is executed between the two calls to the named region. Regions may nest; a region that
 * contains others includes them. */
void emulator_region_begin(const char *name);
void emulator_region_end(void);

#endif
