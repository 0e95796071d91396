/* What to do about a source that cannot be read: commands for this machine. Inside greenness/ only. */
#ifndef PARE_GREENNESS_ADVICE_H
#define PARE_GREENNESS_ADVICE_H

#include <stdbool.h>

#include "greenness/source.h"

/* Each fills s->fix from s->readiness and the tree. */
void advice_powercap(Source *s);
void advice_perf(Source *s);
void advice_nvml(Source *s);
/* Whether the processor says that it runs under a hypervisor (flag of /proc/cpuinfo). */
bool advice_virtual(const char *sysroot);

#endif
