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

void cost_end(Run *run)
{
    if (run->account.open) account_end(&run->account);
}

void cost_close(Run *run)
{
    Account *a = &run->account;
    ReportCost *c = &run->report->cost;
    if (!a->open) return;
    c->energy_j = account_total(a);
    if (isfinite(a->kept_predicted)) {
        c->predicted_j = a->kept_predicted;
        c->found_j = a->kept_found;
        memcpy(c->predicted_task, a->kept_task, sizeof c->predicted_task);
    }
    if (run->options->log != NULL) run->options->log->watch = NULL;
    account_close(a);
}

void cost_pays_back(Run *run)
{
    Report *r = run->report;
    ReportCost *c = &r->cost;
    if (r->after.compared <= 0 || !isfinite(c->energy_j.value)) return;
    const Compared *before = &r->measured.networks[0], *after = &r->measured.networks[r->after.compared];
    const Source *of = &run->account.source;
    char *why = c->pays_back_note;
    if (of->kind == NULL || strcmp(of->kind->id, r->measured.source.id) != 0)
        snprintf(why, sizeof c->pays_back_note, "the passes by %s, inferences by %s: not to be compared",
                 of->kind != NULL ? of->kind->id : "?", r->measured.source.id);
    else if (after->energy.verdict != VERDICT_LESS)
        snprintf(why, sizeof c->pays_back_note, "no saving of energy was shown: %s", verdict_text(after->energy.verdict));
    else c->pays_back = c->energy_j.value / (before->energy_j.median * (1 - after->energy.median)); /* lower: below 1 */
}
