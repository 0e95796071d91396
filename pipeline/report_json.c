/* The report as JSON, and its schema, both from the same tables of fields. */
#include "pipeline/report.h"

#include <math.h>
#include <string.h>

#include "pipeline/text.h"

typedef enum FieldType {
    FIELD_INT,    /* int64_t; below zero: null */
    FIELD_NUMBER, /* double; not finite: null */
    FIELD_BOOL,   /* bool */
    FIELD_CHARS,  /* char array inside the struct; empty: null */
    FIELD_TEXT,   /* char *; NULL: null */
    FIELD_JSON,   /* cJSON *, copied; NULL: null */
    FIELD_OBJECT, /* a struct inside the struct, or through a pointer never */
    FIELD_LIST,   /* pointer to structs, their number an int at count_at */
    FIELD_CINT,   /* int */
} FieldType;

typedef struct Field {
    const char *name;
    FieldType type;
    size_t at;
    const struct Field *fields; /* OBJECT, LIST */
    size_t count_at, item_size; /* LIST */
    const char *help;
} Field;

#define FIELD_END { .name = NULL }
#define F(Type, kind, member, text) { .name = #member, .type = kind, .at = offsetof(Type, member), .help = text }
#define FO(Type, member, table, text) { .name = #member, .type = FIELD_OBJECT, .at = offsetof(Type, member), .fields = table, .help = text }
#define FL(Type, member, count, Item, table, text) \
    { .name = #member, .type = FIELD_LIST, .at = offsetof(Type, member), .fields = table, .count_at = offsetof(Type, count), \
      .item_size = sizeof(Item), .help = text }

