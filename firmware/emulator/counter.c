/* Semihosting files and exact instruction counts.
 *
 * Under `-icount shift=7` one instruction takes 128 ns of virtual time and CCOUNT runs at 40 MHz:
 * 5.12 ticks per instruction, the same in every run.
 */
#include "emulator.h"

#include <stddef.h>

enum { SYS_EXIT = 1, SYS_READ = 3, SYS_WRITE = 4, SYS_OPEN = 5, SYS_CLOSE = 6 };
enum { OPEN_READ = 0, OPEN_WRITE_NEW = 0x241, FILE_MODE = 0644 }; /* Linux numbers, as QEMU */
enum { MAX_REGIONS = 256, MAX_DEPTH = 16, NAME_BYTES = 48, SAVED_COUNT = 16 };

int em_semihosting(int number, int a, int b, int c);
int main(void);
void em_emulator_run(void);
extern volatile uint32_t em_emulator_saved[]; /* start.S */

typedef struct {
    char name[NAME_BYTES]; /* empty: a function, known by its address */
    uint32_t address, calls;
    uint64_t instructions;
} region_t;

typedef struct {
    region_t *region;
    uint64_t start;
} open_region_t;

static region_t regions[MAX_REGIONS];
static open_region_t open_regions[MAX_DEPTH];
static uint32_t n_regions, depth;
static uint64_t ticks;
static uint32_t last_ccount, instructions_per_emulation, region_overhead;

int32_t emulator_read(const char *name, void *to, uint32_t max_bytes) {
    const int file = em_semihosting(SYS_OPEN, (int)name, OPEN_READ, 0);
    if (file < 0) {
        return -1;
    }
    uint32_t done = 0;
    while (done < max_bytes) {
        const int n = em_semihosting(SYS_READ, file, (int)to + (int)done, (int)(max_bytes - done));
        if (n <= 0) {
            break;
        }
        done += (uint32_t)n;
    }
    em_semihosting(SYS_CLOSE, file, 0, 0);
    return (int32_t)done;
}

int32_t emulator_write(const char *name, const void *from, uint32_t n_bytes) {
    const int file = em_semihosting(SYS_OPEN, (int)name, OPEN_WRITE_NEW, FILE_MODE);
    if (file < 0) {
        return -1;
    }
    uint32_t done = 0;
    while (done < n_bytes) {
        const int n = em_semihosting(SYS_WRITE, file, (int)from + (int)done, (int)(n_bytes - done));
        if (n <= 0) {
            break;
        }
        done += (uint32_t)n;
    }
    em_semihosting(SYS_CLOSE, file, 0, 0);
    return done == n_bytes ? 0 : -1;
}

static uint32_t ccount(void) {
    uint32_t value;
    __asm__ volatile("rsr %0, ccount" : "=r"(value)::"memory");
    return value;
}

uint64_t emulator_instructions(void) {
    const uint32_t now = ccount();
    ticks += now - last_ccount;
    last_ccount = now;
    const uint64_t executed = (ticks >> 7) * 25 + (((ticks & 127) * 25 + 64) >> 7);
    return executed - (uint64_t)em_emulator_saved[SAVED_COUNT] * instructions_per_emulation;
}

/* Cost of one trapped multiplication beyond the one instruction that it is on the LX6. The `or`
 * that the tool chain places before MULSH (it makes a window overflow happen outside the trap)
 * counts with it. */
static void calibrate_emulation(void) {
    uint32_t start, end, product;
    const int32_t a = -7, b = 3;
    __asm__ volatile("or %2, %2, %2\n rsr %0, ccount\n mulsh %2, %3, %4\n rsr %1, ccount"
                     : "=&r"(start), "=&r"(end), "=&r"(product)
                     : "r"(a), "r"(b));
    const uint32_t trapped = ((end - start) * 25 + 64) / 128;
    __asm__ volatile("rsr %0, ccount\n nop\n rsr %1, ccount" : "=&r"(start), "=&r"(end));
    const uint32_t plain = ((end - start) * 25 + 64) / 128;
    instructions_per_emulation = trapped - plain + 1;
}

static int same(const char *a, const char *b) {
    uint32_t i = 0;
    while (i < NAME_BYTES - 1 && a[i] != 0 && a[i] == b[i]) {
        i++;
    }
    return i == NAME_BYTES - 1 || a[i] == b[i];
}

static region_t *find(const char *name, uint32_t address) {
    for (uint32_t i = 0; i < n_regions; i++) {
        if (regions[i].address == address && same(name, regions[i].name)) {
            return &regions[i];
        }
    }
    if (n_regions == MAX_REGIONS) {
        em_semihosting(SYS_EXIT, 90, 0, 0);
    }
    region_t *region = &regions[n_regions++];
    region->address = address;
    for (uint32_t i = 0; i < NAME_BYTES - 1 && name[i] != 0; i++) {
        region->name[i] = name[i];
    }
    return region;
}

static void begin(const char *name, uint32_t address) {
    if (depth == MAX_DEPTH) {
        em_semihosting(SYS_EXIT, 91, 0, 0);
    }
    open_region_t *entry = &open_regions[depth++];
    entry->region = find(name, address);
    entry->start = emulator_instructions();
}

static void end(void) {
    const uint64_t now = emulator_instructions();
    const open_region_t *entry = &open_regions[--depth];
    const uint64_t spent = now - entry->start;
    entry->region->calls++;
    entry->region->instructions += spent > region_overhead ? spent - region_overhead : 0;
}

void emulator_region_begin(const char *name) {
    begin(name, 0);
}

void emulator_region_end(void) {
    end();
}

/* Called by code compiled with -finstrument-functions: a region per function. */
void __cyg_profile_func_enter(void *function, void *caller);
void __cyg_profile_func_exit(void *function, void *caller);

void __cyg_profile_func_enter(void *function, void *caller) {
    (void)caller;
    begin("", (uint32_t)function);
}

void __cyg_profile_func_exit(void *function, void *caller) {
    (void)function;
    (void)caller;
    end();
}

void em_emulator_run(void) {
    last_ccount = ccount();
    calibrate_emulation();
    /* Called as a program calls them: not inlined. */
    void (*volatile region_begin)(const char *) = emulator_region_begin;
    void (*volatile region_end)(void) = emulator_region_end;
    region_begin("");
    region_end();
    region_overhead = (uint32_t)regions[0].instructions;
    n_regions = 0;
    regions[0] = (region_t){.calls = 0};
    const int status = main();
    if (n_regions > 0) {
        emulator_write("regions.bin", regions, n_regions * (uint32_t)sizeof(region_t));
    }
    em_semihosting(SYS_EXIT, status, 0, 0);
}
