/* Stand-ins where nothing can be read, best first: an energy roofline with a machine's own figures, a table of energies of operations, and
 * CPU time x watts. Each says that it is a model; the last says that it adds nothing to time. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "greenness/carbon.h"
#include "greenness/profile.h"
#include "greenness/source.h"

static void roofline_open(Source *s)
{
    const Profile *p = s->settings.profile;
    s->readiness = SOURCE_UNSET;
    s->provenance = PROVENANCE_CALIBRATED;
    if (p == NULL || !p->has_energy) {
        snprintf(s->reason, sizeof s->reason, p == NULL ? "no machine profile given" : "the profile holds no energies: %.150s",
                 p != NULL ? p->no_energy : "");
        snprintf(s->fix, sizeof s->fix,
                 "on a machine of this processor with a readable counter: pare probe --calibrate --output=machine.json\n"
                 "here: --profile=machine.json");
        return;
    }
    bool local = profile_is_local(p);
    if (!local) s->provenance = PROVENANCE_ELSEWHERE;
    s->factor = 1 + fmax(0.1, 2 * p->residual) + (local ? 0 : 0.5);
    snprintf(s->label, sizeof s->label, "%s%.60s", local ? "" : "profile of ", local ? "profile of this machine" : p->cpu);
    snprintf(s->boundary, sizeof s->boundary, "%.95s", p->boundary);
    snprintf(s->resolution, sizeof s->resolution, "none: computed; fit within %.1f %% of %d runs", p->residual * 100, p->observations);
    if (!local)
        snprintf(s->note, sizeof s->note, "calibrated elsewhere: holds for a processor of that kind, its memory and its power settings");
    s->readiness = SOURCE_READY;
}

/* An elementwise operation is taken for half a multiply-add. */
static bool roofline_model(Source *s, const Work *work, double seconds, double *joules)
{
    const Profile *p = s->settings.profile;
    const double *t = p->terms;
    *joules = t[PROFILE_TERM_joules_mac_f32] * (work->macs_float + 0.5 * work->elementwise)
        + t[PROFILE_TERM_joules_mac_int8] * work->macs_int8 + t[PROFILE_TERM_joules_byte_dram] * work->bytes
        + t[PROFILE_TERM_watts_static] * seconds;
    return true;
}

/* Horowitz, "Computing's energy problem", ISSCC 2014, 45 nm at 0.9 V: float32 multiply 3.7 pJ and add 0.9 pJ; int8 multiply 0.2 pJ and
 * int32 add 0.1 pJ; a DRAM access of 64 bits 1.3 nJ (of 1.3 to 2.6). Instructions themselves cost a processor ten to a hundred times the
 * arithmetic: the sum ranks networks, it does not predict joules. */
#define PICO 1e-12
#define MAC_FLOAT (4.6 * PICO)
#define MAC_INT8 (0.3 * PICO)
#define ADD_FLOAT (0.9 * PICO)
#define BYTE_DRAM (162.5 * PICO)

static void table_open(Source *s)
{
    s->provenance = PROVENANCE_TABLE;
    s->factor = 10;
    s->beside = true; /* ranks only: CPU time, which sees what really ran, comes before it as the headline */
    snprintf(s->label, sizeof s->label, "Horowitz 2014, 45 nm");
    snprintf(s->boundary, sizeof s->boundary, "arithmetic and memory accesses only");
    snprintf(s->resolution, sizeof s->resolution, "none: computed from counts");
    snprintf(s->note, sizeof s->note, "ranks networks and layers; its joules are no prediction");
    s->readiness = SOURCE_READY;
}

static bool table_model(Source *s, const Work *work, double seconds, double *joules)
{
    (void)s;
    (void)seconds;
    *joules = MAC_FLOAT * work->macs_float + MAC_INT8 * work->macs_int8 + ADD_FLOAT * work->elementwise + BYTE_DRAM * work->bytes;
    return true;
}

static void cpu_time_open(Source *s)
{
    bool given = s->settings.watts_per_core > 0;
    s->provenance = PROVENANCE_CPU_TIME;
    s->factor = 2;
    s->proportional = true;
    snprintf(s->label, sizeof s->label, "%g W/core%s", given ? s->settings.watts_per_core : energy_watts_per_core,
             given ? " as given" : "");
    snprintf(s->boundary, sizeof s->boundary, "busy cores as their maker states them");
    snprintf(s->resolution, sizeof s->resolution, "none: computed from CPU time");
    snprintf(s->note, sizeof s->note, "its ratios are those of CPU time: it adds nothing to time");
    if (!given) snprintf(s->fix, sizeof s->fix, "state this processor's own figure: thermal design power / cores, --watts-per-core=W");
    s->readiness = SOURCE_READY;
}

static bool cpu_time_model(Source *s, const Work *work, double seconds, double *joules)
{
    (void)seconds;
    *joules = work->cpu_seconds * (s->settings.watts_per_core > 0 ? s->settings.watts_per_core : energy_watts_per_core);
    return true;
}

const SourceKind source_roofline = {
    .id = "roofline",
    .title = "energy roofline",
    .level = 6,
    .open = roofline_open,
    .model = roofline_model,
};

const SourceKind source_table = {
    .id = "op-table",
    .title = "energies of operations",
    .level = 7,
    .open = table_open,
    .model = table_model,
};

const SourceKind source_cpu_time = {
    .id = "cpu-time",
    .title = "CPU time x watts",
    .level = 8,
    .open = cpu_time_open,
    .model = cpu_time_model,
};
