#include "pipeline/probe.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "greenness/advice.h"
#include "pipeline/text.h"

/* What a source tells of this very moment: a counter that does not move is worth knowing before it is relied on. */
static void try_window(Source *s, double seconds, ProbeLine *line)
{
    line->watts = NAN;
    if (s->kind->step == NULL) return;
    Reading reading;
    struct timespec rest = { (time_t)seconds, (long)((seconds - floor(seconds)) * 1e9) };
    source_begin(s);
    nanosleep(&rest, NULL);
    source_end(s, NULL, &reading);
    if (reading.state == READING_GOOD) line->watts = reading.watts;
    else snprintf(line->watts_note, sizeof line->watts_note, "%s", reading.reason);
}

void probe_machine(const SourceSettings *settings, double seconds, Probe *out)
{
    *out = (Probe){ .chosen = -1 };
    machine_info(&out->machine);
    const SourceKind *named = source_named(settings);
    out->is_virtual = advice_virtual(settings->sysroot);
    for (const SourceKind *const *k = sources_all(); *k != NULL && out->count < PROBE_MOST; k++) {
        ProbeLine *line = &out->lines[out->count];
        bool ready = source_open(*k, settings, &line->source);
        line->watts = NAN;
        if (ready) try_window(&line->source, seconds, line);
        source_close(&line->source);
        bool dead = (*k)->step != NULL && isnan(line->watts); /* it would drop every window */
        bool wanted = named == NULL || *k == named;
        if (ready && wanted && !dead && !line->source.beside && out->chosen < 0) out->chosen = out->count;
        out->count++;
    }
}

static void add_lines(StrBuf *b, const char *name, const char *text)
{
    for (const char *at = text; *at != '\0';) {
        size_t n = strcspn(at, "\n");
        strbuf_printf(b, "      %-10s ", at == text ? name : "");
        text_safe((Str){ at, n }, b);
        strbuf_add(b, "\n");
        at += n + (at[n] == '\n');
    }
}

static void print_ready(const ProbeLine *line, StrBuf *b)
{
    const Source *s = &line->source;
    char doubt[32], about[96];
    source_uncertainty(s, doubt, sizeof doubt);
    snprintf(about, sizeof about, "%s, %s", provenance_text(s->provenance), doubt);
    add_lines(b, "is", s->label);
    add_lines(b, "covers", s->boundary);
    add_lines(b, "resolution", s->resolution);
    add_lines(b, "figures", about);
    if (s->least_window > 0) strbuf_printf(b, "      %-10s windows of %g s and more\n", "needs", s->least_window);
    if (!isnan(line->watts)) strbuf_printf(b, "      %-10s %.3g W\n", "now", line->watts);
    else if (line->watts_note[0] != '\0') add_lines(b, "now", line->watts_note);
    add_lines(b, "note", s->note);
    add_lines(b, "better", s->fix);
}

void probe_print(const Probe *p, StrBuf *b)
{
    strbuf_add(b, "machine: ");
    text_safe(str_of(p->machine.cpu), b);
    strbuf_printf(b, ", %d core%s, %s%s\n\nenergy sources, best first\n", p->machine.cores, p->machine.cores == 1 ? "" : "s",
                  p->machine.isa, p->is_virtual ? ", virtual" : "");
    for (int i = 0; i < p->count; i++) {
        const ProbeLine *line = &p->lines[i];
        strbuf_printf(b, "\n  %-9s %-9s %s%s\n", line->source.kind->id, source_state_text(line->source.readiness), line->source.kind->title,
                      i == p->chosen ? "  <- would be used" : "");
        if (line->source.readiness == SOURCE_READY) {
            print_ready(line, b);
        } else {
            add_lines(b, "why", line->source.reason);
            add_lines(b, "do", line->source.fix);
        }
    }
}

static cJSON *number_or_null(double value) { return isfinite(value) && value > 0 ? cJSON_CreateNumber(value) : cJSON_CreateNull(); }

static cJSON *line_json(const ProbeLine *line)
{
    const Source *s = &line->source;
    cJSON *json = cJSON_CreateObject();
    bool ready = s->readiness == SOURCE_READY;
    cJSON_AddStringToObject(json, "id", s->kind->id);
    cJSON_AddStringToObject(json, "title", s->kind->title);
    cJSON_AddNumberToObject(json, "level", s->kind->level);
    cJSON_AddStringToObject(json, "status", source_state_text(s->readiness));
    cJSON_AddStringToObject(json, "provenance", provenance_text(s->provenance));
    if (ready) {
        cJSON_AddStringToObject(json, "label", s->label);
        cJSON_AddStringToObject(json, "boundary", s->boundary);
        cJSON_AddStringToObject(json, "resolution", s->resolution);
        cJSON_AddNumberToObject(json, "uncertainty_factor", s->factor);
        cJSON_AddItemToObject(json, "update_seconds", number_or_null(s->update_seconds));
        cJSON_AddItemToObject(json, "least_window_seconds", number_or_null(s->least_window));
        cJSON_AddItemToObject(json, "watts_now", number_or_null(line->watts));
        cJSON_AddBoolToObject(json, "adds_nothing_to_time", s->proportional);
        cJSON_AddBoolToObject(json, "beside", s->beside);
        cJSON_AddStringToObject(json, "note", line->watts_note[0] != '\0' ? line->watts_note : s->note);
    } else {
        cJSON_AddStringToObject(json, "reason", s->reason);
    }
    cJSON_AddStringToObject(json, "fix", s->fix);
    return json;
}

cJSON *probe_json(const Probe *p)
{
    cJSON *json = cJSON_CreateObject(), *machine = cJSON_AddObjectToObject(json, "machine");
    cJSON_AddStringToObject(machine, "cpu", p->machine.cpu);
    cJSON_AddStringToObject(machine, "os", p->machine.os);
    cJSON_AddStringToObject(machine, "isa", p->machine.isa);
    cJSON_AddNumberToObject(machine, "cores", p->machine.cores);
    cJSON_AddBoolToObject(machine, "virtual", p->is_virtual);
    cJSON_AddStringToObject(json, "chosen", p->chosen >= 0 ? p->lines[p->chosen].source.kind->id : "");
    cJSON *list = cJSON_AddArrayToObject(json, "sources");
    for (int i = 0; i < p->count; i++)
        if (!cJSON_AddItemToArray(list, line_json(&p->lines[i]))) {
            cJSON_Delete(json);
            return NULL;
        }
    return json;
}
