/* The report as text: the same rows for the terminal and for Markdown. */
#include "pipeline/report.h"

#include <math.h>
#include <string.h>

#include "pipeline/report_entries.h"
#include "pipeline/text.h"

static void percent_change(TextTable *t, double before, double after)
{
    if (!(before > 0) || !isfinite(after)) table_cell(t, "%s", "");
    else if (after > 0 && before / after >= 1.995) table_cell(t, "%.1fx less", before / after);
    else if (fabs(after - before) < 0.0005 * before) table_cell(t, "%s", "same");
    else table_cell(t, "%+.1f %%", (after / before - 1) * 100);
}

static void count_row(TextTable *t, const char *name, int64_t before, int64_t after)
{
    char text[32];
    if (before < 0 && after < 0) return;
    table_cell(t, "%s", name);
    text_count(before, text);
    table_cell(t, "%s", text);
    text_count(after, text);
    table_cell(t, "%s", text);
    percent_change(t, (double)before, after >= 0 ? (double)after : NAN);
}

static void bytes_row(TextTable *t, const char *name, int64_t before, int64_t after)
{
    const int64_t both[] = { before, after };
    if (before < 0 && after < 0) return;
    table_cell(t, "%s", name);
    for (int i = 0; i < 2; i++) {
        char text[32] = "n/a";
        if (both[i] >= 0) text_bytes((double)both[i], text);
        table_cell(t, "%s", text);
    }
    percent_change(t, (double)before, after >= 0 ? (double)after : NAN);
}

static void number_cell(TextTable *t, const char *format, double value)
{
    char text[64];
    snprintf(text, sizeof text, "%.4g", value);
    if (isfinite(value)) table_cell(t, format, text);
    else table_cell(t, "%s", "n/a");
}

static void number_row(TextTable *t, const char *name, double before, double after)
{
    if (!isfinite(before) && !isfinite(after)) return;
    table_cell(t, "%s", name);
    number_cell(t, "%s", before);
    number_cell(t, "%s", after);
    percent_change(t, before, after);
}

/* The change that pairs of windows show; without pairs, that of the columns. */
static void ratio_cell(TextTable *t, const Ratio *ratio, double before, double after)
{
    if (ratio == NULL || ratio->pairs == 0) percent_change(t, before, after);
    else if (ratio->verdict == VERDICT_INCONCLUSIVE) table_cell(t, "%s", "within noise");
    else percent_change(t, 1, ratio->median);
}

static void pairs_cell(TextTable *t, const Report *r, bool energy, double before, double after)
{
    int k = r->after.compared;
    ratio_cell(t, k <= 0 ? NULL : energy ? &r->measured.networks[k].energy : &r->measured.networks[k].time, before, after);
}

/* What may be said of power is decided with run time and energy; the number itself is a median. */
static void power_row(TextTable *t, const Report *r)
{
    double before = r->before.power_w.value, after = r->after.power_w.value;
    int k = r->after.compared;
    if (k <= 0 || r->measured.networks[k].power != VERDICT_INCONCLUSIVE || !isfinite(after)) {
        number_row(t, "power, W", before, after);
        return;
    }
    table_cell(t, "%s", "power, W");
    number_cell(t, "%s", before);
    number_cell(t, "%s", after);
    table_cell(t, "%s", "within noise");
}

static void latency_cell(TextTable *t, const Interval *i)
{
    if (isfinite(i->median)) table_cell(t, "%.4g [%.4g, %.4g]", i->median, i->low, i->high);
    else table_cell(t, "%s", "n/a");
}

static void latency_row(TextTable *t, const Report *r)
{
    const Interval *before = &r->before.latency_ms, *after = &r->after.latency_ms;
    if (!isfinite(before->median) && !isfinite(after->median)) return;
    table_cell(t, "%s", "latency, ms at batch 1");
    latency_cell(t, before);
    latency_cell(t, after);
    pairs_cell(t, r, false, before->median, after->median);
}

static void call_row(TextTable *t, const Report *r, const char *name, double before, double after)
{
    if (!isfinite(before) && !isfinite(after)) return;
    table_cell(t, "%s", name);
    number_cell(t, "%s", before);
    number_cell(t, "%s", after);
    pairs_cell(t, r, true, before, after);
}

