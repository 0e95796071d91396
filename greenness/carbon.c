#include "greenness/carbon.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* International Energy Agency, Electricity 2025: analysis and forecast to 2027: 445 g CO2 per kWh in 2024, the world's average over what
 * power stations emit while generating. Factors of whole life cycles are higher; those of single countries run from 30 to 700. */
const GridFactor carbon_world = { 445, "world", 2024, "CO2 at generation", "IEA Electricity 2025", "WLD" };

const double carbon_pue = 1.0;

/* Green Algorithms' figure for a core of a processor that is not in its table (Lannelongue et al., Advanced Science 2021): thermal
 * design power by core; its table of 95 processors runs from 1.6 to 23.8 W, median 10.8 W. Right within a factor of about two. */
const double energy_watts_per_core = 12.0;

Sourced carbon_of_grid(const Sourced *joules, const GridFactor *grid, double pue)
{
    Sourced out = { .value = NAN };
    if (isnan(joules->value)) {
        snprintf(out.source, sizeof out.source, "not available: no energy figure");
        return out;
    }
    const char *energy = strncmp(joules->source, "measured", 8) == 0 ? "measured" : "modelled";
    if (grid == NULL) grid = &carbon_world;
    if (!(pue > 0)) pue = carbon_pue;
    out.value = joules->value / 3.6e6 * grid->g_per_kwh * pue;
    if (grid->year == 0)
        snprintf(out.source, sizeof out.source, "modelled: %s energy x %g g/kWh (as given), PUE %.2f", energy, grid->g_per_kwh, pue);
    else
        snprintf(out.source, sizeof out.source, "modelled: %s energy x %g g/kWh (%s %d, %s, %s), PUE %.2f", energy, grid->g_per_kwh,
                 grid->region, grid->year, grid->basis, grid->source, pue);
    return out;
}

Sourced energy_of_cpu_time(double cpu_seconds, double watts_per_core, const char *reason)
{
    double watts = watts_per_core > 0 ? watts_per_core : energy_watts_per_core;
    Sourced out = { .value = cpu_seconds * watts };
    snprintf(out.source, sizeof out.source, "modelled: CPU time x %g W/core; adds nothing to time%s%s", watts,
             reason[0] != '\0' ? "; " : "", reason);
    return out;
}
