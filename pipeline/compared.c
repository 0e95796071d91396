/* What a comparison measured of one network, as a report's state holds it. */
#include "pipeline/comparison.h"

#include <math.h>

void report_state_compared(ReportState *s, const Comparison *c, int k)
{
    const Compared *n = &c->networks[k];
    s->compared = k;
    s->latency_ms = (Interval){ n->seconds.median * 1e3, n->seconds.low * 1e3, n->seconds.high * 1e3 };
    s->call_cpu_seconds = n->cpu_seconds;
    s->net_j = n->net_j;
    s->latency_runs = n->calls * c->rounds;
    s->energy_j.value = n->energy_j.median;
    snprintf(s->energy_j.source, sizeof s->energy_j.source, "%.*s", (int)sizeof s->energy_j.source - 1, c->source.text);
    s->power_w = (Sourced){ .value = n->watts.median };
    snprintf(s->power_w.source, sizeof s->power_w.source, "%s", s->energy_j.source);
    s->carbon_g = n->carbon_g;
}

static GoalInterval interval_of(const Ratio *r, const NullBand *null)
{
    return (GoalInterval){ .pairs = r->pairs, .low = r->low, .high = r->high, .noise = null->pairs > 0 ? null->high : 1,
                           .few = r->pairs < COMPARE_CLAIM_PAIRS || null->pairs < COMPARE_CLAIM_PAIRS };
}

void goal_numbers_compared(GoalNumbers *n, const Comparison *c, int k)
{
    n->latency_ms = n->energy_j = k == 0 ? 1 : NAN;
    n->energy_follows = false;
    n->latency = n->energy = (GoalInterval){ .pairs = 0 };
    if (k <= 0) return;
    const Compared *of = &c->networks[k];
    n->latency_ms = of->time.median;
    n->energy_j = of->energy.median;
    n->latency = interval_of(&of->time, &c->null_time);
    n->energy = interval_of(&of->energy, &c->null_energy);
    n->energy_follows = c->source.proportional;
}
