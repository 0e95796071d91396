#include "greenness/environment.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "greenness/advice.h"
#include "greenness/machine.h"
#include "greenness/tree.h"

#define OTHER_LOAD 0.05
#define HOT 90.0
#define SLOWED 0.1     /* of the clock rate, from before to after */

void warn(Warnings *w, const char *format, ...)
{
    if (w->count == WARNINGS_MOST) return;
    va_list args;
    va_start(args, format);
    vsnprintf(w->texts[w->count++], WARNING_TEXT, format, args);
    va_end(args);
}

/* First line of /proc/stat: cpu user nice system idle iowait irq softirq steal guest guest_nice, in ticks. */
static void read_load(const char *root, Surroundings *s)
{
    char line[256];
    double v[8];
    s->busy = s->total = s->steal = NAN;
    if (tree_text(root, "/proc/stat", line, sizeof line) != 0 || strncmp(line, "cpu ", 4) != 0) return;
    char *at = line + 4;
    for (int i = 0; i < 8; i++) {
        char *end;
        v[i] = strtod(at, &end);
        if (end == at) return;
        at = end;
    }
    double tick = 1.0 / (double)sysconf(_SC_CLK_TCK);
    s->busy = (v[0] + v[1] + v[2] + v[5] + v[6]) * tick;
    s->steal = v[7] * tick;
    s->total = s->busy + s->steal + (v[3] + v[4]) * tick;
}

/* Clock rates and throttling of every cpuN. */
static void read_cores(const char *root, Surroundings *s)
{
    TreeNames names;
    char path[TREE_PATH];
    double sum = 0;
    int told = 0;
    s->mhz = NAN;
    s->throttled = -1;
    if (tree_list(root, "/sys/devices/system/cpu", &names) == 0) {
        for (int i = 0; i < names.count; i++) {
            uint64_t value;
            const char *n = names.names[i];
            if (strncmp(n, "cpu", 3) != 0 || n[3] < '0' || n[3] > '9') continue;
            snprintf(path, sizeof path, "/sys/devices/system/cpu/%.64s/cpufreq/scaling_cur_freq", n);
            if (tree_number(root, path, &value) == 0) {
                sum += (double)value * 1e-3;
                told++;
            }
            snprintf(path, sizeof path, "/sys/devices/system/cpu/%.64s/thermal_throttle/core_throttle_count", n);
            if (tree_number(root, path, &value) == 0) s->throttled = (s->throttled < 0 ? 0 : s->throttled) + (int64_t)value;
        }
    }
    tree_names_release(&names);
    if (told > 0) s->mhz = sum / told;
}

static void read_heat(const char *root, Surroundings *s)
{
    TreeNames names;
    char path[TREE_PATH], type[64];
    s->celsius = NAN;
    if (tree_list(root, "/sys/class/thermal", &names) == 0) {
        for (int i = 0; i < names.count; i++) {
            double value;
            if (strncmp(names.names[i], "thermal_zone", 12) != 0) continue;
            snprintf(path, sizeof path, "/sys/class/thermal/%.64s/type", names.names[i]);
            bool known = tree_text(root, path, type, sizeof type) == 0;
            if (known && (strstr(type, "bat") != NULL || strstr(type, "wifi") != NULL)) continue;
            snprintf(path, sizeof path, "/sys/class/thermal/%.64s/temp", names.names[i]);
            if (tree_decimal(root, path, &value) == 0 && value > 0) s->celsius = fmax(isnan(s->celsius) ? 0 : s->celsius, value * 1e-3);
        }
    }
    tree_names_release(&names);
}

/* The path of this process's control group below /sys/fs/cgroup; false when it has none of version 2. */
static bool control_group(const char *root, char *path, size_t size)
{
    char line[400];
    if (tree_text(root, "/proc/self/cgroup", line, sizeof line) != 0 || strncmp(line, "0::", 3) != 0) return false;
    snprintf(path, size, "/sys/fs/cgroup%s", line + 3);
    return true;
}

