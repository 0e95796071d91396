/* A comparison as text: the same rows for the terminal and for Markdown. */
#include <math.h>
#include <string.h>

#include "pipeline/comparison.h"
#include "pipeline/text.h"

#define THOUSAND 1000.0

static const Compared *timed(const ComparisonReport *r, int i)
{
    return r->files[i].state.compared >= 0 ? &r->files[i].measured : NULL;
}

static void ratio_cell(TextTable *t, const Ratio *ratio)
{
    if (ratio == NULL || ratio->pairs == 0) table_cell(t, "%s", "");
    else table_cell(t, "%.3f [%.3f, %.3f] %s", ratio->median, ratio->low, ratio->high, verdict_text(ratio->verdict));
}

static void plain_ratio_cell(TextTable *t, double before, double after)
{
    if (!(before > 0) || !isfinite(after)) table_cell(t, "%s", "");
    else if (before == after) table_cell(t, "%s", "same");
    else table_cell(t, "%.3f", after / before);
}

typedef const Interval *(*IntervalOf)(const Compared *n);
typedef const Ratio *(*RatioOf)(const Compared *n);

static const Interval *seconds_of(const Compared *n) { return &n->seconds; }
static const Interval *cpu_of(const Compared *n) { return &n->cpu_seconds; }
static const Interval *energy_of(const Compared *n) { return &n->energy_j; }
static const Interval *net_of(const Compared *n) { return &n->net_j; }
static const Interval *watts_of(const Compared *n) { return &n->watts; }
static const Ratio *time_ratio(const Compared *n) { return &n->time; }
static const Ratio *cpu_ratio(const Compared *n) { return &n->cpu; }
static const Ratio *energy_ratio(const Compared *n) { return &n->energy; }
static const Ratio *net_ratio(const Compared *n) { return &n->net; }

static void name_cells(TextTable *t, const ComparisonReport *r)
{
    table_cell(t, "%s", "");
    for (int i = 0; i < r->file_count; i++) {
        StrBuf name = { 0 };
        text_safe(str_of(r->files[i].name), &name);
        table_cell(t, "%s", name.data != NULL ? name.data : "");
        strbuf_release(&name);
        if (i > 0) table_cell(t, "%s", "ratio");
    }
}

static void count_row(TextTable *t, const ComparisonReport *r, const char *name, int64_t (*of)(const ComparisonFile *f), bool bytes)
{
    bool any = false;
    for (int i = 0; i < r->file_count; i++) any = any || of(&r->files[i]) >= 0;
    if (!any) return;
    table_cell(t, "%s", name);
    for (int i = 0; i < r->file_count; i++) {
        char text[32];
        int64_t value = of(&r->files[i]), first = of(&r->files[0]);
        if (bytes && value >= 0) text_bytes((double)value, text);
        else text_count(value, text);
        table_cell(t, "%s", text);
        if (i > 0) plain_ratio_cell(t, (double)first, value >= 0 ? (double)value : NAN);
    }
}

static int64_t file_bytes(const ComparisonFile *f) { return f->state.file_bytes; }
static int64_t deflated(const ComparisonFile *f) { return f->state.deflated_bytes; }
static int64_t parameters(const ComparisonFile *f) { return f->state.parameters; }
static int64_t nonzeros(const ComparisonFile *f) { return f->state.nonzeros; }
static int64_t macs(const ComparisonFile *f) { return f->state.macs.total; }
static int64_t macs_nonzero(const ComparisonFile *f) { return f->state.macs.nonzero; }
static int64_t macs_float(const ComparisonFile *f) { return f->state.macs.float32; }
static int64_t macs_int8(const ComparisonFile *f) { return f->state.macs.int8; }
static int64_t elementwise(const ComparisonFile *f) { return f->state.elementwise; }
static int64_t transcendental(const ComparisonFile *f) { return f->state.transcendental; }
static int64_t moved(const ComparisonFile *f) { return isfinite(f->bytes_moved) ? (int64_t)f->bytes_moved : -1; }
static int64_t memory(const ComparisonFile *f) { return f->state.peak_memory; }

