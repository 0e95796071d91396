#include "cmd/source_options.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "pipeline/probe.h"

#define LOOK_SECONDS 0.1

typedef struct ProbeOptions {
    CommonOptions common;
    bool json, calibrate;
    const char *output;
    double seconds;
    SourceOptions source;
} ProbeOptions;

static const Opt probe_options[] = {
    { .name = "json", .type = OPT_FLAG, .field = offsetof(ProbeOptions, json), .help = "one JSON object instead of text" },
    { .name = "calibrate", .type = OPT_FLAG, .field = offsetof(ProbeOptions, calibrate),
      .help = "measure what this machine can do and, where its energy can be read, what an operation and a byte cost" },
    { .name = "output", .type = OPT_STRING, .field = offsetof(ProbeOptions, output), .unit = "file",
      .help = "where the machine profile goes; also -o" },
    { .name = "seconds", .type = OPT_FLOAT, .field = offsetof(ProbeOptions, seconds), .fallback = "0", .min = 0, .max = 3600,
      .help = "time for the calibration; 0: 10 without energy, 60 with" },
    SOURCE_OPTIONS(ProbeOptions),
    COMMON_OPTIONS(ProbeOptions),
    OPT_END,
};

static void print_speed(const char *name, double one, double all, const char *unit, StrBuf *b)
{
    strbuf_printf(b, "  %-22s %8.1f %8.1f  %s\n", name, one * 1e-9, all * 1e-9, unit);
}

static void print_profile(const Profile *p, StrBuf *b)
{
    strbuf_printf(b, "%s, %d core%s, %s\n\n  %-22s %8s %8s\n", p->cpu, p->cores, p->cores == 1 ? "" : "s", p->isa, "", "1 thread", "all");
    print_speed("float32 multiply-adds", p->mac_f32_one, p->mac_f32_all, "G/s", b);
    print_speed("int8 multiply-adds", p->mac_int8_one, p->mac_int8_all, "G/s", b);
    print_speed("level 2 cache, reads", p->byte_l2_one, p->byte_l2_all, "GB/s", b);
    print_speed("memory, reads", p->byte_dram_one, p->byte_dram_all, "GB/s", b);
    if (!p->has_energy) {
        strbuf_printf(b, "\nno energies: %s\n", p->no_energy);
        return;
    }
    strbuf_printf(b, "\nenergies by %s (%s)\n", p->source, p->boundary);
    strbuf_printf(b, "  float32 multiply-add %8.2f pJ\n", p->terms[PROFILE_TERM_joules_mac_f32] * 1e12);
    strbuf_printf(b, "  int8 multiply-add    %8.2f pJ\n", p->terms[PROFILE_TERM_joules_mac_int8] * 1e12);
    strbuf_printf(b, "  byte of level 2      %8.2f pJ\n", p->terms[PROFILE_TERM_joules_byte_l2] * 1e12);
    strbuf_printf(b, "  byte of memory       %8.2f pJ\n", p->terms[PROFILE_TERM_joules_byte_dram] * 1e12);
    strbuf_printf(b, "  whatever is computed %8.2f W\n", p->terms[PROFILE_TERM_watts_static]);
    strbuf_printf(b, "  fit of %d runs: off by %.1f %% (root mean square), %.1f %% at most\n", p->observations, p->residual * 100,
                  p->residual_most * 100);
}

static Status calibrate(Call *c, const SourceSettings *settings, Err *err)
{
    const ProbeOptions *o = c->options;
    if (o->output == NULL) return err_set(err, ERR_USAGE, "probe: --calibrate needs --output=FILE for the machine profile");
    if (o->source.sysroot != NULL) return err_set(err, ERR_USAGE, "probe: --calibrate runs on this machine and takes no --sysroot");
    OutFile *file = NULL;
    Profile p;
    TRY(outfile_open(o->output, &file, err)); /* before the minute it takes */
    c->out_to_stderr = outfile_is_stdout(o->output);
    const CalibrateOptions options = { o->seconds, (int)o->common.threads, c->max_mem, c->log };
    StrBuf text = { 0 };
    Status status = profile_measure(settings, &options, &p, err);
    if (status == OK) status = cli_print_json(profile_json(&p), &text, err);
    if (status == OK) status = outfile_write(file, text.data, text.len, err);
    if (status == OK) status = outfile_commit(file, err);
    else outfile_abort(file);
    strbuf_release(&text);
    if (status == OK) print_profile(&p, &c->out);
    return status;
}

static Status run(Call *c, Err *err)
{
    const ProbeOptions *o = c->options;
    Profile profile;
    SourceSettings settings;
    TRY(source_settings(&o->source, &profile, &settings, err));
    TRY(source_check_named(&settings, err)); /* what is wrong with what was given, before a page about the rest */
    if (o->calibrate) return calibrate(c, &settings, err);
    if (o->output != NULL) return err_set(err, ERR_USAGE, "probe: --output is for --calibrate");
    Probe probe;
    probe_machine(&settings, LOOK_SECONDS, &probe);
    if (o->json) TRY(cli_print_json(probe_json(&probe), &c->out, err));
    else probe_print(&probe, &c->out);
    return OK;
}

const Command command_probe = {
    .name = "probe",
    .args = "",
    .summary = "list the energy sources of this machine and how to enable them, or calibrate it",
    .details = "Sources are listed best first, each with what it covers and, where it cannot be read, the command that opens it. Nothing\n"
               "is changed. Figures of different sources are never compared. The exit code is 0 whatever is found, else that of\n"
               "what was given and is wrong: 3 or 7 for a file, 2 for a sensor that is not there.\n\n"
               "  pare probe                                      what can be read here\n"
               "  pare probe --json                               the same for a program\n"
               "  pare probe --meter-log=plug.csv                 check the log of a meter\n"
               "  pare probe --calibrate -o machine.json          peaks, and joules of operations and bytes where they can be read\n"
               "  pare probe --profile=machine.json               what a profile, also of another machine, is good for here\n",
    .options = probe_options,
    .options_size = sizeof(ProbeOptions),
    .run = run,
};
