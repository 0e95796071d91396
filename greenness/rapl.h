/* Energy counters of processors and memory, as Linux shows them under /sys/class/powercap (RAPL; Intel and AMD). Inside greenness/ only. */
#ifndef PARE_GREENNESS_RAPL_H
#define PARE_GREENNESS_RAPL_H

#include <stdbool.h>
#include <stdint.h>

#define RAPL_ZONES 64 /* zones counted; far above any machine's sockets and dies */

typedef struct RaplZone {
    char id[48];      /* folder: "intel-rapl:0" or "intel-rapl:0:2" */
    char name[32];    /* "package-0", "dram", "psys" */
    int fd;           /* of energy_uj */
    bool has_range;
    uint64_t range, last; /* microjoules; the counter runs from 0 to range */
} RaplZone;

/* All zones whose sum is the energy of the machine's processors and memory: every package, and every dram zone, which stands below its
 * package in the tree but is not part of its energy. Cores and uncore are part of the package and left out; psys (the platform) holds
 * all of them and is used only where there is no package; an intel-rapl-mmio package that intel-rapl also shows is the same counter. */
typedef struct Rapl {
    RaplZone zones[RAPL_ZONES];
    int count;
    char reason[96];  /* why it is not available */
} Rapl;

/* `root`: "/sys/class/powercap", or another tree of that form. False, with the reason, when a zone that belongs to the sum is missing or
 * cannot be read; then nothing is open. Part of a sum is never taken for the whole. */
bool rapl_open(Rapl *r, const char *root);
/* Joules since the call before, or since rapl_open; counters that wrapped once are unfolded. False, with the reason, when a counter
 * cannot be read any more, or fell back and its range is not known: the window is lost, but the next one starts here. */
bool rapl_read(Rapl *r, double *joules);
void rapl_close(Rapl *r);
/* "package-0 + dram" of what is summed, for labels. */
void rapl_describe(const Rapl *r, char *text, int size);

#endif
