#include "cmd/source_options.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

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

Status source_apart(const SourceOptions *o, const Places *places, Err *err)
{
    TRY(places_apart(places, "the profile", o->profile, err));
    return places_apart(places, "the meter's log", o->meter_log, err);
}