static void number_row(TextTable *t, const ComparisonReport *r, const char *name, double (*of)(const ComparisonFile *f))
{
    bool any = false;
    for (int i = 0; i < r->file_count; i++) any = any || isfinite(of(&r->files[i]));
    if (!any) return;
    table_cell(t, "%s", name);
    for (int i = 0; i < r->file_count; i++) {
        double value = of(&r->files[i]);
        if (isfinite(value)) table_cell(t, "%.4g", value);
        else table_cell(t, "%s", "n/a");
        if (i > 0) plain_ratio_cell(t, of(&r->files[0]), value);
    }
}

static double bits(const ComparisonFile *f) { return f->state.weight_bits; }
static double stored_bits(const ComparisonFile *f) { return f->state.stored_bits; }
static double intensity(const ComparisonFile *f) { return f->intensity; }

/* A measured quantity with its interval, scaled by `times` (a thousand inferences). */
static void measured_row(TextTable *t, const ComparisonReport *r, const char *name, const char *unit, IntervalOf of, RatioOf ratio,
                         double times)
{
    const Compared *first = timed(r, 0);
    if (first == NULL || !isfinite(of(first)->median)) return;
    char scaled[TEXT_UNIT];
    double factor = text_unit(of(first)->median * times, unit, scaled) * times;
    table_cell(t, "%s, %s", name, scaled);
    for (int i = 0; i < r->file_count; i++) {
        const Compared *n = timed(r, i);
        const Interval *v = n != NULL ? of(n) : NULL;
        if (v == NULL || !isfinite(v->median)) table_cell(t, "%s", "n/a");
        else if (times != 1) table_cell(t, "%.4g", v->median * factor);
        else table_cell(t, "%.4g [%.4g, %.4g]", v->median * factor, v->low * factor, v->high * factor);
        bool none = times == 1 && ratio != NULL && v != NULL && ratio(n)->pairs == 0 && (v->low <= 0 || of(first)->low <= 0);
        if (i > 0 && none) table_cell(t, "%s", "not above idle beyond noise"); /* of all rows only that one has numbers about zero */
        else if (i > 0 && ratio != NULL) ratio_cell(t, n != NULL && times == 1 ? ratio(n) : NULL);
        else if (i > 0) table_cell(t, "%s", "");
    }
}

typedef double (*ValueOf)(const Compared *n);
static double carbon_of(const Compared *n) { return n->carbon_g.value; }
static double joules_of(const Compared *n) { return n->energy_j.median; }
static double green_algorithms_of(const Compared *n) { return n->green_algorithms_j.value; }
static double time_tdp_of(const Compared *n) { return n->time_tdp_j.value; }

/* `like`: the value whose unit is taken. */
static void value_row(TextTable *t, const ComparisonReport *r, const char *name, const char *unit, ValueOf of, ValueOf like, double times)
{
    const Compared *first = timed(r, 0);
    if (first == NULL || !isfinite(of(first))) return;
    char scaled[TEXT_UNIT];
    double factor = text_unit((isfinite(like(first)) ? like(first) : of(first)) * times, unit, scaled) * times;
    table_cell(t, "%s, %s", name, scaled);
    for (int i = 0; i < r->file_count; i++) {
        const Compared *n = timed(r, i);
        if (n == NULL || !isfinite(of(n))) table_cell(t, "%s", "n/a");
        else table_cell(t, "%.4g", of(n) * factor);
        if (i > 0) table_cell(t, "%s", "");
    }
}

static void accuracy_row(TextTable *t, const ComparisonReport *r)
{
    if (!isfinite(r->files[0].state.accuracy)) return;
    table_cell(t, "%s", "accuracy");
    for (int i = 0; i < r->file_count; i++) {
        const ReportState *s = &r->files[i].state;
        if (isfinite(s->accuracy)) table_cell(t, "%.2f %% [%.2f, %.2f]", 100 * s->accuracy, 100 * s->accuracy_low, 100 * s->accuracy_high);
        else table_cell(t, "%s", "n/a");
        double change = 100 * (s->accuracy - r->files[0].state.accuracy);
        if (i > 0 && isfinite(change)) table_cell(t, "%+.2f points", change);
        else if (i > 0) table_cell(t, "%s", "");
    }
}

