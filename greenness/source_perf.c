/* The `power` unit of perf events: the RAPL counters, their wraps unfolded by the kernel, so that windows may last.
 *
 * Needs system-wide rights: CAP_PERFMON, or perf_event_paranoid 0 or below. One event for each cpu of the unit's cpumask, which holds one
 * cpu of each package (or, in kernels between 5.8 and about 6.9, of each die of an AMD package, which then mirror each other).
 * Source: arch/x86/events/rapl.c of Linux. */
#include <errno.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "greenness/advice.h"
#include "greenness/counters.h"
#include "greenness/source.h"
#include "greenness/tree.h"

#define UNIT "/sys/bus/event_source/devices/power"
#define WATTS_PACKAGE 500.0 /* the unit states no limit */

static int open_event(const SourceSettings *settings, uint32_t type, uint64_t config, int cpu)
{
    if (settings->perf_open != NULL) return settings->perf_open(settings->context, type, config, cpu);
    /* no sampling, nothing excluded: the unit refuses both */
    struct perf_event_attr attr = { .type = type, .size = sizeof attr, .config = config };
    return (int)syscall(SYS_perf_event_open, &attr, -1, cpu, -1, PERF_FLAG_FD_CLOEXEC);
}

static int socket_of(const char *root, int cpu)
{
    char path[TREE_PATH];
    uint64_t socket;
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/physical_package_id", cpu);
    return tree_number(root, path, &socket) == 0 ? (int)socket : cpu; /* unknown: a socket of its own, never taken for a mirror */
}

/* What an event's files say: "event=0x02", "2.3283064365386962890625e-10", "Joules". */
static bool read_event(const char *root, const char *event, uint64_t *config, double *scale)
{
    char path[TREE_PATH], text[64];
    snprintf(path, sizeof path, UNIT "/events/%s", event);
    if (tree_text(root, path, text, sizeof text) != 0) return false;
    const char *number = strncmp(text, "event=", 6) == 0 ? text + 6 : "";
    char *end;
    *config = strtoull(number, &end, 16);
    if (end == number || *end != '\0') return false;
    snprintf(path, sizeof path, UNIT "/events/%s.unit", event);
    if (tree_text(root, path, text, sizeof text) != 0 || strcmp(text, "Joules") != 0) return false;
    snprintf(path, sizeof path, UNIT "/events/%s.scale", event);
    return tree_decimal(root, path, scale) == 0 && *scale > 0;
}

/* "0,24-25" into cpus; returns how many, -1 when the text is no list. */
static int read_cpus(const char *text, int *cpus, int most)
{
    int count = 0;
    while (*text != '\0') {
        char *end;
        long first = strtol(text, &end, 10), last = first;
        if (end == text || first < 0) return -1;
        if (*end == '-') {
            text = end + 1;
            last = strtol(text, &end, 10);
            if (end == text) return -1;
        }
        for (long cpu = first; cpu <= last && cpu < 65536; cpu++) {
            if (count == most) return -1;
            cpus[count++] = (int)cpu;
        }
        if (*end != '\0' && *end != ',') return -1;
        text = *end == ',' ? end + 1 : end;
    }
    return count;
}

/* Adds one event on every cpu of the mask. False with the source's reason, unless the event does not exist. */
static bool add_event(Source *s, CounterSet *c, const char *event, CounterPart part, uint32_t type, const int *cpus, int cpu_count)
{
    uint64_t config;
    Counter k = { .part = part };
    if (!read_event(s->settings.sysroot, event, &config, &k.unit)) return true;
    for (int i = 0; i < cpu_count; i++) {
        k.socket = socket_of(s->settings.sysroot, cpus[i]);
        snprintf(k.id, sizeof k.id, "%s on cpu %d", event, cpus[i]);
        k.fd = open_event(&s->settings, type, config, cpus[i]);
        if (k.fd < 0) {
            s->readiness = errno == EACCES || errno == EPERM ? SOURCE_DENIED : SOURCE_UNUSABLE;
            snprintf(s->reason, sizeof s->reason, "%s: %s", k.id, strerror(errno));
            return false;
        }
        if (!counters_add(c, &k)) {
            s->readiness = SOURCE_UNUSABLE;
            snprintf(s->reason, sizeof s->reason, "%s", c->reason);
            return false;
        }
    }
    return true;
}