static const Field interval_fields[] = {
    F(Interval, FIELD_NUMBER, median, "milliseconds"),
    F(Interval, FIELD_NUMBER, low, "lower end of the 95 % interval"),
    F(Interval, FIELD_NUMBER, high, "upper end of the 95 % interval"),
    FIELD_END,
};
static const Field sourced_fields[] = {
    F(Sourced, FIELD_NUMBER, value, "the number"),
    F(Sourced, FIELD_CHARS, source, "where it comes from: measured or modelled, and how"),
    FIELD_END,
};
static const Field macs_fields[] = {
    F(ReportMacs, FIELD_INT, total, "all multiply-accumulates of one inference at batch 1"),
    F(ReportMacs, FIELD_INT, float32, "taken in float32"),
    F(ReportMacs, FIELD_INT, int8, "taken in int8"),
    FIELD_END,
};
static const Field fidelity_fields[] = {
    F(ReportFidelity, FIELD_TEXT, output, "name of the output"),
    F(ReportFidelity, FIELD_NUMBER, sqnr_db, "10 log10(sum a^2 / sum (a-b)^2), a the original; null when equal"),
    F(ReportFidelity, FIELD_NUMBER, cosine, "mean over samples"),
    F(ReportFidelity, FIELD_NUMBER, max_abs, "largest difference"),
    F(ReportFidelity, FIELD_NUMBER, top1_agreement, "share of positions with the same largest class"),
    F(ReportFidelity, FIELD_INT, positions, "positions compared"),
    FIELD_END,
};
static const Field layer_fields[] = {
    F(ReportLayer, FIELD_TEXT, name, "of its node, else of its first output"),
    F(ReportLayer, FIELD_TEXT, type, "operator"),
    F(ReportLayer, FIELD_TEXT, mac_type, "type its products are taken in"),
    F(ReportLayer, FIELD_INT, parameters, "elements of its weights"),
    F(ReportLayer, FIELD_INT, macs, "multiply-accumulates of one inference"),
    F(ReportLayer, FIELD_INT, bytes, "moved in one inference: operands read once, results written once"),
    F(ReportLayer, FIELD_NUMBER, milliseconds, "of one inference"),
    FIELD_END,
};
static const Field state_fields[] = {
    F(ReportState, FIELD_INT, file_bytes, "all files of the network"),
    F(ReportState, FIELD_INT, deflated_bytes, "the same, each through zlib at level 9"),
    F(ReportState, FIELD_CHARS, sha256, "of those bytes, the model file first"),
    F(ReportState, FIELD_INT, parameters, "elements of all weights"),
    F(ReportState, FIELD_INT, nonzeros, "those that are not zero"),
    F(ReportState, FIELD_NUMBER, weight_bits, "mean width of a weight"),
    FO(ReportState, macs, macs_fields, "multiply-accumulates by type; see convention"),
    F(ReportState, FIELD_INT, elementwise, "elementwise operations of one inference"),
    F(ReportState, FIELD_INT, transcendental, "exp, log, division ... of one inference"),
    F(ReportState, FIELD_INT, weight_bytes, "weights read once per inference"),
    F(ReportState, FIELD_INT, activation_bytes, "activations written once per inference"),
    F(ReportState, FIELD_CHARS, uncounted, "ops that the counts leave out"),
    FO(ReportState, latency_ms, interval_fields, "one call at batch 1, before and after interleaved"),
    F(ReportState, FIELD_INT, latency_runs, "calls timed"),
    F(ReportState, FIELD_CHARS, latency_note, "why there is no latency"),
    FO(ReportState, energy_j, sourced_fields, "of one call"),
    FO(ReportState, power_w, sourced_fields, "while running"),
    FO(ReportState, carbon_g, sourced_fields, "of one call"),
    F(ReportState, FIELD_INT, samples, "labelled predictions"),
    F(ReportState, FIELD_INT, correct, "right ones"),
    F(ReportState, FIELD_NUMBER, accuracy, "share of right ones, 0 to 1"),
    F(ReportState, FIELD_NUMBER, accuracy_low, "lower end of its Wilson 95 % interval"),
    F(ReportState, FIELD_NUMBER, accuracy_high, "upper end"),
    F(ReportState, FIELD_NUMBER, cross_entropy, "nats a prediction"),
    FL(ReportState, fidelity, fidelity_count, ReportFidelity, fidelity_fields, "outputs against those of the network as loaded"),
    FL(ReportState, by_layer, by_layer_count, ReportLayer, layer_fields, "layers with weights or MACs; empty for steps"),
    FIELD_END,
};
static const Field entry_fields[] = {
    F(ReportEntry, FIELD_TEXT, object, "layer, node or tensor"),
    F(ReportEntry, FIELD_TEXT, text, "what was done, or why not"),
    F(ReportEntry, FIELD_JSON, numbers, "numbers that belong to it"),
    FIELD_END,
};
static const Field step_fields[] = {
    F(ReportStep, FIELD_TEXT, pass, "name"),
    F(ReportStep, FIELD_JSON, options, "all options, defaults included"),
    F(ReportStep, FIELD_JSON, layers, "rules for single layers, as in the recipe"),
    F(ReportStep, FIELD_CHARS, text_sha256, "of the text file that the pass read (a calibration table)"),
    F(ReportStep, FIELD_NUMBER, seconds, "wall time of the pass"),
    F(ReportStep, FIELD_NUMBER, cpu_seconds, "CPU time of the pass, all threads"),
    FL(ReportStep, changed, changed_count, ReportEntry, entry_fields, "what the pass changed"),
    FL(ReportStep, skipped, skipped_count, ReportEntry, entry_fields, "what it left as it was, and why"),
    FL(ReportStep, notes, note_count, ReportEntry, entry_fields, "what else it said"),
    FIELD_END,
};
static const Field goal_fields[] = {
    F(GoalResult, FIELD_TEXT, name, "as in the recipe"),
    F(GoalResult, FIELD_CHARS, limit, "as asked for"),
    F(GoalResult, FIELD_NUMBER, allowed, "the limit as a number"),
    F(GoalResult, FIELD_NUMBER, found, "the number it was held against; null: not measured"),
    F(GoalResult, FIELD_BOOL, met, "whether it was kept"),
    FIELD_END,
};
static const Field cost_fields[] = {
    F(ReportCost, FIELD_NUMBER, seconds, "wall time of the passes"),
    F(ReportCost, FIELD_NUMBER, cpu_seconds, "CPU time of the passes"),
    F(ReportCost, FIELD_INT, peak_memory, "most resident memory of the whole run, bytes"),
    FO(ReportCost, energy_j, sourced_fields, "of the passes"),
    FO(ReportCost, carbon_g, sourced_fields, "of the passes"),
    F(ReportCost, FIELD_NUMBER, predicted_j, "what was said of the whole while a long pass ran"),
    F(ReportCost, FIELD_NUMBER, pays_back, "inferences after which it has saved the energy that it took; null: no saving was shown"),
    F(ReportCost, FIELD_CHARS, pays_back_note, "why not"),
    FIELD_END,
};
static const Field grid_fields[] = {
    F(GridFactor, FIELD_TEXT, region, "country, 'world', or 'as given'"),
    F(GridFactor, FIELD_TEXT, code, "ISO 3166 alpha-3"),
    F(GridFactor, FIELD_NUMBER, g_per_kwh, "grams of CO2 equivalents a kWh"),
    F(GridFactor, FIELD_CINT, year, "mean of; 0: not known"),
    F(GridFactor, FIELD_TEXT, basis, "what is counted"),
    F(GridFactor, FIELD_TEXT, source, "publication"),
    FIELD_END,
};
static const Field embodied_fields[] = {
    F(Embodied, FIELD_NUMBER, total_kg, "what making the machine emitted, kg of CO2 equivalents; null: not given, and left out"),
    F(Embodied, FIELD_NUMBER, lifetime_years, "over which that is spread"),
    F(Embodied, FIELD_NUMBER, share, "part of the machine that is reserved"),
    FIELD_END,
};
static const Field sci_fields[] = {
    F(Sci, FIELD_NUMBER, energy_g, "E I: of the electricity of one inference"),
    F(Sci, FIELD_NUMBER, embodied_g, "M: the share of making the machine"),
    F(Sci, FIELD_NUMBER, total_g, "(E I + M) / R, R: one inference"),
    FIELD_END,
};
static const Field scenario_fields[] = {
    FO(ReportScenario, grid, grid_fields, "electricity"),
    F(ReportScenario, FIELD_NUMBER, before_g, "grams of CO2 equivalents of one inference before"),
    F(ReportScenario, FIELD_NUMBER, after_g, "and after"),
    FIELD_END,
};
static const Field carbon_fields[] = {
    FO(ReportCarbon, grid, grid_fields, "electricity that carbon is taken with"),
    F(ReportCarbon, FIELD_NUMBER, pue, "watts drawn for each watt of computing; 1: none added"),
    FO(ReportCarbon, embodied, embodied_fields, "of the machine"),
    FL(ReportCarbon, sci, sci_count, Sci, sci_fields, "software carbon intensity, before and after"),
    FL(ReportCarbon, scenarios, scenario_count, ReportScenario, scenario_fields, "the same energies on several grids"),
    FIELD_END,
};
static const Field data_fields[] = {
    F(ReportData, FIELD_TEXT, calibration, "where calibration data came from"),
    F(ReportData, FIELD_INT, calibration_samples, "its samples"),
    F(ReportData, FIELD_CHARS, calibration_sha256, "of its files and section"),
    F(ReportData, FIELD_TEXT, evaluation, "where evaluation data came from"),
    F(ReportData, FIELD_INT, evaluation_samples, "its samples"),
    F(ReportData, FIELD_CHARS, evaluation_sha256, "of its files and section"),
    F(ReportData, FIELD_TEXT, fidelity, "the inputs on which result and original were compared"),
    FIELD_END,
};
static const Field machine_fields[] = {
    F(MachineInfo, FIELD_CHARS, cpu, "processor"),
    F(MachineInfo, FIELD_CHARS, isa, "vector instructions"),
    F(MachineInfo, FIELD_CHARS, os, "operating system"),
    F(MachineInfo, FIELD_CINT, cores, "cores this process may use"),
    F(MachineInfo, FIELD_CINT, threads, "threads used"),
    FIELD_END,
};
static const Field report_fields[] = {
    F(Report, FIELD_INT, format, "version of this document's form"),
    F(Report, FIELD_BOOL, dry_run, "true: predicted, nothing was written"),
    F(Report, FIELD_TEXT, source, "the network that was compressed"),
    F(Report, FIELD_TEXT, result, "the file that was written"),
    FO(Report, before, state_fields, "the network as loaded"),
    FO(Report, after, state_fields, "the result, loaded again from the file that was written"),
    FL(Report, steps, step_count, ReportStep, step_fields, "one for each pass; numbers of files and runs only with --steps"),
    F(Report, FIELD_CHARS, kept, "the step whose network was written in place of the last one"),
    FL(Report, goals, goal_count, GoalResult, goal_fields, "in a fixed order"),
    FO(Report, cost, cost_fields, "of compressing"),
    FO(Report, carbon, carbon_fields, "from energy to carbon"),
    F(Report, FIELD_JSON, comparisons, "ratios pair by pair, with the null band"),
    F(Report, FIELD_JSON, peaks, "of this machine, a second: multiply-adds in float32 and int8, bytes of the second-level cache and of memory"),
    F(Report, FIELD_CHARS, created, "when, UTC"),
    FO(Report, data, data_fields, "what was measured and calibrated on"),
    F(Report, FIELD_JSON, recipe, "as it was run"),
    F(Report, FIELD_CHARS, recipe_sha256, "of the recipe's canonical JSON"),
    F(Report, FIELD_INT, seed, "of everything random"),
    F(Report, FIELD_JSON, versions, "of pare and the libraries it computes with"),
    FO(Report, machine, machine_fields, "where this ran"),
    F(Report, FIELD_TEXT, convention, "how MACs and operations are counted"),
    FIELD_END,
};

