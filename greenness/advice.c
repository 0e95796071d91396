#include "greenness/advice.h"

#include <stdio.h>
#include <string.h>

#include "greenness/tree.h"

bool advice_virtual(const char *sysroot)
{
    char path[2 * TREE_PATH], line[4096];
    int length = snprintf(path, sizeof path, "%s/proc/cpuinfo", sysroot != NULL ? sysroot : "");
    FILE *f = length < (int)sizeof path ? fopen(path, "re") : NULL;
    bool found = false;
    while (f != NULL && !found && fgets(line, sizeof line, f) != NULL)
        found = strncmp(line, "flags", 5) == 0 && strstr(line, " hypervisor") != NULL;
    if (f != NULL) fclose(f);
    return found;
}

static bool in_container(const char *sysroot)
{
    return tree_exists(sysroot, "/.dockerenv") || tree_exists(sysroot, "/run/.containerenv");
}

static void put(Source *s, const char *text) { snprintf(s->fix, sizeof s->fix, "%s", text); }

/* Nothing inside a guest brings counters that the host does not pass through. */
static const char guest[] = "a virtual machine sees no energy counters: measure on the host or with a meter (--meter-log),\n"
                            "or bring a machine profile from a bare machine of the same processor (--profile)";

void advice_powercap(Source *s)
{
    const char *root = s->settings.sysroot;
    if (s->readiness == SOURCE_DENIED)
        put(s, "now:    sudo chmod a+r /sys/class/powercap/intel-rapl*/energy_uj\n"
               "always: echo 'z /sys/class/powercap/intel-rapl*/energy_uj 0444 root root - -' | sudo tee /etc/tmpfiles.d/rapl.conf\n"
               "        (closed by default since CVE-2020-8694: who reads it often can guess what others compute)");
    else if (s->readiness == SOURCE_UNUSABLE)
        put(s, "read the files named above by hand: the driver shows a zone that cannot tell");
    else if (advice_virtual(root))
        put(s, guest);
    else if (in_container(root))
        put(s, "give the container the host's tree: docker run --volume /sys/class/powercap:/sys/class/powercap:ro\n"
               "--volume /sys/devices/virtual/powercap:/sys/devices/virtual/powercap:ro");
    else
        put(s, "sudo modprobe intel_rapl_msr      (Intel and AMD; AMD from Linux 5.8)");
}

void advice_perf(Source *s)
{
    const char *root = s->settings.sysroot;
    if (s->readiness == SOURCE_DENIED)
        put(s, "for pare alone: sudo setcap cap_perfmon+ep \"$(command -v pare)\"      (Linux 5.8 and later)\n"
               "for everybody:  sudo sysctl kernel.perf_event_paranoid=0");
    else if (advice_virtual(root))
        put(s, guest);
    else
        put(s, "sudo modprobe rapl      (Intel and AMD; the module with the perf events)");
}

void advice_nvml(Source *s)
{
    if (s->readiness == SOURCE_ABSENT) put(s, "where there is an NVIDIA card: apt install libnvidia-ml1, the driver loaded");
    else put(s, "sudo nvidia-smi must work first: the driver is not loaded, or the device is closed to this user");
}
