/* The options that say where energy is read: shared by the commands that measure. */
#ifndef PARE_CMD_SOURCE_OPTIONS_H
#define PARE_CMD_SOURCE_OPTIONS_H

#include "cmd/cmd.h"
#include "greenness/profile.h"
#include "greenness/source.h"
#include "pipeline/places.h"

typedef struct SourceOptions {
    const char *profile, *meter_log, *sensor, *sysroot;
    double meter_offset, watts_per_core;
} SourceOptions;

#define SOURCE_OPTIONS(Type) \
    { .name = "profile", .type = OPT_STRING, .field = offsetof(Type, source.profile), .unit = "file", \
      .help = "a machine profile made before, here or elsewhere" }, \
    { .name = "meter-log", .type = OPT_STRING, .field = offsetof(Type, source.meter_log), .unit = "file", \
      .help = "log of an external meter: lines of time (seconds since 1970) and watts, parted by commas" }, \
    { .name = "meter-offset", .type = OPT_FLOAT, .field = offsetof(Type, source.meter_offset), .fallback = "0", .min = -1e9, .max = 1e9, \
      .unit = "seconds", .help = "how far the meter's clock is ahead of this machine's" }, \
    { .name = "sensor", .type = OPT_STRING, .field = offsetof(Type, source.sensor), \
      .help = "the board sensor that feeds the processor, as hwmon3/power1 or by its label" }, \
    { .name = "watts-per-core", .type = OPT_FLOAT, .field = offsetof(Type, source.watts_per_core), .fallback = "0", .min = 0, .max = 1000, \
      .unit = "watts", .help = "for the estimate from CPU time: thermal design power / cores; 0: 12" }, \
    { .name = "sysroot", .type = OPT_STRING, .field = offsetof(Type, source.sysroot), .unit = "folder", \
      .help = "a copy of /sys and /proc to look at instead of this machine's" }

/* `profile` is filled when one was named, and borrowed by `out`. A profile that cannot be read or a sysroot that is no folder is an error;
 * whether the meter log and the sensor can be used is for source_check_named to say. */
Status source_settings(const SourceOptions *o, Profile *profile, SourceSettings *out, Err *err);
/* Says that more threads are asked for than the cores that this process may use: they wait for each other, and figures are of that. */
void warn_of_threads(int64_t threads, Log *log);
/* ERR_USAGE when one of `places` is a file that these options name. */
Status source_apart(const SourceOptions *o, const Places *places, Err *err);

#endif