static void fidelity_row(TextTable *t, const ComparisonReport *r)
{
    bool any = false;
    for (int i = 1; i < r->file_count; i++) any = any || r->files[i].state.fidelity_count > 0;
    if (!any) return;
    table_cell(t, "%s", r->data.evaluation != NULL ? "outputs as the first's" : "outputs as the first's, random inputs");
    table_cell(t, "%s", "");
    for (int i = 1; i < r->file_count; i++) {
        const ReportFidelity *f = r->files[i].state.fidelity;
        if (f == NULL) table_cell(t, "%s", "n/a");
        else if (isfinite(f->top1_agreement)) table_cell(t, "%.2f %% top-1", 100 * f->top1_agreement);
        else table_cell(t, "cosine %.5f", f->cosine);
        if (f != NULL && isfinite(f->sqnr_db)) table_cell(t, "%.1f dB SQNR", f->sqnr_db);
        else table_cell(t, "%s", f != NULL && f->max_abs == 0 ? "equal" : "");
    }
}

static void fill(TextTable *t, const ComparisonReport *r)
{
    static const char columns[] = "lrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrr";
    _Static_assert(sizeof columns > 2 * COMPARE_MOST, "a letter for each column");
    const ComparisonFile *first = &r->files[0];
    bool int8 = false;
    for (int i = 0; i < r->file_count; i++) int8 = int8 || r->files[i].state.macs.int8 > 0;
    table_init(t, 2 * r->file_count, columns);
    name_cells(t, r);
    measured_row(t, r, "run time", "s", seconds_of, time_ratio, 1);
    measured_row(t, r, "CPU time", "s", cpu_of, cpu_ratio, 1);
    measured_row(t, r, "power", "W", watts_of, NULL, 1);
    measured_row(t, r, "energy", "J", energy_of, energy_ratio, 1);
    measured_row(t, r, "  above idle", "J", net_of, net_ratio, 1);
    measured_row(t, r, "  of 1,000", "J", energy_of, energy_ratio, THOUSAND);
    value_row(t, r, "  by Green Algorithms", "J", green_algorithms_of, joules_of, 1);
    value_row(t, r, "  by time x TDP", "J", time_tdp_of, joules_of, 1);
    value_row(t, r, "carbon of 1,000", "g CO2e", carbon_of, carbon_of, THOUSAND);
    count_row(t, r, "peak memory", memory, true);
    count_row(t, r, "file bytes", file_bytes, false);
    count_row(t, r, "deflated bytes", deflated, false);
    count_row(t, r, "parameters", parameters, false);
    count_row(t, r, "non-zero", nonzeros, false);
    number_row(t, r, "bits a weight", bits);
    bool scales = false;
    for (int i = 0; i < r->file_count; i++) scales = scales || r->files[i].state.stored_bits > r->files[i].state.weight_bits;
    if (scales) number_row(t, r, "  with scales", stored_bits);
    count_row(t, r, "MACs", macs, false);
    count_row(t, r, "  of non-zero weights", macs_nonzero, false);
    count_row(t, r, "  in float32", macs_float, false);
    if (int8) count_row(t, r, "  in int8", macs_int8, false);
    count_row(t, r, "elementwise", elementwise, false);
    count_row(t, r, "transcendental", transcendental, false);
    if (first->state.macs.total >= 0) count_row(t, r, "bytes moved", moved, false);
    number_row(t, r, "operations a byte", intensity);
    accuracy_row(t, r);
    fidelity_row(t, r);
}

/* What may be claimed, in a sentence for each network. */
static void print_verdicts(const ComparisonReport *r, const char *bullet, StrBuf *b)
{
    const Comparison *c = &r->measured;
    for (int i = 1; i < r->file_count; i++) {
        const Compared *n = timed(r, i);
        if (n == NULL) continue;
        static const char *const names[] = { "run time", "energy" };
        const Ratio *ratios[] = { &n->time, &n->energy };
        const NullBand *nulls[] = { &c->null_time, &c->null_energy };
        for (int k = 0; k < 2; k++) {
            if (ratios[k]->pairs == 0) continue;
            strbuf_printf(b, "%s", bullet);
            text_safe(str_of(n->name), b);
            if (ratios[k]->verdict == VERDICT_INCONCLUSIVE) strbuf_printf(b, ": %s inconclusive", names[k]);
            else strbuf_printf(b, ": %s %s by %.1f %%", names[k], verdict_text(ratios[k]->verdict), 100 * fabs(1 - ratios[k]->median));
            strbuf_printf(b, " (%d pairs, 95 %% interval %.3f to %.3f, against itself %.3f to %.3f, p %.2g%s)\n", ratios[k]->pairs,
                          ratios[k]->low, ratios[k]->high, nulls[k]->low, nulls[k]->high, ratios[k]->p,
                          k == 1 && c->source.proportional ? "; follows CPU time: no surer than run time" : "");
            if (ratios[k]->outliers > 0)
                strbuf_printf(b, "%s  %d of them outliers, kept; without them %.3f\n", bullet, ratios[k]->outliers,
                              ratios[k]->without_outliers);
        }
    }
}

