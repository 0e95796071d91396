/* A comparison as JSON, and its schema, from the same tables. The part of each network is that of a run's report. */
#include <math.h>
#include <stdio.h>

#include "pipeline/comparison.h"
#include "pipeline/report_fields.h"
#include "pipeline/text.h"

static const char *verdict_of(int value) { return verdict_text((Verdict)value); }
static const char *stop_of(int value) { return stop_text((StopReason)value); }

static const Field ratio_fields[] = {
    F(Ratio, FIELD_NUMBER, median, "of the pairs; this network over the first one"),
    F(Ratio, FIELD_NUMBER, low, "lower end of its 95 % interval"),
    F(Ratio, FIELD_NUMBER, high, "upper end of its 95 % interval"),
    F(Ratio, FIELD_NUMBER, without_outliers, "the median when flagged pairs are left out"),
    F(Ratio, FIELD_NUMBER, p, "Wilcoxon signed-rank, two-sided"),
    F(Ratio, FIELD_CINT, pairs, "pairs"),
    F(Ratio, FIELD_CINT, outliers, "pairs flagged as outliers; they count"),
    { .name = "verdict", .type = FIELD_ENUM, .at = offsetof(Ratio, verdict), .text = verdict_of,
      .help = "lower or higher: the interval excludes 1 and lies outside the null band; inconclusive; not measured" },
    FIELD_END,
};
static const Field measured_fields[] = {
    F(Compared, FIELD_INT, batch, "inferences of a call"),
    F(Compared, FIELD_INT, calls, "calls of a window"),
    FO(Compared, seconds, report_interval_fields, "run time of one inference"),
    FO(Compared, energy_j, report_interval_fields, "joules of one inference, gross"),
    FO(Compared, watts, report_interval_fields, "power while running"),
    FO(Compared, sci, report_sci_fields, "software carbon intensity of one inference"),
    FO(Compared, green_algorithms_j, report_sourced_fields, "what Green Algorithms would say of it: a model"),
    FO(Compared, time_tdp_j, report_sourced_fields, "what time x thermal design power would say of it: a model"),
    FO(Compared, time, ratio_fields, "run time over the first network's"),
    FO(Compared, cpu, ratio_fields, "CPU time over the first network's"),
    FO(Compared, energy, ratio_fields, "gross energy over the first network's"),
    FO(Compared, net, ratio_fields, "energy above idle over the first network's"),
    FIELD_END,
};
static const Field file_fields[] = {
    F(ComparisonFile, FIELD_TEXT, name, "last part of the path"),
    F(ComparisonFile, FIELD_TEXT, path, "as given"),
    F(ComparisonFile, FIELD_CHARS, inputs, "how what it is given is not what the first one is given; null: it is the same"),
    F(ComparisonFile, FIELD_NUMBER, bytes_moved, "of one inference, at least: weights read once, activations written once"),
    F(ComparisonFile, FIELD_NUMBER, intensity, "operations a byte: (2 MACs + elementwise) / bytes_moved"),
    FI(ComparisonFile, state, report_state_fields),
    FO(ComparisonFile, measured, measured_fields, "what was measured, with intervals"),
    FIELD_END,
};
static const Field null_fields[] = {
    F(NullBand, FIELD_NUMBER, low, "ratios from here"),
    F(NullBand, FIELD_NUMBER, high, "to here are noise"),
    F(NullBand, FIELD_NUMBER, median, "of the first network against itself"),
    F(NullBand, FIELD_NUMBER, own_low, "lower end of that median's 95 % interval"),
    F(NullBand, FIELD_NUMBER, own_high, "upper end"),
    F(NullBand, FIELD_CINT, pairs, "pairs"),
    F(NullBand, FIELD_BOOL, stable, "false: it does not read 1"),
    FIELD_END,
};
const Field report_source_fields[] = {
    F(EnergySource, FIELD_CHARS, id, "of the source, as in pare probe"),
    F(EnergySource, FIELD_CHARS, title, "its name"),
    F(EnergySource, FIELD_CHARS, provenance, "how its figures come about"),
    F(EnergySource, FIELD_CHARS, label, "what is read"),
    F(EnergySource, FIELD_CHARS, boundary, "what the figures cover"),
    F(EnergySource, FIELD_CHARS, uncertainty, "of absolute figures"),
    F(EnergySource, FIELD_CHARS, resolution, "its steps"),
    F(EnergySource, FIELD_CHARS, note, "what else must be known"),
    F(EnergySource, FIELD_BOOL, measured, "false: a model"),
    F(EnergySource, FIELD_BOOL, proportional, "true: follows time, its ratios add nothing to time"),
    F(EnergySource, FIELD_CHARS, text, "all in one line"),
    FIELD_END,
};
static const Field environment_fields[] = {
    F(Environment, FIELD_NUMBER, other_load, "share of all cores that other processes took"),
    F(Environment, FIELD_NUMBER, steal, "share that the hypervisor gave to others"),
    F(Environment, FIELD_NUMBER, load_average, "of the last minute"),
    F(Environment, FIELD_NUMBER, mhz_before, "clock rate, mean of the cores"),
    F(Environment, FIELD_NUMBER, mhz_after, "the same at the end"),
    F(Environment, FIELD_NUMBER, mhz_most, "highest clock rate"),
    F(Environment, FIELD_CHARS, governor, "of the clock rate"),
    F(Environment, FIELD_NUMBER, celsius_before, "hottest sensor"),
    F(Environment, FIELD_NUMBER, celsius_after, "the same at the end"),
    F(Environment, FIELD_INT, throttled, "times the processor slowed itself down meanwhile"),
    F(Environment, FIELD_INT, quota_throttled, "times the control group was made to wait meanwhile"),
    F(Environment, FIELD_NUMBER, quota_cores, "cores the control group may use; 0: no limit"),
    F(Environment, FIELD_BOOL, is_virtual, "under a hypervisor"),
    F(Environment, FIELD_BOOL, on_battery, "discharging"),
    F(Environment, FIELD_CINT, cores, "of the machine"),
    FIELD_END,
};
const Field report_protocol_fields[] = {
    F(Comparison, FIELD_CINT, rounds, "of one window of each network, the first one twice"),
    F(Comparison, FIELD_CINT, warm_up_windows, "before them"),
    F(Comparison, FIELD_NUMBER, window_seconds, "aimed at"),
    F(Comparison, FIELD_CINT, dropped_time, "rounds whose pairs of time were lost"),
    F(Comparison, FIELD_CINT, dropped_energy, "rounds whose pairs of energy were lost"),
    F(Comparison, FIELD_CHARS, dropped_reason, "why the last one was"),
    F(Comparison, FIELD_NUMBER, budget, "seconds allowed"),
    F(Comparison, FIELD_NUMBER, spent, "seconds taken"),
    { .name = "stopped", .type = FIELD_ENUM, .at = offsetof(Comparison, stopped), .text = stop_of,
      .help = "why no further round was made" },
    F(Comparison, FIELD_NUMBER, read_seconds, "to read clocks and source of a window, in the quickest tenth of them"),
    F(Comparison, FIELD_NUMBER, overhead, "share of the windows that went into measuring"),
    F(Comparison, FIELD_NUMBER, idle_before_w, "power of the idle machine before"),
    F(Comparison, FIELD_NUMBER, idle_middle_w, "in the middle of a long run"),
    F(Comparison, FIELD_NUMBER, idle_after_w, "and after"),
    F(Comparison, FIELD_NUMBER, idle_drift, "the most less the least of these over their mean"),
    F(Comparison, FIELD_NUMBER, idle_seconds, "of one such baseline"),
    F(Comparison, FIELD_NUMBER, windows_j, "joules of all windows that were read"),
    F(Comparison, FIELD_NUMBER, whole_j, "joules that the source told of all rounds, what lay between windows included"),
    F(Comparison, FIELD_NUMBER, cores_share, "core and uncore of RAPL as a share of their package, the largest"),
    F(Comparison, FIELD_NUMBER, platform_share, "packages and dram as a share of psys"),
    F(Comparison, FIELD_CINT, rests, "pauses for the heat"),
    F(Comparison, FIELD_NUMBER, rest_seconds, "all of them"),
    F(Comparison, FIELD_NUMBER, celsius_most, "after a round; only with rests"),
    F(Comparison, FIELD_CINT, throttled_rounds, "in which the processor slowed itself down; only with rests"),
    FO(Comparison, null_time, null_fields, "the first network against itself: run time"),
    FO(Comparison, null_cpu, null_fields, "CPU time"),
    FO(Comparison, null_energy, null_fields, "gross energy"),
    FO(Comparison, null_net, null_fields, "energy above idle"),
    FO(Comparison, environment, environment_fields, "what else went on in the machine"),
    FIELD_END,
};
static const Field scenario_fields[] = {
    FO(ComparisonScenario, grid, report_grid_fields, "electricity"),
    F(ComparisonScenario, FIELD_NUMBER, first_g, "grams of CO2 equivalents of one inference of the first network"),
    F(ComparisonScenario, FIELD_NUMBER, last_g, "and of the last one"),
    FIELD_END,
};
static const Field carbon_fields[] = {
    { .name = "grid", .type = FIELD_OBJECT, .at = offsetof(ComparisonReport, measured.grid), .fields = report_grid_fields,
      .help = "electricity that carbon is taken with" },
    { .name = "pue", .type = FIELD_NUMBER, .at = offsetof(ComparisonReport, measured.pue),
      .help = "watts drawn for each watt of computing; 1: none added" },
    FL(ComparisonReport, sci, sci_count, Sci, report_sci_fields, "software carbon intensity of one inference, network by network"),
    FL(ComparisonReport, scenarios, scenario_count, ComparisonScenario, scenario_fields, "the same energies on several grids"),
    FIELD_END,
};
static const Field goal_fields[] = {
    F(ComparisonGoal, FIELD_CINT, network, "index into networks"),
    FI(ComparisonGoal, result, report_goal_fields),
    FIELD_END,
};
static const Field data_fields[] = {
    F(ReportData, FIELD_TEXT, evaluation, "where data came from"),
    F(ReportData, FIELD_INT, evaluation_samples, "its samples"),
    F(ReportData, FIELD_CHARS, evaluation_sha256, "of its files and section"),
    F(ReportData, FIELD_TEXT, fidelity, "the inputs that were run, and outputs compared on"),
    FIELD_END,
};
static const Field comparison_fields[] = {
    F(ComparisonReport, FIELD_INT, format, "version of this document's form"),
    F(ComparisonReport, FIELD_CHARS, created, "when, UTC"),
    F(ComparisonReport, FIELD_TEXT, command, "that does it again"),
    { .name = "networks", .type = FIELD_LIST, .at = offsetof(ComparisonReport, files), .fields = file_fields,
      .count_at = offsetof(ComparisonReport, file_count), .item_size = sizeof(ComparisonFile),
      .help = "in the order given; the others are compared with the first" },
    F(ComparisonReport, FIELD_JSON, comparisons, "ratios pair by pair, with the null band"),
    F(ComparisonReport, FIELD_CHARS, note, "why nothing was timed"),
    { .name = "source", .type = FIELD_OBJECT, .at = offsetof(ComparisonReport, measured.source), .fields = report_source_fields,
      .help = "where energies come from" },
    { .name = "protocol", .type = FIELD_OBJECT, .at = offsetof(ComparisonReport, measured), .fields = report_protocol_fields,
      .help = "how it was measured" },
    { .name = "warnings", .type = FIELD_TEXTS, .at = offsetof(ComparisonReport, measured.warnings.texts),
      .count_at = offsetof(ComparisonReport, measured.warnings.count), .item_size = WARNING_TEXT, .help = "what makes figures doubtful" },
    { .name = "carbon", .type = FIELD_OBJECT, .at = 0, .fields = carbon_fields, .help = "from energy to carbon" },
    FL(ComparisonReport, goals, goal_count, ComparisonGoal, goal_fields, "judged for every network but the first"),
    FO(ComparisonReport, data, data_fields, "what was run"),
    F(ComparisonReport, FIELD_INT, batch, "inferences of a call"),
    F(ComparisonReport, FIELD_INT, seed, "of everything random"),
    F(ComparisonReport, FIELD_JSON, peaks,
      "of this machine, a second: multiply-adds in float32 and int8, bytes of the second-level cache and of memory"),
    F(ComparisonReport, FIELD_TEXT, kernels, "kernels that networks were measured with"),
    F(ComparisonReport, FIELD_JSON, versions, "of pare and the libraries it computes with"),
    FO(ComparisonReport, machine, report_machine_fields, "where this ran"),
    F(ComparisonReport, FIELD_TEXT, convention, "how MACs and operations are counted"),
    FIELD_END,
};

