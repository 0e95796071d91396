/* Estimates that stand beside measured figures: SCI, and what two widespread calculators would say. */
#include <stdio.h>

#include "greenness/carbon.h"

#define WATTS_PER_GB 0.3725 /* Green Algorithms' for memory */
#define TDP_SHARE 0.5
#define WATTS_PER_THREAD 4.0
#define SECONDS_PER_YEAR (365.25 * 24 * 3600)

Sci sci_of(double joules, double seconds, double g_per_kwh, double pue, const Embodied *e)
{
    Sci s = { .energy_g = joules / 3.6e6 * g_per_kwh * (pue > 0 ? pue : carbon_pue) };
    if (e != NULL && e->total_kg > 0 && e->lifetime_years > 0)
        s.embodied_g = e->total_kg * 1e3 * (seconds / (e->lifetime_years * SECONDS_PER_YEAR)) * (e->share > 0 ? e->share : 1);
    s.total_g = s.energy_g + s.embodied_g;
    return s;
}

Sourced estimate_green_algorithms(const EstimateInput *in)
{
    double usage = in->usage > 0 ? in->usage : 1, watts = in->watts_per_core > 0 ? in->watts_per_core : energy_watts_per_core;
    double pue = in->pue > 0 ? in->pue : carbon_pue;
    Sourced out = { .value = in->seconds * (in->cores * watts * usage + in->memory_gb * WATTS_PER_GB) * pue };
    snprintf(out.source, sizeof out.source, "modelled: Green Algorithms, time x (%d cores x %g W x %g + %.3g GB x %g W), PUE %.2f",
             in->cores, watts, usage, in->memory_gb, WATTS_PER_GB, pue);
    return out;
}

Sourced estimate_time_tdp(double seconds, double tdp_watts, int threads)
{
    bool known = tdp_watts > 0;
    double watts = known ? tdp_watts : WATTS_PER_THREAD * threads;
    Sourced out = { .value = seconds * TDP_SHARE * watts };
    if (known)
        snprintf(out.source, sizeof out.source, "modelled: time x %g x %g W (thermal design power); adds nothing to time",
                 TDP_SHARE, watts);
    else
        snprintf(out.source, sizeof out.source, "modelled: time x %g x %d threads x %g W (no wattage was given); adds nothing to time",
                 TDP_SHARE, threads, WATTS_PER_THREAD);
    return out;
}
