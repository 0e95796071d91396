#include "pipeline/footprint.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What stands beside the grid asked for when nobody says which: from nearly no carbon to nearly all coal. */
#define DEFAULT_GRIDS "world,Sweden,France,United Kingdom,Germany,United States,China,India"

/* "DEU", "Germany" or "344.1" */
static Status read_grid(const char *option, const char *text, GridFactor *out, Err *err)
{
    char *end;
    double number = strtod(text, &end);
    if (end != text && *end == '\0') {
        if (!(number >= 0 && number <= 5000))
            return err_set(err, ERR_USAGE, "%s is '%.40s', expected 0 to 5000 grams of CO2 equivalents a kWh", option, text);
        *out = (GridFactor){ number, "as given", 0, "as given", "the user", NULL };
        return OK;
    }
    const char *nearest = NULL;
    const GridFactor *found = carbon_grid_find(text, &nearest);
    if (found == NULL) {
        bool near = nearest != NULL && str_resembles(nearest, text);
        return err_set(err, ERR_USAGE, "%s: no grid '%.40s' in the table%s%s%s; see 'pare list grids'. Any grid goes as grams a kWh: "
                       "%s=300", option, text, near ? " (did you mean '" : "", near ? nearest : "", near ? "'?)" : "", option);
    }
    *out = *found;
    return OK;
}

static Status read_grids(const char *text, Footprint *f, Err *err)
{
    char name[64];
    while (*text != '\0') {
        size_t n = strcspn(text, ",");
        if (n >= sizeof name || n == 0) return err_set(err, ERR_USAGE, "grids: '%.40s' is no list of countries or numbers", text);
        if (f->grid_count == FOOTPRINT_GRIDS) return err_set(err, ERR_USAGE, "grids: more than %d", FOOTPRINT_GRIDS);
        memcpy(name, text, n);
        name[n] = '\0';
        TRY(read_grid("grids", name, &f->grids[f->grid_count], err));
        f->grid_count++;
        text += n;
        if (*text == ',') text++;
    }
    return OK;
}

static Status read_embodied(const char *text, Embodied *e, Err *err)
{
    char rest;
    int found = sscanf(text, "%lf:%lf:%lf%c", &e->total_kg, &e->lifetime_years, &e->share, &rest);
    if (found == 2) {
        found = sscanf(text, "%lf:%lf%c", &e->total_kg, &e->lifetime_years, &rest) == 2 ? 3 : 0;
        e->share = 1;
    }
    bool good = found == 3 && e->total_kg > 0 && e->total_kg <= 1e7 && e->lifetime_years > 0 && e->lifetime_years <= 100 && e->share > 0 &&
                e->share <= 1;
    if (good) return OK;
    return err_set(err, ERR_USAGE, "embodied is '%.40s', expected KG:YEARS or KG:YEARS:SHARE, such as 1000:4:0.5", text);
}

Status footprint_parse(const FootprintTexts *texts, Footprint *out, Err *err)
{
    *out = (Footprint){ .grid = carbon_world, .pue = carbon_pue };
    if (texts->grid != NULL) TRY(read_grid("grid", texts->grid, &out->grid, err));
    if (texts->pue != NULL) {
        char *end;
        out->pue = strtod(texts->pue, &end);
        if (end == texts->pue || *end != '\0' || !(out->pue >= 1 && out->pue <= 10))
            return err_set(err, ERR_USAGE, "pue is '%.40s', expected a number of 1 to 10", texts->pue);
    }
    if (texts->embodied != NULL) TRY(read_embodied(texts->embodied, &out->embodied, err));
    return read_grids(texts->grids != NULL ? texts->grids : DEFAULT_GRIDS, out, err);
}

Sourced footprint_carbon(const Footprint *f, const Sourced *joules) { return carbon_of_grid(joules, &f->grid, f->pue); }

/* ---- the report ---- */