cJSON *comparison_json(const ComparisonReport *r) { return fields_json(comparison_fields, r); }

cJSON *comparison_schema(void) { return fields_document_schema(comparison_fields, "measurement of pare"); }

/* ---- pairs ---- */

static void add_number(cJSON *list, double value)
{
    cJSON_AddItemToArray(list, isfinite(value) ? cJSON_CreateNumber(value) : cJSON_CreateNull());
}

static void add_pairs(cJSON *to, const Compared *n, bool energy)
{
    cJSON *ratios = cJSON_AddArrayToObject(to, "ratios");
    for (int i = 0; i < n->pair_count; i++) add_number(ratios, energy ? n->pairs[i].energy : n->pairs[i].time);
}

static cJSON *pairs_of(const Comparison *c, int network, int index, bool energy)
{
    const Compared *n = &c->networks[network];
    const Ratio *r = energy ? &n->energy : &n->time;
    cJSON *item = cJSON_CreateObject(), *null = fields_json(null_fields, energy ? &c->null_energy : &c->null_time);
    cJSON_AddStringToObject(item, "measure", energy ? "energy" : "latency");
    cJSON_AddNumberToObject(item, "network", index);
    cJSON_AddItemToObject(item, "ratio", fields_json(ratio_fields, r));
    add_pairs(item, n, energy);
    add_pairs(null, &c->networks[0], energy);
    cJSON_AddItemToObject(item, "null", null);
    cJSON_AddStringToObject(item, "verdict", verdict_text(r->verdict));
    cJSON_AddStringToObject(item, "source", energy ? c->source.text : "measured: monotonic clock, interleaved windows");
    return item;
}

/* Power has no pairs of its own. */
static cJSON *power_of(const Comparison *c, int network, int index)
{
    cJSON *item = cJSON_CreateObject();
    cJSON_AddStringToObject(item, "measure", "power");
    cJSON_AddNumberToObject(item, "network", index);
    cJSON_AddStringToObject(item, "verdict", verdict_text(c->networks[network].power));
    cJSON_AddStringToObject(item, "source", "intervals of power, where run time and energy differ");
    return item;
}

cJSON *comparison_pairs(const Comparison *c, const int *index)
{
    cJSON *list = cJSON_CreateArray();
    for (int i = 1; list != NULL && i < c->count; i++) {
        for (int energy = 0; energy < 2; energy++) {
            const Compared *n = &c->networks[i];
            if ((energy ? n->energy.pairs : n->time.pairs) == 0 || (index != NULL && index[i] < 0)) continue;
            cJSON_AddItemToArray(list, pairs_of(c, i, index != NULL ? index[i] : i, energy != 0));
        }
        if (c->networks[i].power == VERDICT_NONE || (index != NULL && index[i] < 0)) continue;
        cJSON_AddItemToArray(list, power_of(c, i, index != NULL ? index[i] : i));
    }
    return list;
}
