/* What a comparison measured of one network, as a report's state holds it. */
#include "pipeline/comparison.h"

void report_state_compared(ReportState *s, const Comparison *c, int k)
{
    const Compared *n = &c->networks[k];
    s->compared = k;
    s->latency_ms = (Interval){ n->seconds.median * 1e3, n->seconds.low * 1e3, n->seconds.high * 1e3 };
    s->latency_runs = n->calls * c->rounds;
    s->energy_j.value = n->energy_j.median;
    snprintf(s->energy_j.source, sizeof s->energy_j.source, "%.*s", (int)sizeof s->energy_j.source - 1, c->source.text);
    s->power_w = (Sourced){ .value = n->watts.median };
    snprintf(s->power_w.source, sizeof s->power_w.source, "%s", s->energy_j.source);
    s->carbon_g = n->carbon_g;
}
