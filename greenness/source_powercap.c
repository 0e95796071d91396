/* Energy counters of processors and memory as Linux shows them under /sys/class/powercap (RAPL; Intel and AMD).
 *
 * The tree is no sum: psys holds the packages, a package holds core and uncore, and dram stands below its package but is not part of its
 * energy. Summed are every package and every dram; psys alone where there is no package. A package that intel-rapl-mmio shows too is the
 * same counter. Zones are told apart by their folders, as many may bear one name. Interface: Documentation/power/powercap of Linux. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "greenness/advice.h"
#include "greenness/counters.h"
#include "greenness/source.h"
#include "greenness/tree.h"

#define FOLDER "/sys/class/powercap"
#define WATTS_UNKNOWN 500.0 /* of a package that states no limit */

typedef struct Powercap {
    CounterSet set;
    double watts;        /* plausible power of all packages */
    double wrap_seconds; /* the shortest time in which a counter can run through its range, at twice that power */
} Powercap;

/* "intel-rapl:0" is 1 deep, "intel-rapl:0:1" is 2; what is no zone of ours is 0. */
static int zone_depth(const char *id)
{
    int colons = 0;
    for (const char *c = id; *c != '\0'; c++) colons += *c == ':';
    if (strlen(id) >= sizeof ((Counter *)0)->id) return 0;
    return strncmp(id, "intel-rapl:", 11) == 0 || strncmp(id, "intel-rapl-mmio:", 16) == 0 ? colons : 0;
}

static bool is_mmio(const char *id) { return strncmp(id, "intel-rapl-mmio:", 16) == 0; }

/* "package-1-die-0" is of socket 1; every other zone is a socket of its own kind. */
static int socket_of(const char *name) { return strncmp(name, "package-", 8) == 0 ? (int)strtol(name + 8, NULL, 10) : -1; }

static const Counter *parent_of(const CounterSet *c, const char *id)
{
    size_t length = (size_t)(strrchr(id, ':') - id);
    for (int i = 0; i < c->count; i++)
        if (strlen(c->items[i].id) == length && strncmp(c->items[i].id, id, length) == 0) return &c->items[i];
    return NULL;
}

typedef struct Zone {
    char id[64], name[48];
    bool counted;
} Zone;

static bool package_counted(const Zone *zones, int count, const char *name)
{
    for (int i = 0; i < count; i++)
        if (zones[i].counted && strcmp(zones[i].name, name) == 0) return true;
    return false;
}

enum { STEP_PACKAGE, STEP_MMIO, STEP_DRAM, STEP_PSYS, STEPS };

/* Whether a zone joins the sum in this step; steps run in order, so that what they look up is there. */
static bool zone_wanted(const Powercap *p, const Zone *zones, int count, int step, const Zone *z)
{
    int depth = zone_depth(z->id);
    bool package = depth == 1 && strncmp(z->name, "package", 7) == 0;
    switch (step) {
    case STEP_PACKAGE: return package && !is_mmio(z->id);
    case STEP_MMIO: return package && is_mmio(z->id) && !package_counted(zones, count, z->name);
    case STEP_DRAM: return depth == 2 && strcmp(z->name, "dram") == 0 && parent_of(&p->set, z->id) != NULL;
    default: return depth == 1 && strcmp(z->name, "psys") == 0 && p->set.count == 0;
    }
}

static SourceState state_of(int error)
{
    return error == EACCES || error == EPERM ? SOURCE_DENIED : error == ENOENT ? SOURCE_ABSENT : SOURCE_UNUSABLE;
}

static bool add_zone(Source *s, Powercap *p, Zone *z, CounterPart part)
{
    char path[TREE_PATH];
    Counter k = { .part = part, .unit = 1e-6, .socket = socket_of(z->name) };
    snprintf(k.id, sizeof k.id, "%s", z->id);
    if (part == COUNTER_DRAM) k.socket = parent_of(&p->set, z->id)->socket;
    snprintf(path, sizeof path, FOLDER "/%s/energy_uj", z->id);
    k.fd = tree_open(s->settings.sysroot, path);
    if (k.fd < 0) {
        s->readiness = state_of(errno);
        if (s->readiness == SOURCE_ABSENT) s->readiness = SOURCE_UNUSABLE; /* the zone is there */
        snprintf(s->reason, sizeof s->reason, "%s: energy_uj: %s", z->id, strerror(errno));
        return false;
    }
    snprintf(path, sizeof path, FOLDER "/%s/max_energy_range_uj", z->id);
    k.has_range = tree_number(s->settings.sysroot, path, &k.range) == 0 && k.range > 0;
    if (!counters_add(&p->set, &k)) {
        s->readiness = SOURCE_UNUSABLE;
        snprintf(s->reason, sizeof s->reason, "%s", p->set.reason);
        return false;
    }
    z->counted = true;
    uint64_t stated = 0;
    snprintf(path, sizeof path, FOLDER "/%s/constraint_0_max_power_uw", z->id);
    bool known = tree_number(s->settings.sysroot, path, &stated) == 0 && stated > 0;
    double watts = known ? (double)stated * 1e-6 : WATTS_UNKNOWN;
    if (part != COUNTER_DRAM) p->watts += watts;
    if (k.has_range) p->wrap_seconds = fmin(p->wrap_seconds, (double)k.range * 1e-6 / (2 * watts));
    return true;
}