/* A number of each network with an interval of its own, which the page shows; its change by the pairs. */
static void interval_row(TextTable *t, const char *name, const Interval *before, const Interval *after, double times, const Ratio *ratio)
{
    if (!isfinite(before->median) && !isfinite(after->median)) return;
    table_cell(t, "%s", name);
    number_cell(t, "%s", before->median * times);
    number_cell(t, "%s", after->median * times);
    bool about_zero = ratio != NULL && ratio->pairs == 0 && (before->low <= 0 || after->low <= 0);
    if (about_zero) table_cell(t, "%s", "not above idle beyond noise");
    else ratio_cell(t, ratio, before->median, after->median);
}

static void accuracy_cell(TextTable *t, const ReportState *s)
{
    if (isfinite(s->accuracy)) table_cell(t, "%.2f %% [%.2f, %.2f]", 100 * s->accuracy, 100 * s->accuracy_low, 100 * s->accuracy_high);
    else table_cell(t, "%s", "n/a");
}

static void accuracy_rows(TextTable *t, const Report *r)
{
    const ReportState *before = &r->before, *after = &r->after;
    if (isfinite(before->accuracy) || isfinite(after->accuracy)) {
        table_cell(t, "%s", r->data.evaluation != NULL ? "accuracy" : "accuracy, calibration data");
        accuracy_cell(t, before);
        accuracy_cell(t, after);
        double change = 100 * (after->accuracy - before->accuracy);
        if (isfinite(change)) table_cell(t, "%+.2f points", change);
        else table_cell(t, "%s", "");
        number_row(t, "cross-entropy, nats", before->cross_entropy, after->cross_entropy);
    }
    for (int i = 0; i < after->fidelity_count; i++) {
        const ReportFidelity *f = &after->fidelity[i];
        table_cell(t, "same as original: %s", f->output);
        table_cell(t, "%s", "");
        if (isfinite(f->top1_agreement)) table_cell(t, "%.2f %% top-1", 100 * f->top1_agreement);
        else table_cell(t, "cosine %.5f", f->cosine);
        if (isfinite(f->sqnr_db)) table_cell(t, "%.1f dB SQNR", f->sqnr_db);
        else table_cell(t, "%s", f->max_abs == 0 ? "equal" : "");
    }
}

static void fill_table(TextTable *t, const Report *r)
{
    const ReportState *b = &r->before, *a = &r->after;
    const Compared *n = a->compared > 0 ? &r->measured.networks[a->compared] : NULL;
    table_init(t, 4, "lrrr");
    table_cell(t, "%s", "");
    table_cell(t, "%s", "before");
    table_cell(t, "%s", r->dry_run ? "predicted" : "after");
    table_cell(t, "%s", "change");
    count_row(t, "file bytes", b->file_bytes, a->file_bytes);
    count_row(t, "deflated bytes", b->deflated_bytes, a->deflated_bytes);
    count_row(t, "parameters", b->parameters, a->parameters);
    count_row(t, "non-zero", b->nonzeros, a->nonzeros);
    number_row(t, "bits a weight", b->weight_bits, a->weight_bits);
    if (b->stored_bits > b->weight_bits || a->stored_bits > a->weight_bits) number_row(t, "  with scales", b->stored_bits, a->stored_bits);
    count_row(t, "MACs", b->macs.total, a->macs.total);
    count_row(t, "  of non-zero weights", b->macs.nonzero, a->macs.nonzero);
    count_row(t, "  in float32", b->macs.float32, a->macs.float32);
    if (b->macs.int8 > 0 || a->macs.int8 > 0) count_row(t, "  in int8", b->macs.int8, a->macs.int8);
    latency_row(t, r);
    interval_row(t, "CPU time, ms, all threads", &b->call_cpu_seconds, &a->call_cpu_seconds, 1e3, n != NULL ? &n->cpu : NULL);
    power_row(t, r);
    call_row(t, r, "energy, J a call", b->energy_j.value, a->energy_j.value);
    interval_row(t, "  above idle", &b->net_j, &a->net_j, 1, n != NULL ? &n->net : NULL);
    call_row(t, r, "carbon, g CO2e a call", b->carbon_g.value, a->carbon_g.value);
    bytes_row(t, "peak memory", b->peak_memory, a->peak_memory);
    accuracy_rows(t, r);
}