static cJSON *object_json(const Field *fields, const void *base);

static cJSON *list_json(const Field *f, const char *base)
{
    cJSON *list = cJSON_CreateArray();
    const char *items = *(const char *const *)(base + f->at);
    int count = *(const int *)(base + f->count_at);
    for (int i = 0; list != NULL && i < count; i++) {
        cJSON *item = object_json(f->fields, items + (size_t)i * f->item_size);
        if (item == NULL || !cJSON_AddItemToArray(list, item)) {
            cJSON_Delete(item);
            cJSON_Delete(list);
            return NULL;
        }
    }
    return list;
}

/* Names come from model files: what is no UTF-8 would make the document no JSON. */
static cJSON *text_json(const char *text)
{
    StrBuf b = { 0 };
    text_safe(str_of(text), &b);
    cJSON *item = b.failed ? NULL : cJSON_CreateString(b.data != NULL ? b.data : "");
    strbuf_release(&b);
    return item;
}

static cJSON *field_json(const Field *f, const char *base)
{
    const char *at = base + f->at;
    switch (f->type) {
    case FIELD_INT: return *(const int64_t *)at < 0 ? cJSON_CreateNull() : cJSON_CreateNumber((double)*(const int64_t *)at);
    case FIELD_CINT: return cJSON_CreateNumber(*(const int *)at);
    case FIELD_NUMBER: return isfinite(*(const double *)at) ? cJSON_CreateNumber(*(const double *)at) : cJSON_CreateNull();
    case FIELD_BOOL: return cJSON_CreateBool(*(const bool *)at);
    case FIELD_CHARS: return at[0] == '\0' ? cJSON_CreateNull() : text_json(at);
    case FIELD_TEXT: return *(const char *const *)at == NULL ? cJSON_CreateNull() : text_json(*(const char *const *)at);
    case FIELD_JSON: return *(cJSON *const *)at == NULL ? cJSON_CreateNull() : cJSON_Duplicate(*(cJSON *const *)at, true);
    case FIELD_OBJECT: return object_json(f->fields, at);
    case FIELD_LIST: return list_json(f, base);
    }
    return NULL;
}

