/* What compressing costs: time, CPU time and energy of the passes, a prediction while long ones run, and when it has paid for itself. */
#include <math.h>
#include <string.h>

#include "pipeline/run.h"
#include "pipeline/text.h"

#define LOGGED_SHARE 0.1     /* of a task that is done when its prediction goes to the log */
#define LOGGED_SECONDS 10.0  /* still to go; what ends sooner is not worth a line */

static double grams(const Run *run, double joules)
{
    const Footprint *f = run->options->footprint;
    return joules / 3.6e6 * (f != NULL ? f->grid.g_per_kwh * f->pue : carbon_world.g_per_kwh);
}

static void watch(void *user, const char *task, double share, char *text, size_t size)
{
    Run *run = user;
    if (!run->account.source.in_window) return; /* between passes */
    double joules = account_task(&run->account, task, share);
    if (share <= 0) run->predicted = false;
    if (share >= 1 || isnan(joules)) return;
    char energy[32], carbon[32];
    text_quantity(joules, "J", energy);
    text_quantity(grams(run, joules), "g CO2e", carbon);
    snprintf(text, size, ", about %s and %s for all of it", energy, carbon);
    double left = (clock_seconds() - run->options->log->started) * (1 - share) / share;
    bool due = share >= LOGGED_SHARE && left > LOGGED_SECONDS;
    if (run->predicted || !due) return;
    run->predicted = true;
    log_note(run->options->log, "%s, %.0f %% done: about %s and %s for all of it", task, share * 100, energy, carbon);
}

Status cost_open(Run *run, Err *err)
{
    Log *log = run->options->log;
    if (run->options->dry_run || run->pass_count == 0) return OK;
    TRY(account_open(&run->account, &run->options->source, err));
    if (log != NULL) {
        log->watch = watch;
        log->watch_user = run;
    }
    return OK;
}

void cost_begin(Run *run)
{
    if (run->account.open) account_begin(&run->account);
}

void cost_end(Run *run, int step)
{
    if (!run->account.open) return;
    account_end(&run->account);
    run->report->steps[step].window = run->account.count - 1;
}

void cost_close(Run *run)
{
    Account *a = &run->account;
    ReportCost *c = &run->report->cost;
    if (!a->open) return;
    account_settle(a);
    c->energy_j = account_total(a);
    for (int i = 0; i < run->report->step_count; i++)
        if (run->report->steps[i].window >= 0) run->report->steps[i].cost_energy_j = account_window(a, run->report->steps[i].window);
    snprintf(run->cost_source, sizeof run->cost_source, "%s", a->source.kind->id);
    if (isfinite(a->kept_predicted)) {
        c->predicted_j = a->kept_predicted;
        c->found_j = a->kept_found;
        memcpy(c->predicted_task, a->kept_task, sizeof c->predicted_task);
    }
    if (run->options->log != NULL) run->options->log->watch = NULL;
    account_close(a);
}

/* An inference saves before (1 - ratio). The ends of the ratio's interval are the ends of the answer: a ratio nearer to 1 takes longer. */
void payback_of(double cost_j, const Compared *before, const Compared *after, Payback *out)
{
    const Ratio *r = &after->energy;
    *out = (Payback){ .inferences = NAN, .low = NAN, .high = NAN };
    if (!(cost_j >= 0) || !(before->energy_j.median > 0) || r->verdict == VERDICT_NONE)
        snprintf(out->note, sizeof out->note, "energy was not measured");
    else if (r->verdict == VERDICT_MORE)
        snprintf(out->note, sizeof out->note, "never: an inference takes more energy than before (%.3g)", r->median);
    else if (r->verdict != VERDICT_LESS || !(r->median < 1))
        snprintf(out->note, sizeof out->note, "no saving of energy was shown: %s (%.3g [%.3g, %.3g])", verdict_text(r->verdict), r->median,
                 r->low, r->high);
    if (out->note[0] != '\0') return;
    double unit = cost_j / before->energy_j.median;
    out->inferences = unit / (1 - r->median);
    out->low = unit / (1 - r->low);
    out->high = r->high < 1 ? unit / (1 - r->high) : NAN;
}

void cost_pays_back(Run *run)
{
    Report *r = run->report;
    ReportCost *c = &r->cost;
    if (r->after.compared <= 0 || !isfinite(c->energy_j.value)) return;
    const Compared *before = &r->measured.networks[0], *after = &r->measured.networks[r->after.compared];
    const EnergySource *inferences = &r->measured.source;
    char *why = c->pays_back_note;
    if (strcmp(run->cost_source, inferences->id) != 0) {
        snprintf(why, sizeof c->pays_back_note, "the passes by %s, inferences by %s: not to be compared",
                 run->cost_source[0] != '\0' ? run->cost_source : "?", inferences->id);
        return;
    }
    Payback p;
    payback_of(c->energy_j.value, before, after, &p);
    c->pays_back = p.inferences;
    c->pays_back_low = p.low;
    c->pays_back_high = p.high;
    memcpy(why, p.note, sizeof c->pays_back_note);
}