/* Software carbon intensity: what a functional unit, here an inference, emits. */
static void print_sci(const Report *r, const char *bullet, StrBuf *b)
{
    const ReportCarbon *c = &r->carbon;
    if (c->sci_count == 0 || !isfinite(c->sci[c->sci_count - 1].total_g)) return;
    strbuf_printf(b, "%sSCI: ", bullet);
    for (int i = 0; i < c->sci_count; i++) strbuf_printf(b, "%s%.4g", i > 0 ? " before, " : "", c->sci[i].total_g);
    strbuf_printf(b, "%s g CO2e an inference, (E I + M) / R; M, making the machine, %s\n", c->sci_count > 1 ? " after," : "",
                  isfinite(c->embodied.total_kg) ? "included" : "was not given");
}

/* What the passes took in energy, what was predicted, and when it is saved again; and what makes figures doubtful. */
static void print_measured(const Report *r, const char *bullet, StrBuf *b)
{
    const ReportCost *c = &r->cost;
    char energy[32], carbon[32], predicted[32], count[32], low[32], high[32];
    if (r->measured.count == 0) return;
    if (isfinite(c->energy_j.value) && r->step_count > 0) {
        text_quantity(c->energy_j.value, "J", energy);
        text_quantity(c->carbon_g.value, "g CO2e", carbon);
        strbuf_printf(b, "%scost of compressing: %s, %s (%s)\n", bullet, energy, carbon, c->energy_j.source);
        if (c->pays_back > 0 && c->pays_back < 9e18) {
            text_count((int64_t)ceil(c->pays_back), count);
            strbuf_printf(b, "%scost of compressing: saved again after %s inferences", bullet, count);
            if (c->pays_back_low < 9e18) {
                text_count((int64_t)ceil(c->pays_back_low), low);
                if (c->pays_back_high < 9e18) text_count((int64_t)ceil(c->pays_back_high), high);
                strbuf_printf(b, " [%s, %s]", low, c->pays_back_high < 9e18 ? high : "no end");
            }
            strbuf_add(b, "\n");
        } else if (c->pays_back_note[0] != '\0') {
            strbuf_printf(b, "%scost of compressing: not known to be saved again: %s\n", bullet, c->pays_back_note);
        }
    }
    if (isfinite(c->predicted_j)) {
        text_quantity(c->predicted_j, "J", predicted);
        text_quantity(c->found_j, "J", energy);
        strbuf_printf(b, "%scost of compressing: '%s' was predicted to take %s and took %s\n", bullet, c->predicted_task, predicted,
                      energy);
    }
    for (int i = 0; i < r->measured.warnings.count; i++) strbuf_printf(b, "%swarning: %s\n", bullet, r->measured.warnings.texts[i]);
}

/* Where the numbers come from; `bullet` starts each line. */
static void print_sources(const Report *r, const char *bullet, StrBuf *b)
{
    const ReportState *s = r->has_after ? &r->after : &r->before;
    char memory[32];
    if (s->macs.total >= 0) strbuf_printf(b, "%sMACs: %s\n", bullet, r->convention);
    if (s->counted_at[0] != '\0') strbuf_printf(b, "%sMACs: %s\n", bullet, s->counted_at);
    if (s->undecided > 0) {
        strbuf_add(b, bullet);
        text_undecided(s->undecided, b);
        strbuf_add(b, "\n");
    }
    if (s->uncounted[0] != '\0') strbuf_printf(b, "%snot counted: %s\n", bullet, s->uncounted);
    if (isfinite(s->latency_ms.median)) {
        strbuf_printf(b, "%slatency: median and 95 %% interval of %lld calls, all networks in turn, up to %d thread%s, on %s (%s)\n",
                      bullet, (long long)s->latency_runs, r->machine.threads, r->machine.threads == 1 ? "" : "s", r->machine.cpu,
                      r->machine.isa);
    } else if (s->latency_note[0] != '\0') {
        strbuf_printf(b, "%slatency: not measured: %s\n", bullet, s->latency_note);
    }
    if (r->after.compared > 0 && r->measured.networks[r->after.compared].time.pairs > 0)
        strbuf_printf(b, "%schanges of latency, energy and carbon are medians of pairs, not ratios of the columns\n", bullet);
    if (s->energy_j.source[0] != '\0') strbuf_printf(b, "%senergy: %s\n", bullet, s->energy_j.source);
    if (s->power_w.source[0] != '\0' && strcmp(s->power_w.source, s->energy_j.source) != 0) {
        strbuf_printf(b, "%spower: %s\n", bullet, s->power_w.source);
    }
    if (s->carbon_g.source[0] != '\0') strbuf_printf(b, "%scarbon: %s\n", bullet, s->carbon_g.source);
    print_sci(r, bullet, b);
    if (isfinite(s->accuracy)) {
        strbuf_printf(b, "%saccuracy: %lld of %lld right%s, Wilson 95 %% interval\n", bullet, (long long)s->correct, (long long)s->samples,
                      r->data.evaluation != NULL ? "" : " on calibration data");
    }
    if (s->fidelity_count > 0 && r->data.fidelity != NULL) {
        strbuf_printf(b, "%scompared with the original on: %s\n", bullet, r->data.fidelity);
    }
    if (r->step_count > 0) {
        text_bytes((double)r->cost.peak_memory, memory);
        strbuf_printf(b, "%scost of compressing: %.2f s, %.2f s of CPU time, at most %s of memory\n", bullet, r->cost.seconds,
                      r->cost.cpu_seconds, memory);
    }
    print_measured(r, bullet, b);
}