static bool add_fields(cJSON *object, const Field *fields, const void *base)
{
    for (const Field *f = fields; f->name != NULL; f++) {
        cJSON *item = field_json(f, base);
        if (item == NULL || !cJSON_AddItemToObject(object, f->name, item)) {
            cJSON_Delete(item);
            return false;
        }
    }
    return true;
}

static cJSON *object_json(const Field *fields, const void *base)
{
    cJSON *object = cJSON_CreateObject();
    bool whole = object != NULL && add_fields(object, fields, base);
    /* a step carries the numbers of its state beside its own */
    if (whole && fields == step_fields) whole = add_fields(object, state_fields, &((const ReportStep *)base)->state);
    if (whole) return object;
    cJSON_Delete(object);
    return NULL;
}

cJSON *report_json(const Report *r)
{
    return object_json(report_fields, r);
}

static cJSON *object_schema(const Field *fields);

static void set_type(cJSON *schema, const char *type, bool nullable)
{
    if (!nullable) {
        cJSON_AddStringToObject(schema, "type", type);
        return;
    }
    const char *const both[] = { type, "null" };
    cJSON_AddItemToObject(schema, "type", cJSON_CreateStringArray(both, 2));
}

static cJSON *field_schema(const Field *f)
{
    cJSON *schema = f->type == FIELD_OBJECT ? object_schema(f->fields) : cJSON_CreateObject();
    switch (f->type) {
    case FIELD_INT: set_type(schema, "integer", true); break;
    case FIELD_CINT: set_type(schema, "integer", false); break;
    case FIELD_NUMBER: set_type(schema, "number", true); break;
    case FIELD_BOOL: set_type(schema, "boolean", false); break;
    case FIELD_CHARS:
    case FIELD_TEXT: set_type(schema, "string", true); break;
    case FIELD_JSON: {
        const char *const types[] = { "object", "array", "null" };
        cJSON_AddItemToObject(schema, "type", cJSON_CreateStringArray(types, 3));
        break;
    }
    case FIELD_OBJECT: break;
    case FIELD_LIST:
        set_type(schema, "array", false);
        cJSON_AddItemToObject(schema, "items", object_schema(f->fields));
        break;
    }
    cJSON_AddStringToObject(schema, "description", f->help);
    return schema;
}

static void add_properties(cJSON *properties, cJSON *required, const Field *fields)
{
    for (const Field *f = fields; f->name != NULL; f++) {
        cJSON_AddItemToObject(properties, f->name, field_schema(f));
        cJSON_AddItemToArray(required, cJSON_CreateString(f->name));
    }
}

static cJSON *object_schema(const Field *fields)
{
    cJSON *schema = cJSON_CreateObject(), *required = cJSON_CreateArray();
    cJSON_AddStringToObject(schema, "type", "object");
    cJSON *properties = cJSON_AddObjectToObject(schema, "properties");
    add_properties(properties, required, fields);
    if (fields == step_fields) add_properties(properties, required, state_fields);
    cJSON_AddItemToObject(schema, "required", required);
    cJSON_AddFalseToObject(schema, "additionalProperties");
    return schema;
}

cJSON *report_schema(void)
{
    cJSON *schema = object_schema(report_fields);
    if (schema == NULL) return NULL;
    cJSON_AddItemToObject(schema, "$schema", cJSON_CreateString("https://json-schema.org/draft/2020-12/schema"));
    cJSON_AddItemToObject(schema, "title", cJSON_CreateString("report of pare"));
    return schema;
}