/* Names of all zones of ours. Returns how many, -1 with the source's reason. */
static int list_zones(Source *s, Zone **out)
{
    TreeNames names;
    int error = tree_list(s->settings.sysroot, FOLDER, &names), count = 0;
    Zone *zones = alloc_zeroed((size_t)names.count + 1, sizeof *zones);
    if (error == 0 && zones == NULL) error = ENOMEM;
    for (int i = 0; i < names.count && error == 0; i++) {
        if (zone_depth(names.names[i]) == 0) continue;
        char path[TREE_PATH];
        Zone *z = &zones[count];
        snprintf(z->id, sizeof z->id, "%.*s", (int)sizeof z->id - 1, names.names[i]);
        snprintf(path, sizeof path, FOLDER "/%s/name", z->id);
        error = tree_text(s->settings.sysroot, path, z->name, sizeof z->name);
        if (error != 0) snprintf(s->reason, sizeof s->reason, "%s: name: %s", z->id, strerror(error));
        count++;
    }
    if (error != 0 && s->reason[0] == '\0')
        snprintf(s->reason, sizeof s->reason, error == ENOENT ? "no powercap tree" : "powercap: %s", strerror(error));
    if (error == 0 && count == 0) snprintf(s->reason, sizeof s->reason, "no RAPL zones in the powercap tree");
    s->readiness = error != 0 ? state_of(error) : SOURCE_ABSENT;
    tree_names_release(&names);
    *out = zones;
    return error != 0 ? -1 : count;
}

static void describe(Source *s, const Powercap *p)
{
    counters_describe(&p->set, s->label, sizeof s->label);
    bool psys = counters_number(&p->set, COUNTER_PACKAGE) == 0, dram = counters_number(&p->set, COUNTER_DRAM) > 0;
    snprintf(s->boundary, sizeof s->boundary, psys ? "platform as its maker defines it (psys)"
             : dram ? "processor packages and memory, whole machine" : "processor packages without memory, whole machine");
}

static bool open_zones(Source *s, Powercap *p)
{
    Zone *zones = NULL;
    int count = list_zones(s, &zones);
    static const CounterPart parts[STEPS] = { COUNTER_PACKAGE, COUNTER_PACKAGE, COUNTER_DRAM, COUNTER_PSYS };
    bool good = count > 0;
    for (int step = 0; step < STEPS && good; step++)
        for (int i = 0; i < count && good; i++)
            if (zone_wanted(p, zones, count, step, &zones[i])) good = add_zone(s, p, &zones[i], parts[step]);
    free(zones);
    if (good && p->set.count == 0) {
        snprintf(s->reason, sizeof s->reason, "no package among the RAPL zones");
        good = false;
    }
    return good;
}

static void powercap_open(Source *s)
{
    Powercap *p = counters_rapl(s, sizeof *p);
    if (p == NULL) return;
    p->wrap_seconds = INFINITY;
    if (!open_zones(s, p)) {
        counters_close(&p->set);
        free(p);
        advice_powercap(s);
        return;
    }
    s->state = p;
    s->readiness = SOURCE_READY;
    s->limit_watts = 4 * p->watts;
    s->poll_seconds = isfinite(p->wrap_seconds) ? p->wrap_seconds / 4 : 0;
    describe(s, p);
    counters_psys(s, &p->set);
    if (counters_number(&p->set, COUNTER_PACKAGE) > 0 && counters_number(&p->set, COUNTER_DRAM) == 0)
        snprintf(s->note, sizeof s->note, "no counter for memory on this machine: what memory draws is missing");
}

static bool powercap_step(Source *s, const SourceTime *now, double *joules)
{
    Powercap *p = s->state;
    double seconds = now->monotonic - s->last.monotonic;
    bool good = counters_step(&p->set, joules);
    describe(s, p);
    if (!good) {
        snprintf(s->reason, sizeof s->reason, "%s", p->set.reason);
    } else if (seconds >= p->wrap_seconds) {
        snprintf(s->reason, sizeof s->reason, "not read for %.4g s: counters may have wrapped more than once", seconds);
        good = false;
    }
    return good;
}

static void powercap_close(Source *s)
{
    Powercap *p = s->state;
    counters_close(&p->set);
    free(p);
}

const SourceKind source_powercap = {
    .id = "powercap",
    .title = "RAPL through powercap",
    .level = 1,
    .open = powercap_open,
    .step = powercap_step,
    .close = powercap_close,
};
