#include "cmd/source_options.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "greenness/measure.h"

static Status check_sysroot(const char *path, Err *err)
{
    struct stat info;
    if (stat(path, &info) != 0) return err_set(err, ERR_IO, "sysroot: %s: %s", path, strerror(errno));
    return S_ISDIR(info.st_mode) ? OK : err_set(err, ERR_IO, "sysroot: %s is no folder; name a copy of /sys and /proc", path);
}

Status source_settings(const SourceOptions *o, Profile *profile, SourceSettings *out, Err *err)
{
    *out = (SourceSettings){ .sysroot = o->sysroot, .meter_path = o->meter_log, .meter_offset = o->meter_offset, .sensor = o->sensor,
                             .watts_per_core = o->watts_per_core };
    if (o->sysroot != NULL) TRY(check_sysroot(o->sysroot, err));
    if (o->profile == NULL) return OK;
    TRY(profile_load(o->profile, profile, err));
    out->profile = profile;
    return OK;
}

void warn_of_threads(int64_t threads, Log *log)
{
    MachineInfo machine;
    machine_info(&machine);
    if (threads > machine.cores)
        log_warn(log, "%lld threads on %d core%s that may be used: they wait for each other, and time and energy are of that; estimates "
                 "count %d", (long long)threads, machine.cores, machine.cores == 1 ? "" : "s", machine.cores);
}

Status source_apart(const SourceOptions *o, const Places *places, Err *err)
{
    TRY(places_apart(places, "the profile", o->profile, err));
    return places_apart(places, "the meter's log", o->meter_log, err);
}
