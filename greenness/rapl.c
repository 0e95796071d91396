#include "greenness/rapl.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Reads a small file of the tree as text without its newline. Returns 0 or errno. */
static int read_text(int folder, const char *zone, const char *file, char *text, size_t size)
{
    char path[96];
    snprintf(path, sizeof path, "%s/%s", zone, file);
    int fd = openat(folder, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return errno;
    ssize_t got = read(fd, text, size - 1);
    int error = got < 0 ? errno : 0;
    close(fd);
    if (error != 0) return error;
    text[got] = '\0';
    text[strcspn(text, "\n")] = '\0';
    return 0;
}

static bool parse_u64(const char *text, uint64_t *out)
{
    char *end;
    if (text[0] < '0' || text[0] > '9') return false;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno != 0 || (*end != '\0' && *end != '\n')) return false;
    *out = value;
    return true;
}

static bool read_counter(RaplZone *z, uint64_t *out, char *reason, size_t size)
{
    char text[40];
    ssize_t got = pread(z->fd, text, sizeof text - 1, 0);
    if (got < 0) {
        snprintf(reason, size, "%s: energy_uj: %s", z->id, strerror(errno));
        return false;
    }
    text[got] = '\0';
    if (parse_u64(text, out)) return true;
    snprintf(reason, size, "%s: energy_uj is no number", z->id);
    return false;
}

/* Adds a zone, its counter opened and read once. */
static bool add_zone(Rapl *r, int folder, const char *id, const char *name)
{
    if (r->count == RAPL_ZONES) {
        snprintf(r->reason, sizeof r->reason, "more than %d energy zones", RAPL_ZONES);
        return false;
    }
    RaplZone *z = &r->zones[r->count];
    *z = (RaplZone){ .fd = -1 };
    snprintf(z->id, sizeof z->id, "%.*s", (int)sizeof z->id - 1, id);
    snprintf(z->name, sizeof z->name, "%.*s", (int)sizeof z->name - 1, name);
    char path[96], text[40];
    snprintf(path, sizeof path, "%s/energy_uj", z->id);
    z->fd = openat(folder, path, O_RDONLY | O_CLOEXEC);
    if (z->fd < 0) {
        snprintf(r->reason, sizeof r->reason, "%s: energy_uj: %s", z->id, strerror(errno));
        return false;
    }
    r->count++;
    z->has_range = read_text(folder, id, "max_energy_range_uj", text, sizeof text) == 0 && parse_u64(text, &z->range);
    return read_counter(z, &z->last, r->reason, sizeof r->reason);
}

/* The number of colons in a zone's folder name tells its depth: "intel-rapl:0" is a package, "intel-rapl:0:1" a part of one. */
static int zone_depth(const char *id)
{
    if (strlen(id) >= sizeof ((RaplZone *)0)->id) return 0;
    int colons = 0;
    for (const char *c = id; *c != '\0'; c++) colons += *c == ':';
    if (strncmp(id, "intel-rapl:", 11) != 0 && strncmp(id, "intel-rapl-mmio:", 16) != 0) return 0;
    return colons;
}

static bool is_mmio(const char *id) { return strncmp(id, "intel-rapl-mmio:", 16) == 0; }

static bool has_name(const Rapl *r, const char *name)
{
    for (int i = 0; i < r->count; i++)
        if (strcmp(r->zones[i].name, name) == 0) return true;
    return false;
}

static bool has_parent(const Rapl *r, const char *id)
{
    size_t length = (size_t)(strrchr(id, ':') - id);
    for (int i = 0; i < r->count; i++)
        if (strlen(r->zones[i].id) == length && strncmp(r->zones[i].id, id, length) == 0) return true;
    return false;
}

enum { STEP_PACKAGE, STEP_MMIO, STEP_DRAM, STEP_PSYS, STEPS };

/* Whether a zone joins the sum in this step; steps run in order, so that what they look up is there. */
static bool zone_wanted(const Rapl *r, int step, const char *id, const char *name)
{
    int depth = zone_depth(id);
    bool package = depth == 1 && strncmp(name, "package", 7) == 0;
    switch (step) {
    case STEP_PACKAGE: return package && !is_mmio(id);
    case STEP_MMIO: return package && is_mmio(id) && !has_name(r, name);
    case STEP_DRAM: return depth == 2 && strcmp(name, "dram") == 0 && has_parent(r, id);
    default: return depth == 1 && strcmp(name, "psys") == 0 && r->count == 0;
    }
}

static bool add_zones(Rapl *r, int folder, struct dirent **entries, int entry_count)
{
    for (int step = 0; step < STEPS; step++) {
        for (int i = 0; i < entry_count; i++) {
            char name[32], id[sizeof r->zones[0].id];
            if (zone_depth(entries[i]->d_name) == 0) continue; /* also when the name is longer than id */
            snprintf(id, sizeof id, "%.*s", (int)sizeof id - 1, entries[i]->d_name);
            int error = read_text(folder, id, "name", name, sizeof name);
            if (error != 0) {
                snprintf(r->reason, sizeof r->reason, "%s: name: %s", id, strerror(error));
                return false;
            }
            if (zone_wanted(r, step, id, name) && !add_zone(r, folder, id, name)) return false;
        }
    }
    if (r->count == 0) snprintf(r->reason, sizeof r->reason, "no RAPL zones on this machine");
    return r->count > 0;
}

bool rapl_open(Rapl *r, const char *root)
{
    *r = (Rapl){ .count = 0 };
    int folder = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0) {
        snprintf(r->reason, sizeof r->reason, errno == ENOENT ? "no RAPL on this machine" : "powercap: %s", strerror(errno));
        return false;
    }
    struct dirent **entries = NULL;
    int count = scandirat(folder, ".", &entries, NULL, alphasort);
    bool good = count >= 0;
    if (good) good = add_zones(r, folder, entries, count);
    else snprintf(r->reason, sizeof r->reason, "powercap: %s", strerror(errno));
    for (int i = 0; i < count; i++) free(entries[i]);
    free(entries);
    close(folder);
    if (!good) rapl_close(r);
    return good;
}

bool rapl_read(Rapl *r, double *joules)
{
    double sum = 0;
    bool good = true;
    for (int i = 0; i < r->count; i++) {
        RaplZone *z = &r->zones[i];
        uint64_t now;
        if (!read_counter(z, &now, r->reason, sizeof r->reason)) {
            good = false;
            continue;
        }
        if (now >= z->last) {
            sum += (double)(now - z->last);
        } else if (z->has_range && z->last <= z->range) {
            sum += (double)(z->range - z->last) + (double)now + 1;
        } else {
            snprintf(r->reason, sizeof r->reason, "%s: the counter fell back and its range is not known", z->id);
            good = false;
        }
        z->last = now;
    }
    *joules = sum * 1e-6;
    return good && r->count > 0;
}

void rapl_close(Rapl *r)
{
    for (int i = 0; i < r->count; i++)
        if (r->zones[i].fd >= 0) close(r->zones[i].fd);
    r->count = 0;
}

void rapl_describe(const Rapl *r, char *text, int size)
{
    int packages = 0, drams = 0;
    for (int i = 0; i < r->count; i++) {
        packages += strncmp(r->zones[i].name, "package", 7) == 0;
        drams += strcmp(r->zones[i].name, "dram") == 0;
    }
    if (packages == 0) snprintf(text, (size_t)size, "psys");
    else if (drams == 0) snprintf(text, (size_t)size, "%d package%s", packages, packages == 1 ? "" : "s");
    else snprintf(text, (size_t)size, "%d package%s + dram", packages, packages == 1 ? "" : "s");
}