/* "nr_throttled 12" in cpu.stat. */
static int64_t quota_throttled(const char *root)
{
    char folder[TREE_PATH - 16], path[TREE_PATH], text[2048];
    if (!control_group(root, folder, sizeof folder)) return -1;
    snprintf(path, sizeof path, "%s/cpu.stat", folder);
    int fd = tree_open(root, path);
    if (fd < 0) return -1;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    if (n <= 0) return -1;
    text[n] = '\0';
    const char *at = strstr(text, "nr_throttled ");
    return at != NULL ? (int64_t)strtoll(at + 13, NULL, 10) : -1;
}

void surroundings_read(const char *root, double own, Surroundings *out)
{
    *out = (Surroundings){ .own = own };
    read_load(root, out);
    read_cores(root, out);
    read_heat(root, out);
    out->quota_throttled = quota_throttled(root);
}

static double quota_cores(const char *root)
{
    char path[TREE_PATH], folder[TREE_PATH];
    if (!control_group(root, path, sizeof path)) return 0;
    snprintf(folder, sizeof folder, "%.400s/sys/fs/cgroup", root != NULL ? root : "");
    return machine_cgroup_quota(folder, path + strlen("/sys/fs/cgroup"));
}

static bool on_battery(const char *root)
{
    TreeNames names;
    char path[TREE_PATH], status[32];
    bool found = false;
    if (tree_list(root, "/sys/class/power_supply", &names) == 0) {
        for (int i = 0; i < names.count && !found; i++) {
            snprintf(path, sizeof path, "/sys/class/power_supply/%.64s/status", names.names[i]);
            found = tree_text(root, path, status, sizeof status) == 0 && strcmp(status, "Discharging") == 0;
        }
    }
    tree_names_release(&names);
    return found;
}

void environment_of(const char *root, const Surroundings *before, const Surroundings *after, Environment *out)
{
    double total = after->total - before->total, own = after->own - before->own;
    double value;
    *out = (Environment){ .other_load = NAN, .steal = NAN, .load_average = NAN, .mhz_before = before->mhz, .mhz_after = after->mhz,
                          .mhz_most = NAN, .celsius_before = before->celsius, .celsius_after = after->celsius,
                          .throttled = -1, .quota_throttled = -1 };
    if (total > 0) {
        out->other_load = fmax(0, after->busy - before->busy - own) / total;
        out->steal = fmax(0, after->steal - before->steal) / total;
    }
    if (before->throttled >= 0 && after->throttled >= before->throttled) out->throttled = after->throttled - before->throttled;
    if (before->quota_throttled >= 0 && after->quota_throttled >= before->quota_throttled)
        out->quota_throttled = after->quota_throttled - before->quota_throttled;
    char text[64];
    if (tree_text(root, "/proc/loadavg", text, sizeof text) == 0) out->load_average = strtod(text, NULL);
    if (tree_decimal(root, "/sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq", &value) == 0) out->mhz_most = value * 1e-3;
    tree_text(root, "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", out->governor, sizeof out->governor);
    out->quota_cores = quota_cores(root);
    out->is_virtual = advice_virtual(root);
    out->on_battery = on_battery(root);
    out->cores = (int)sysconf(_SC_NPROCESSORS_ONLN);
}

void environment_warn(const Environment *e, Warnings *w)
{
    if (e->other_load > OTHER_LOAD) warn(w, "other processes took %.0f %% of all cores meanwhile", e->other_load * 100);
    if (e->steal > 0.01) warn(w, "the hypervisor gave %.0f %% of all cores to others meanwhile", e->steal * 100);
    if (e->is_virtual) warn(w, "a virtual machine: its neighbours are not seen");
    if (e->throttled > 0) warn(w, "the processor slowed itself down %lld times (heat or power)", (long long)e->throttled);
    if (e->quota_throttled > 0)
        warn(w, "the control group's limit of %.3g cores stopped this process %lld times", e->quota_cores, (long long)e->quota_throttled);
    if (e->celsius_after > HOT) warn(w, "the processor was at %.0f degrees", e->celsius_after);
    if (fabs(e->mhz_after - e->mhz_before) > SLOWED * e->mhz_before)
        warn(w, "the clock rate went from %.0f to %.0f MHz", e->mhz_before, e->mhz_after);
    if (strcmp(e->governor, "powersave") == 0) warn(w, "the clock rate governor is 'powersave'");
    if (e->on_battery) warn(w, "on battery: the machine may hold its power down");
}