static void print_step(const Report *r, int i, bool all, StrBuf *b)
{
    const ReportStep *s = &r->steps[i];
    char bytes[32], energy[32];
    strbuf_printf(b, "%d. %s, %.2f s", i + 1, s->pass, s->seconds);
    if (isfinite(s->cost_energy_j.value)) {
        text_quantity(s->cost_energy_j.value, "J", energy);
        strbuf_printf(b, " and %s%s", energy, strncmp(s->cost_energy_j.source, "measured", 8) == 0 ? "" : " (modelled)");
    }
    if (s->state.file_bytes >= 0) {
        text_bytes((double)s->state.file_bytes, bytes);
        strbuf_printf(b, ", %s", bytes);
    }
    if (isfinite(s->state.latency_ms.median)) strbuf_printf(b, ", %.4g ms", s->state.latency_ms.median);
    if (isfinite(s->state.accuracy)) strbuf_printf(b, ", accuracy %.2f %%", 100 * s->state.accuracy);
    strbuf_add(b, "\n");
    entries_print(s, all, "   ", b);
}

static const char *goal_word(const GoalResult *g) { return g->outcome == GOAL_MISSED ? "MISSED" : goal_outcome_text(g->outcome); }

static void print_goals(const Report *r, const char *bullet, StrBuf *b)
{
    for (int i = 0; i < r->goal_count; i++) {
        const GoalResult *g = &r->goals[i];
        strbuf_printf(b, "%sgoal %s %s: ", bullet, g->name, g->limit);
        const char *how = r->dry_run ? "predicted" : "found";
        char found[GOAL_FOUND];
        goal_found(g, found);
        if (isfinite(g->found)) strbuf_printf(b, "%s, %s %s\n", goal_word(g), how, found);
        else strbuf_add(b, r->dry_run ? "not known before the run\n" : "MISSED, not measured\n");
    }
    if (r->kept[0] != '\0') strbuf_printf(b, "%swritten: %s\n", bullet, r->kept);
}

void report_print(const Report *r, StrBuf *b)
{
    TextTable t;
    if (r->dry_run) strbuf_printf(b, "%s: a dry run, nothing was written\n", r->source);
    else strbuf_printf(b, "%s -> %s\n", r->source, r->result != NULL ? r->result : "(not written)");
    if (r->has_after) {
        fill_table(&t, r);
        table_print(&t, 0, true, b);
        table_release(&t);
        print_sources(r, "", b);
    }
    for (int i = 0; i < r->step_count; i++) print_step(r, i, false, b);
    print_goals(r, "", b);
}

void report_print_markdown(const Report *r, StrBuf *b)
{
    TextTable t;
    strbuf_printf(b, "# %s -> %s\n\n", r->source, r->result != NULL ? r->result : "nothing written");
    if (r->has_after) {
        fill_table(&t, r);
        table_print_markdown(&t, b);
        table_release(&t);
        strbuf_add(b, "\n");
        print_sources(r, "- ", b);
    }
    if (r->step_count > 0) strbuf_add(b, "\n## Passes\n\n```\n");
    for (int i = 0; i < r->step_count; i++) print_step(r, i, true, b);
    if (r->step_count > 0) strbuf_add(b, "```\n");
    if (r->goal_count > 0) strbuf_add(b, "\n## Goals\n\n");
    print_goals(r, "- ", b);
    strbuf_printf(b, "\nSeed %lld; recipe sha256 %s; source sha256 %s; result sha256 %s; pare %s on %s, %s.\n", (long long)r->seed,
                  r->recipe_sha256, r->before.sha256, r->after.sha256,
                  cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(r->versions, "pare")), r->machine.cpu, r->machine.os);
}
