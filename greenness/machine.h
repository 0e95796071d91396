/* Which machine measured. Inside greenness/ only; the public part is in greenness/measure.h. */
#ifndef PARE_GREENNESS_MACHINE_H
#define PARE_GREENNESS_MACHINE_H

/* Cores that a cgroup's quota allows, from the text of cpu.max ("150000 100000" is 1.5); 0: no limit ("max 100000") or not of that form. */
double machine_quota(const char *text);
/* The smallest quota of the cgroup of this process and those above it, 0: none. `root`: "/sys/fs/cgroup"; `group`: its path there. */
double machine_cgroup_quota(const char *root, const char *group);

#endif
