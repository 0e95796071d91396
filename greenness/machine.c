#include "greenness/machine.h"

#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#if defined(__aarch64__)
#include <sys/auxv.h>
#elif defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>
#endif

#include "greenness/measure.h"

/* The rest of the first line of a file that starts with `key`, behind separators; false when there is none. */
static bool find_line(const char *path, const char *key, char *text, size_t size)
{
    FILE *f = fopen(path, "re");
    if (f == NULL) return false;
    char line[512];
    bool found = false;
    while (!found && fgets(line, sizeof line, f) != NULL) {
        size_t length = strlen(key);
        if (strncmp(line, key, length) != 0) continue;
        const char *rest = line + length + strspn(line + length, " \t:=\"");
        snprintf(text, size, "%.*s", (int)strcspn(rest, "\"\n"), rest);
        found = true;
    }
    fclose(f);
    return found;
}

double machine_quota(const char *text)
{
    char *end;
    double quota = strtod(text, &end);
    if (end == text || *end != ' ') return 0;
    double period = strtod(end, NULL);
    return quota > 0 && period > 0 ? quota / period : 0;
}

double machine_cgroup_quota(const char *root, const char *group)
{
    char path[1024], text[64];
    double least = 0;
    int length = (int)strlen(group);
    for (;;) {
        while (length > 0 && group[length - 1] == '/') length--;
        snprintf(path, sizeof path, "%s%.*s/cpu.max", root, length, group);
        double quota = find_line(path, "", text, sizeof text) ? machine_quota(text) : 0;
        if (quota > 0 && (least == 0 || quota < least)) least = quota;
        if (length == 0) return least;
        while (length > 0 && group[length - 1] != '/') length--;
    }
}

/* Cores this process may use: its affinity mask, and the quota of its control group. */
static int allowed_cores(void)
{
    cpu_set_t set;
    int cores = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : (int)sysconf(_SC_NPROCESSORS_ONLN);
    char group[512];
    double quota = find_line("/proc/self/cgroup", "0::", group, sizeof group) ? machine_cgroup_quota("/sys/fs/cgroup", group) : 0;
    if (quota > 0 && ceil(quota) < cores) cores = (int)ceil(quota);
    return cores > 0 ? cores : 1;
}

#if defined(__x86_64__) || defined(__i386__)
/* AVX512-VNNI is CPUID leaf 7.0 ECX bit 11, AVX-VNNI leaf 7.1 EAX bit 4; the second needs no system support beyond AVX2's. */
static bool has_integer_dot(void)
{
    unsigned a, b, c, d;
    if (__builtin_cpu_supports("avx512f") && __get_cpuid_count(7, 0, &a, &b, &c, &d) && (c >> 11 & 1) != 0) return true;
    return __builtin_cpu_supports("avx2") && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 4 & 1) != 0;
}
#endif

/* The widest vector instructions, and whether there are dot products of 8-bit integers. */
static void instruction_set(char *text, size_t size)
{
#if defined(__x86_64__) || defined(__i386__)
    const char *width = __builtin_cpu_supports("avx512f") ? "avx512"
        : __builtin_cpu_supports("avx2") ? "avx2"
        : __builtin_cpu_supports("avx") ? "avx"
        : __builtin_cpu_supports("sse4.2") ? "sse4.2" : "sse2";
    snprintf(text, size, "%s%s", width, has_integer_dot() ? " vnni" : "");
#elif defined(__aarch64__)
    unsigned long features = getauxval(AT_HWCAP);
    snprintf(text, size, "neon%s%s", (features & (1ul << 20)) != 0 ? " dotprod" : "", (features & (1ul << 22)) != 0 ? " sve" : "");
#else
    struct utsname u;
    snprintf(text, size, "%s", uname(&u) == 0 ? u.machine : "unknown");
#endif
}

void machine_info(MachineInfo *m)
{
    *m = (MachineInfo){ .cores = allowed_cores(), .threads = (int)sysconf(_SC_NPROCESSORS_ONLN) };
    struct utsname u;
    bool named = uname(&u) == 0;
    if (!find_line("/proc/cpuinfo", "model name", m->cpu, sizeof m->cpu)
        && !find_line("/sys/firmware/devicetree/base/model", "", m->cpu, sizeof m->cpu))
        snprintf(m->cpu, sizeof m->cpu, "%s", named ? u.machine : "unknown");
    char distribution[48];
    if (!find_line("/etc/os-release", "PRETTY_NAME", distribution, sizeof distribution))
        snprintf(distribution, sizeof distribution, "Linux");
    snprintf(m->os, sizeof m->os, "%s, %.12s %.60s", distribution, named ? u.sysname : "", named ? u.release : "");
    size_t used = strlen(m->os);
    while (used > 0 && (m->os[used - 1] == ' ' || m->os[used - 1] == ',')) m->os[--used] = '\0';
    instruction_set(m->isa, sizeof m->isa);
}

int64_t peak_memory(void)
{
    char text[64];
    if (!find_line("/proc/self/status", "VmHWM", text, sizeof text)) return 0;
    return (int64_t)strtoll(text, NULL, 10) * 1024;
}
