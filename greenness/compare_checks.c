/* What is done between the rounds: rests for the heat, the idle machine once more in the middle of a long run, and whether energies add up:
 * the windows to what the source tells of all rounds, and the domains of RAPL to the domains that hold them. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "greenness/compare_private.h"
#include "greenness/tree.h"

#define ADDS_UP 0.03       /* relative: energies that should add up may differ by this much */
#define COOL 2.0           /* degrees over the start that are as good as it */
#define REST_STEP 0.25
#define POWERCAP "/sys/class/powercap"

/* ---- domains ---- */

static double joules_of(const char *root, const char *id)
{
    char path[TREE_PATH];
    uint64_t value;
    snprintf(path, sizeof path, POWERCAP "/%.64s/energy_uj", id);
    return tree_number(root, path, &value) == 0 ? (double)value * 1e-6 : NAN;
}

static DomainPart part_of(const char *id, const char *name)
{
    const char *colon = strchr(id, ':');
    bool inner = colon != NULL && strchr(colon + 1, ':') != NULL;
    if (!inner && strncmp(name, "package", 7) == 0) return DOMAIN_PACKAGE;
    if (!inner && strcmp(name, "psys") == 0) return DOMAIN_PSYS;
    if (inner && strcmp(name, "dram") == 0) return DOMAIN_DRAM;
    return inner && (strcmp(name, "core") == 0 || strcmp(name, "uncore") == 0) ? DOMAIN_CORE : DOMAIN_NONE;
}

static void domains_begin(Domains *d, const char *root)
{
    TreeNames names;
    *d = (Domains){ .count = 0 };
    if (tree_list(root, POWERCAP, &names) == 0) {
        for (int i = 0; i < names.count && d->count < DOMAINS_MOST; i++) {
            Domain *o = &d->items[d->count];
            char path[TREE_PATH], name[48];
            uint64_t range;
            if (strncmp(names.names[i], "intel-rapl:", 11) != 0) continue;
            snprintf(o->id, sizeof o->id, "%.*s", (int)sizeof o->id - 1, names.names[i]);
            snprintf(path, sizeof path, POWERCAP "/%.64s/name", o->id);
            if (tree_text(root, path, name, sizeof name) != 0) continue;
            o->part = part_of(o->id, name);
            o->mirrored = strstr(name, "-die-") != NULL;
            snprintf(path, sizeof path, POWERCAP "/%.64s/max_energy_range_uj", o->id);
            o->range = tree_number(root, path, &range) == 0 ? (double)range * 1e-6 : NAN;
            o->before = joules_of(root, o->id);
            d->count += o->part != DOMAIN_NONE && isfinite(o->before);
        }
    }
    tree_names_release(&names);
}

/* Joules since the beginning; NaN: not told, or it fell back without a known range. */
static double advanced(const Domain *o, const char *root)
{
    double now = joules_of(root, o->id), moved = now - o->before;
    return moved < 0 ? moved + o->range : moved;
}

static bool is_child(const char *id, const char *parent)
{
    size_t n = strlen(parent);
    return strncmp(id, parent, n) == 0 && id[n] == ':';
}

static void domains_end(Domains *d, const char *root, Comparison *out)
{
    double total = 0, psys = NAN;
    bool mirrored = false;
    for (int i = 0; i < d->count; i++) d->items[i].joules = advanced(&d->items[i], root);
    for (int i = 0; i < d->count; i++) {
        const Domain *o = &d->items[i];
        if (o->part == DOMAIN_PSYS) psys = o->joules;
        if (o->part == DOMAIN_PACKAGE || o->part == DOMAIN_DRAM) total += o->joules;
        if (o->part != DOMAIN_PACKAGE) continue;
        mirrored = mirrored || o->mirrored;
        double inner = 0;
        int parts = 0;
        for (int k = 0; k < d->count; k++) {
            if (d->items[k].part != DOMAIN_CORE || !is_child(d->items[k].id, o->id)) continue;
            inner += d->items[k].joules;
            parts++;
        }
        double share = parts > 0 && o->joules > 0 ? inner / o->joules : NAN;
        if (!isfinite(share)) continue;
        out->cores_share = isfinite(out->cores_share) ? fmax(out->cores_share, share) : share;
        if (share > 1 + ADDS_UP)
            warn(&out->warnings, "%.40s: its cores and uncore took %.4g J, the package as a whole %.4g J: a counter lies", o->id, inner,
                 o->joules);
    }
    if (mirrored || !(psys > 0) || !(total > 0)) return; /* dies that show one counter twice would count twice */
    out->platform_share = total / psys;
    if (out->platform_share > 1 + ADDS_UP)
        warn(&out->warnings, "packages and memory took %.4g J, psys %.4g J: psys does not hold the platform, or a counter lies", total,
             psys);
}

/* ---- the windows and the whole ---- */

