/* The report as JSON, and its schema, both from the same tables of fields. */
#include "pipeline/report.h"

#include "pipeline/fields.h"
#include "pipeline/report_fields.h"

const Field report_interval_fields[] = {
    F(Interval, FIELD_NUMBER, median, "of what was measured"),
    F(Interval, FIELD_NUMBER, low, "lower end of the 95 % interval"),
    F(Interval, FIELD_NUMBER, high, "upper end of the 95 % interval"),
    FIELD_END,
};
const Field report_sourced_fields[] = {
    F(Sourced, FIELD_NUMBER, value, "the number"),
    F(Sourced, FIELD_CHARS, source, "where it comes from: measured or modelled, and how"),
    FIELD_END,
};
static const Field macs_fields[] = {
    F(ReportMacs, FIELD_INT, total, "all multiply-accumulates of one inference at batch 1"),
    F(ReportMacs, FIELD_INT, nonzero, "those with a weight that is not zero: what a kernel that skips zeros would take"),
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
const Field report_state_fields[] = {
    F(ReportState, FIELD_INT, file_bytes, "all files of the network"),
    F(ReportState, FIELD_INT, deflated_bytes, "the same, each through zlib at level 9"),
    F(ReportState, FIELD_CHARS, sha256, "of those bytes, the model file first"),
    F(ReportState, FIELD_INT, parameters, "elements of all weights"),
    F(ReportState, FIELD_INT, nonzeros, "those that are not zero"),
    F(ReportState, FIELD_NUMBER, weight_bits, "mean width of a weight, scales and zero points apart"),
    F(ReportState, FIELD_NUMBER, stored_bits, "the same with the scales and zero points stored beside them"),
    FO(ReportState, macs, macs_fields, "multiply-accumulates by type; see convention"),
    F(ReportState, FIELD_INT, elementwise, "elementwise operations of one inference"),
    F(ReportState, FIELD_INT, transcendental, "exp, log, division ... of one inference"),
    F(ReportState, FIELD_INT, weight_bytes, "weights read once per inference"),
    F(ReportState, FIELD_INT, activation_bytes, "activations written once per inference"),
    F(ReportState, FIELD_INT, peak_memory, "bytes of a process of its own that loads it and runs it once; null for steps"),
    F(ReportState, FIELD_CHARS, counted_at, "what the counts take for dimensions that the file leaves open"),
    F(ReportState, FIELD_INT, undecided, "If nodes whose branch depends on the data: the larger one is counted"),
    F(ReportState, FIELD_CHARS, uncounted, "ops that the counts leave out"),
    FO(ReportState, latency_ms, report_interval_fields, "one call at batch 1, before and after interleaved"),
    FO(ReportState, call_cpu_seconds, report_interval_fields, "CPU time of one inference, all threads"),
    FO(ReportState, net_j, report_interval_fields, "joules of one inference above the idle machine; null where a source knows none"),
    F(ReportState, FIELD_INT, latency_runs, "calls timed"),
    F(ReportState, FIELD_CHARS, latency_note, "why there is no latency"),
    FO(ReportState, energy_j, report_sourced_fields, "of one call"),
    FO(ReportState, power_w, report_sourced_fields, "while running"),
    FO(ReportState, carbon_g, report_sourced_fields, "of one call"),
    FO(ReportState, green_algorithms_j, report_sourced_fields,
       "joules of one call as Green Algorithms would estimate them: a model, beside the rest"),
    FO(ReportState, time_tdp_j, report_sourced_fields,
       "joules of one call as time x thermal design power gives them: a model, beside the rest"),
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
    FO(ReportStep, cost_energy_j, report_sourced_fields, "joules that the pass itself took"),
    FL(ReportStep, changed, changed_count, ReportEntry, entry_fields, "what the pass changed"),
    FL(ReportStep, skipped, skipped_count, ReportEntry, entry_fields, "what it left as it was, and why"),
    FL(ReportStep, notes, note_count, ReportEntry, entry_fields, "what else it said"),
    FI(ReportStep, state, report_state_fields),
    FIELD_END,
};
static const char *outcome_of(int value) { return goal_outcome_text((GoalOutcome)value); }
const Field report_goal_fields[] = {
    F(GoalResult, FIELD_TEXT, name, "as in the recipe and on the command line"),
    F(GoalResult, FIELD_CHARS, limit, "as asked for"),
    F(GoalResult, FIELD_NUMBER, allowed, "the limit as a number"),
    F(GoalResult, FIELD_NUMBER, found, "the number it was held against; null: not measured"),
    F(GoalResult, FIELD_NUMBER, low, "lower end of its 95 % interval; null: it is exact"),
    F(GoalResult, FIELD_NUMBER, high, "upper end"),
    { .name = "outcome", .type = FIELD_ENUM, .at = offsetof(GoalResult, outcome), .text = outcome_of,
      .help = "met, missed (or not measured), or inconclusive: the interval of a ratio holds the limit or is above it by no more than "
              "noise" },
    F(GoalResult, FIELD_BOOL, met, "whether it was kept"),
    FIELD_END,
};
static const Field cost_fields[] = {
    F(ReportCost, FIELD_NUMBER, seconds, "wall time of the passes"),
    F(ReportCost, FIELD_NUMBER, cpu_seconds, "CPU time of the passes"),
    F(ReportCost, FIELD_INT, peak_memory, "most resident memory of the whole run, bytes"),
    FO(ReportCost, energy_j, report_sourced_fields, "of the passes"),
    FO(ReportCost, carbon_g, report_sourced_fields, "of the passes"),
    F(ReportCost, FIELD_NUMBER, predicted_j, "of the longest task, as predicted while it ran, before half of it was done"),
    F(ReportCost, FIELD_NUMBER, found_j, "what that task came to"),
    F(ReportCost, FIELD_CHARS, predicted_task, "its name"),
    F(ReportCost, FIELD_NUMBER, pays_back, "inferences after which it has saved the energy that it took; null: no saving was shown"),
    F(ReportCost, FIELD_NUMBER, pays_back_low, "the same by the lower end of the energy ratio's 95 % interval"),
    F(ReportCost, FIELD_NUMBER, pays_back_high, "and by the upper end"),
    F(ReportCost, FIELD_CHARS, pays_back_note, "why not"),
    FIELD_END,
};
const Field report_grid_fields[] = {
    F(GridFactor, FIELD_TEXT, region, "country, 'world', or 'as given'"),
    F(GridFactor, FIELD_TEXT, code, "ISO 3166 alpha-3"),
    F(GridFactor, FIELD_NUMBER, g_per_kwh, "grams of CO2 equivalents a kWh"),
    F(GridFactor, FIELD_CINT, year, "mean of; 0: not known"),
    F(GridFactor, FIELD_TEXT, basis, "what is counted"),
    F(GridFactor, FIELD_TEXT, source, "publication"),
    FIELD_END,
};
const Field report_embodied_fields[] = {
    F(Embodied, FIELD_NUMBER, total_kg, "what making the machine emitted, kg of CO2 equivalents; null: not given, and left out"),
    F(Embodied, FIELD_NUMBER, lifetime_years, "over which that is spread"),
    F(Embodied, FIELD_NUMBER, share, "part of the machine that is reserved"),
    FIELD_END,
};
const Field report_sci_fields[] = {
    F(Sci, FIELD_NUMBER, energy_g, "E I: of the electricity of one inference"),
    F(Sci, FIELD_NUMBER, embodied_g, "M: the share of making the machine"),
    F(Sci, FIELD_NUMBER, total_g, "(E I + M) / R, R: one inference"),
    FIELD_END,
};
static const Field scenario_fields[] = {
    FO(ReportScenario, grid, report_grid_fields, "electricity"),
    F(ReportScenario, FIELD_NUMBER, before_g, "grams of CO2 equivalents of one inference before"),
    F(ReportScenario, FIELD_NUMBER, after_g, "and after"),
    FIELD_END,
};
static const Field carbon_fields[] = {
    FO(ReportCarbon, grid, report_grid_fields, "electricity that carbon is taken with"),
    F(ReportCarbon, FIELD_NUMBER, pue, "watts drawn for each watt of computing; 1: none added"),
    FO(ReportCarbon, embodied, report_embodied_fields, "of the machine"),
    FL(ReportCarbon, sci, sci_count, Sci, report_sci_fields, "software carbon intensity, before and after"),
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
const Field report_machine_fields[] = {
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
    FO(Report, before, report_state_fields, "the network as loaded"),
    FO(Report, after, report_state_fields, "the result, loaded again from the file that was written"),
    FL(Report, steps, step_count, ReportStep, step_fields, "one for each pass; numbers of files and runs only with --steps"),
    F(Report, FIELD_CHARS, kept, "the step whose network was written in place of the last one"),
    FL(Report, goals, goal_count, GoalResult, report_goal_fields, "in a fixed order"),
    FO(Report, cost, cost_fields, "of compressing"),
    FO(Report, carbon, carbon_fields, "from energy to carbon"),
    F(Report, FIELD_JSON, comparisons, "ratios pair by pair, with the null band"),
    { .name = "energy_source", .type = FIELD_OBJECT, .at = offsetof(Report, measured.source), .fields = report_source_fields,
      .help = "where energies of inferences come from" },
    { .name = "protocol", .type = FIELD_OBJECT, .at = offsetof(Report, measured), .fields = report_protocol_fields,
      .help = "how time and energy were measured" },
    { .name = "warnings", .type = FIELD_TEXTS, .at = offsetof(Report, measured.warnings.texts),
      .count_at = offsetof(Report, measured.warnings.count), .item_size = WARNING_TEXT, .help = "what makes figures doubtful" },
    F(Report, FIELD_JSON, peaks,
      "of this machine, a second: multiply-adds in float32 and int8, bytes of the second-level cache and of memory"),
    F(Report, FIELD_CHARS, created, "when, UTC"),
    F(Report, FIELD_TEXT, command, "that does it again"),
    FO(Report, data, data_fields, "what was measured and calibrated on"),
    F(Report, FIELD_JSON, recipe, "as it was run"),
    F(Report, FIELD_CHARS, recipe_sha256, "of the recipe's canonical JSON"),
    F(Report, FIELD_INT, seed, "of everything random"),
    F(Report, FIELD_TEXT, kernels, "kernels that networks were measured with"),
    F(Report, FIELD_JSON, versions, "of pare and the libraries it computes with"),
    FO(Report, machine, report_machine_fields, "where this ran"),
    F(Report, FIELD_TEXT, convention, "how MACs and operations are counted"),
    FIELD_END,
};

cJSON *report_json(const Report *r) { return fields_json(report_fields, r); }

cJSON *report_schema(void) { return fields_document_schema(report_fields, "report of pare"); }