static void set_carbon(const Footprint *f, const Report *r, ReportState *s)
{
    if (isfinite(s->latency_ms.median)) {
        int threads = r->machine.cores > 0 && r->machine.threads > r->machine.cores ? r->machine.cores : r->machine.threads;
        EstimateInput in = { .seconds = s->latency_ms.median * 1e-3, .cores = threads,
                             .memory_gb = r->cost.peak_memory > 0 ? (double)r->cost.peak_memory / 1e9 : 0 };
        s->green_algorithms_j = estimate_green_algorithms(&in);
        s->time_tdp_j = estimate_time_tdp(in.seconds, 0, threads);
    }
    if (s->energy_j.source[0] != '\0' || isfinite(s->energy_j.value)) s->carbon_g = footprint_carbon(f, &s->energy_j);
}

/* What the passes cost, and after how many inferences that is saved again: only where time, and with it energy, clearly fell. */
static void cost_of_passes(const Footprint *f, Report *r)
{
    ReportCost *c = &r->cost;
    if (!isfinite(c->energy_j.value) && c->cpu_seconds > 0) c->energy_j = energy_of_cpu_time(c->cpu_seconds, 0, c->energy_j.source);
    if (!isfinite(c->energy_j.value)) return;
    c->carbon_g = footprint_carbon(f, &c->energy_j);
    double saved = r->before.energy_j.value - r->after.energy_j.value;
    const Interval *before = &r->before.latency_ms, *after = &r->after.latency_ms;
    bool measured = strncmp(c->energy_j.source, "measured", 8) == 0, same = strncmp(r->after.energy_j.source, "measured", 8) == 0;
    if (isfinite(c->pays_back) || c->pays_back_note[0] != '\0') return;
    if (saved > 0 && after->high < before->low && measured == same) c->pays_back = c->energy_j.value / saved;
    else if (measured != same) snprintf(c->pays_back_note, sizeof c->pays_back_note, "one energy is measured, the other modelled");
    else snprintf(c->pays_back_note, sizeof c->pays_back_note, "no saving of energy was shown");
}

Status footprint_report(const Footprint *f, Report *r, Err *err)
{
    ReportCarbon *c = &r->carbon;
    c->grid = f->grid;
    c->pue = f->pue;
    bool given = f->embodied.total_kg > 0;
    if (given) c->embodied = f->embodied;
    set_carbon(f, r, &r->before);
    set_carbon(f, r, &r->after);
    for (int i = 0; i < r->step_count; i++) set_carbon(f, r, &r->steps[i].state);
    cost_of_passes(f, r);
    const ReportState *states[2] = { &r->before, &r->after };
    free(c->sci);
    c->sci_count = 0;
    c->sci = calloc(2, sizeof *c->sci);
    if (c->sci == NULL) return err_no_memory(err, "the report");
    for (int i = 0; i < 2; i++) {
        double joules = states[i]->energy_j.value;
        if (!isfinite(joules)) break;
        double seconds = states[i]->latency_ms.median * 1e-3;
        c->sci[c->sci_count++] = sci_of(joules, seconds, f->grid.g_per_kwh, f->pue, given ? &f->embodied : NULL);
    }
    free(c->scenarios);
    c->scenario_count = 0;
    c->scenarios = calloc((size_t)f->grid_count + 1, sizeof *c->scenarios);
    if (c->scenarios == NULL) return err_no_memory(err, "the report");
    for (int i = -1; i < f->grid_count; i++) { /* the one asked for first */
        const GridFactor *g = i < 0 ? &f->grid : &f->grids[i];
        bool again = i >= 0 && g->year == f->grid.year && strcmp(g->region, f->grid.region) == 0 && g->g_per_kwh == f->grid.g_per_kwh;
        if (again) continue;
        c->scenarios[c->scenario_count++] = (ReportScenario){ *g, r->before.energy_j.value / 3.6e6 * g->g_per_kwh * f->pue,
                                                              r->after.energy_j.value / 3.6e6 * g->g_per_kwh * f->pue };
    }
    return OK;
}