void protocol_checks_begin(Protocol *p)
{
    Checks *c = &p->checks;
    const Source *s = &p->instruments.source;
    protocol_checks_release(p);
    if (!provenance_measured(s->provenance)) return;
    domains_begin(&c->domains, p->options->source.sysroot);
    c->has_domains = true;
    if (!source_open(s->kind, &p->options->source, &c->whole)) {
        source_close(&c->whole);
        return;
    }
    source_begin(&c->whole);
    c->has_whole = true;
}

void protocol_checks_end(Protocol *p)
{
    Checks *c = &p->checks;
    if (c->has_whole) source_end(&c->whole, NULL, &c->reading);
    if (c->has_domains) domains_end(&c->domains, p->options->source.sysroot, p->out);
    c->has_domains = false;
}

/* Windows are parts of the whole: together no more than it, and with what the machine can have drawn between them no less. */
void protocol_checks_judge(Protocol *p)
{
    Checks *c = &p->checks;
    Comparison *out = p->out;
    double seconds = 0, most = 0, resolution = 0;
    int read = 0;
    if (!c->has_whole) return;
    source_settle(&c->whole, &c->reading);
    out->windows_j = 0;
    for (int r = p->source_since; r < p->rounds; r++) {
        for (int k = 0; k <= p->count; k++) {
            const Reading *w = &protocol_window(p, r, k)->reading;
            if (w->state != READING_GOOD) continue;
            out->windows_j += w->joules;
            seconds += w->seconds;
            most = fmax(most, w->watts);
            resolution = fmax(resolution, w->resolution);
            read++;
        }
    }
    if (read == 0) out->windows_j = NAN;
    if (read == 0 || c->reading.state != READING_GOOD) return;
    out->whole_j = c->reading.joules;
    double between = fmax(c->reading.seconds - seconds, 0) * most, slack = 1 + ADDS_UP + resolution;
    if (out->windows_j > out->whole_j * slack)
        warn(&out->warnings, "the windows add up to %.4g J, and the source tells %.4g J of all rounds: its figures are not additive",
             out->windows_j, out->whole_j);
    else if (out->whole_j > (out->windows_j + between) * slack)
        warn(&out->warnings, "the source tells %.4g J of all rounds, %.4g J of them in no window: something else drew power", out->whole_j,
             out->whole_j - out->windows_j);
}

void protocol_checks_release(Protocol *p)
{
    if (p->checks.has_whole) source_close(&p->checks.whole);
    p->checks.has_whole = p->checks.has_domains = false;
}

/* ---- between two rounds ---- */

static Status rest(Protocol *p, Err *err)
{
    Comparison *out = p->out;
    Surroundings now;
    const char *root = p->options->source.sysroot;
    double waited = 0, limit = fmin(p->options->rest, protocol_left(p));
    surroundings_read(root, 0, &now);
    if (now.throttled > p->checks.throttled && p->checks.throttled >= 0) out->throttled_rounds++;
    p->checks.throttled = now.throttled;
    if (now.celsius > out->celsius_most || isnan(out->celsius_most)) out->celsius_most = now.celsius;
    while (now.celsius > p->checks.celsius + COOL && waited < limit) {
        instruments_sleep(&p->instruments, REST_STEP);
        if (p->checks.has_whole) source_poll(&p->checks.whole);
        waited += REST_STEP;
        surroundings_read(root, 0, &now);
        if (log_interrupted(p->options->log)) return err_set(err, ERR_INTERRUPTED, "measuring: interrupted");
    }
    out->rests += waited > 0;
    out->rest_seconds += waited;
    return OK;
}

Status protocol_between(Protocol *p, Err *err)
{
    if (p->checks.has_whole) source_poll(&p->checks.whole);
    if (p->options->rest > 0) TRY(rest(p, err));
    bool due = p->idle_seconds > 0 && p->budget >= MIDDLE_BUDGET && p->baseline_count == 1 && protocol_left(p) < p->source_left / 2;
    return due ? protocol_baseline(p, &p->out->idle_middle_w, err) : OK;
}

void protocol_start_cool(Protocol *p, const Surroundings *s)
{
    p->checks.celsius = s->celsius;
    p->checks.throttled = s->throttled;
    if (p->options->rest > 0 && isnan(s->celsius)) warn(&p->out->warnings, "no temperature can be read: there was no rest between rounds");
}

double protocol_idle_at(const Protocol *p, double when)
{
    const Baseline *b = p->baselines;
    int n = p->baseline_count;
    if (n == 0) return NAN;
    if (when <= b[0].when) return b[0].watts;
    for (int i = 1; i < n; i++) {
        double share = (when - b[i - 1].when) / (b[i].when - b[i - 1].when);
        if (when <= b[i].when) return b[i - 1].watts + share * (b[i].watts - b[i - 1].watts);
    }
    return b[n - 1].watts;
}