static void print_watts(double watts, const char *when, StrBuf *b)
{
    if (isfinite(watts)) strbuf_printf(b, "%.4g W %s, ", watts, when);
    else strbuf_printf(b, "not told %s, ", when);
}

/* The idle machine, whether energies add up, and pauses. */
static void print_idle(const Comparison *c, const char *bullet, StrBuf *b)
{
    if (isfinite(c->idle_before_w) || isfinite(c->idle_after_w)) {
        strbuf_printf(b, "%sidle: ", bullet);
        print_watts(c->idle_before_w, "before", b);
        if (isfinite(c->idle_middle_w)) print_watts(c->idle_middle_w, "in the middle", b);
        print_watts(c->idle_after_w, "after", b);
        strbuf_printf(b, "%.3g s each\n", c->idle_seconds);
    } else if (c->idle_seconds > 0) {
        strbuf_printf(b, "%sabove idle: not known, the idle machine could not be read\n", bullet);
    } else {
        strbuf_printf(b, "%sabove idle: not known, a model has no idle machine\n", bullet);
    }
    if (isfinite(c->whole_j))
        strbuf_printf(b, "%sadds up: %.4g J in the windows of %.4g J that the source told of all rounds", bullet, c->windows_j, c->whole_j);
    if (isfinite(c->whole_j) && isfinite(c->cores_share)) strbuf_printf(b, "; core + uncore %.0f %% of package", 100 * c->cores_share);
    if (isfinite(c->whole_j) && isfinite(c->platform_share)) strbuf_printf(b, "; packages + dram %.0f %% of psys", 100 * c->platform_share);
    if (isfinite(c->whole_j)) strbuf_add(b, "\n");
    if (c->rests > 0) strbuf_printf(b, "%srests for the heat: %d, %.3g s in all\n", bullet, c->rests, c->rest_seconds);
}

/* Software carbon intensity, network by network, and the same energies on other grids. */
static void print_sci(const ComparisonReport *r, const char *bullet, StrBuf *b)
{
    const Comparison *c = &r->measured;
    bool made = c->networks[0].sci.embodied_g > 0;
    if (!isfinite(c->networks[0].sci.total_g)) return;
    strbuf_printf(b, "%sSCI: ", bullet);
    for (int k = 0; k < c->count; k++) strbuf_printf(b, "%s%.4g", k > 0 ? ", " : "", c->networks[k].sci.total_g);
    strbuf_printf(b, " g CO2e an inference, (E I + M) / R; M, making the machine, %s\n", made ? "included" : "was not given");
    if (r->scenario_count < 2) return;
    strbuf_printf(b, "%scarbon on other grids, g CO2e an inference of %s:", bullet, c->networks[c->count - 1].name);
    for (int i = 1; i < r->scenario_count; i++)
        strbuf_printf(b, "%s %s %.3g", i > 1 ? "," : "", r->scenarios[i].grid.region, r->scenarios[i].last_g);
    strbuf_add(b, "\n");
}