static bool open_unit(Source *s, CounterSet *c)
{
    const char *root = s->settings.sysroot;
    int cpus[COUNTERS_MOST];
    uint64_t type;
    char mask[512];
    if (tree_number(root, UNIT "/type", &type) != 0) {
        snprintf(s->reason, sizeof s->reason, "no perf unit 'power'");
        return false;
    }
    int cpu_count = tree_text(root, UNIT "/cpumask", mask, sizeof mask) == 0 ? read_cpus(mask, cpus, COUNTERS_MOST) : -1;
    if (cpu_count <= 0 || type > UINT32_MAX) {
        s->readiness = SOURCE_UNUSABLE;
        snprintf(s->reason, sizeof s->reason, "perf unit 'power': its type or cpumask cannot be understood");
        return false;
    }
    if (!add_event(s, c, "energy-pkg", COUNTER_PACKAGE, (uint32_t)type, cpus, cpu_count)) return false;
    if (c->count > 0 && !add_event(s, c, "energy-ram", COUNTER_DRAM, (uint32_t)type, cpus, cpu_count)) return false;
    if (c->count == 0 && !add_event(s, c, "energy-psys", COUNTER_PSYS, (uint32_t)type, cpus, cpu_count > 0)) return false;
    if (c->count == 0) snprintf(s->reason, sizeof s->reason, "perf unit 'power' has neither energy-pkg nor energy-psys");
    return c->count > 0;
}

static void describe(Source *s, const CounterSet *c)
{
    counters_describe(c, s->label, sizeof s->label);
    bool psys = counters_number(c, COUNTER_PACKAGE) == 0, dram = counters_number(c, COUNTER_DRAM) > 0;
    snprintf(s->boundary, sizeof s->boundary, psys ? "platform as its maker defines it (psys)"
             : dram ? "processor packages and memory, whole machine" : "processor packages without memory, whole machine");
}

static void perf_open(Source *s)
{
    CounterSet *c = counters_rapl(s, sizeof *c);
    if (c == NULL) return;
    c->binary = true;
    if (!open_unit(s, c)) {
        counters_close(c);
        free(c);
        uint64_t paranoid;
        size_t used = strlen(s->reason);
        if (s->readiness == SOURCE_DENIED && tree_number(s->settings.sysroot, "/proc/sys/kernel/perf_event_paranoid", &paranoid) == 0)
            snprintf(s->reason + used, sizeof s->reason - used, " (perf_event_paranoid is %d)", (int)paranoid);
        advice_perf(s);
        return;
    }
    s->state = c;
    s->readiness = SOURCE_READY;
    s->limit_watts = 4 * WATTS_PACKAGE * (counters_number(c, COUNTER_PACKAGE) > 0 ? counters_number(c, COUNTER_PACKAGE) : 1);
    describe(s, c);
    counters_psys(s, c);
    if (counters_number(c, COUNTER_PACKAGE) > 0 && counters_number(c, COUNTER_DRAM) == 0)
        snprintf(s->note, sizeof s->note, "no counter for memory on this machine: what memory draws is missing");
}

static bool perf_step(Source *s, const SourceTime *now, double *joules)
{
    (void)now;
    CounterSet *c = s->state;
    bool good = counters_step(c, joules);
    describe(s, c);
    if (!good) snprintf(s->reason, sizeof s->reason, "%s", c->reason);
    return good;
}

static void perf_close(Source *s)
{
    counters_close(s->state);
    free(s->state);
}

const SourceKind source_perf = {
    .id = "perf",
    .title = "RAPL through perf",
    .level = 1,
    .open = perf_open,
    .step = perf_step,
    .close = perf_close,
};