static void print_method(const ComparisonReport *r, const char *bullet, StrBuf *b)
{
    const Comparison *c = &r->measured;
    if (c->count == 0) {
        strbuf_printf(b, "%snot timed: %s\n", bullet, r->note);
        return;
    }
    const Compared *first = &c->networks[0];
    strbuf_printf(b, "%sof one inference, batch %lld, %d thread%s, on %s (%s); inputs: %s\n", bullet, (long long)first->batch, c->threads,
                  c->threads == 1 ? "" : "s", r->machine.cpu, r->machine.isa, r->data.fidelity != NULL ? r->data.fidelity : "none");
    strbuf_printf(b, "%s%d rounds of a window of %.3g s of each in random order (seed %llu), the first one twice; %.1f of %.1f s, %s\n",
                  bullet, c->rounds, c->window_seconds, (unsigned long long)c->seed, c->spent, c->budget, stop_text(c->stopped));
    strbuf_printf(b, "%sagainst itself the first reads %.3f in time, noise from %.3f to %.3f%s\n", bullet, c->null_time.median,
                  c->null_time.low, c->null_time.high,
                  c->null_time.stable ? "" : ": UNSTABLE");
    if (c->count > 1)
        strbuf_printf(b, "%sratios of run time, CPU time and energy are medians of pairs of windows, not ratios of the columns\n", bullet);
    strbuf_printf(b, "%senergy: %s; covers %s\n", bullet, c->source.text, c->source.boundary);
    if (c->source.note[0] != '\0' && !c->source.proportional) strbuf_printf(b, "%senergy: %s\n", bullet, c->source.note);
    print_idle(c, bullet, b);
    strbuf_printf(b, "%scarbon: %s\n", bullet, first->carbon_g.source);
    print_sci(r, bullet, b);
    strbuf_printf(b, "%sestimates of others: %s\n", bullet, first->green_algorithms_j.source);
    strbuf_printf(b, "%sestimates of others: %s\n", bullet, first->time_tdp_j.source);
    strbuf_printf(b, "%smeasuring itself: %.2g us at the ends of a window, %.2g %% of the windows\n", bullet, c->read_seconds * 1e6,
                  c->overhead * 100);
    strbuf_printf(b, "%sMACs: %s\n", bullet, r->convention);
}

static void print_rest(const ComparisonReport *r, const char *bullet, StrBuf *b)
{
    for (int i = 0; i < r->file_count; i++) {
        const ComparisonFile *f = &r->files[i];
        if (f->inputs[0] != '\0') strbuf_printf(b, "%s%s: %s\n", bullet, f->name, f->inputs);
        if (f->state.counted_at[0] != '\0') strbuf_printf(b, "%s%s: MACs: %s\n", bullet, f->name, f->state.counted_at);
        if (f->state.undecided > 0) {
            strbuf_printf(b, "%s%s: ", bullet, f->name);
            text_undecided(f->state.undecided, b);
            strbuf_add(b, "\n");
        }
        if (f->state.uncounted[0] != '\0') strbuf_printf(b, "%s%s: not counted: %s\n", bullet, f->name, f->state.uncounted);
        if (f->state.compared < 0 && i > 0 && f->state.latency_note[0] != '\0')
            strbuf_printf(b, "%s%s: not timed: %s\n", bullet, f->name, f->state.latency_note);
    }
    for (int i = 0; i < r->measured.warnings.count; i++) strbuf_printf(b, "%swarning: %s\n", bullet, r->measured.warnings.texts[i]);
    for (int i = 0; i < r->goal_count; i++) {
        const GoalResult *g = &r->goals[i].result;
        char found[GOAL_FOUND];
        goal_found(g, found);
        strbuf_printf(b, "%sgoal %s %s, %s: %s, %s%s\n", bullet, g->name, g->limit, r->files[r->goals[i].network].name,
                      g->outcome == GOAL_MISSED ? "MISSED" : goal_outcome_text(g->outcome), isfinite(g->found) ? "found " : "", found);
    }
}

void comparison_print(const ComparisonReport *r, StrBuf *b)
{
    TextTable t;
    fill(&t, r);
    table_print(&t, 0, true, b);
    table_release(&t);
    print_verdicts(r, "", b);
    print_method(r, "", b);
    print_rest(r, "", b);
}

void comparison_print_markdown(const ComparisonReport *r, StrBuf *b)
{
    TextTable t;
    strbuf_printf(b, "# %s", r->files[0].name);
    for (int i = 1; i < r->file_count; i++) strbuf_printf(b, "%s%s", i == 1 ? " against " : ", ", r->files[i].name);
    strbuf_add(b, "\n\n");
    fill(&t, r);
    table_print_markdown(&t, b);
    table_release(&t);
    strbuf_add(b, "\n");
    print_verdicts(r, "- ", b);
    print_method(r, "- ", b);
    print_rest(r, "- ", b);
    for (int i = 0; i < r->file_count; i++) strbuf_printf(b, "- sha256 of %s: %s\n", r->files[i].path, r->files[i].state.sha256);
}
