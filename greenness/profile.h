/* What a machine can do and what it costs: peaks of its arithmetic and memory, and, where its energy could be read, joules of an
 * operation, of a byte, and the power that flows anyway:
 *     E = e_f32 MACs_f32 + e_int8 MACs_int8 + e_L2 bytes_L2 + e_DRAM bytes_DRAM + P0 T      (Choi, Vuduc et al., IPDPS 2013)
 * Time can overlap, energy cannot. Made by `pare probe --calibrate`, kept as JSON; docs/profile.schema.json is its schema. */
#ifndef PARE_GREENNESS_PROFILE_H
#define PARE_GREENNESS_PROFILE_H

#include <cjson/cJSON.h>

#include "base/log.h"
#include "base/status.h"
#include "greenness/source.h"

#define PROFILE_SCHEMA "pare-machine-profile/1"

/* X(field, group, unit and meaning): numbers of a profile, 0 where not measured. */
#define PROFILE_PEAKS(X) \
    X(mac_f32_one, "float32 multiply-adds a second, one thread") \
    X(mac_f32_all, "float32 multiply-adds a second, all threads") \
    X(mac_int8_one, "int8 multiply-adds into int32 a second, one thread") \
    X(mac_int8_all, "int8 multiply-adds into int32 a second, all threads") \
    X(byte_l2_one, "bytes a second read from the second-level cache, one thread") \
    X(byte_l2_all, "bytes a second read from the second-level caches, all threads") \
    X(byte_dram_one, "bytes a second read from memory, one thread") \
    X(byte_dram_all, "bytes a second read from memory, all threads")

#define PROFILE_TERMS(X) \
    X(joules_mac_f32, "joules of a float32 multiply-add") \
    X(joules_mac_int8, "joules of an int8 multiply-add") \
    X(joules_byte_l2, "joules of a byte read from the second-level cache") \
    X(joules_byte_dram, "joules of a byte read from memory") \
    X(watts_static, "watts that flow whatever is computed")

enum {
#define X(field, help) PROFILE_TERM_##field,
    PROFILE_TERMS(X)
#undef X
    PROFILE_TERM_COUNT
};

typedef struct Profile {
    char cpu[128], os[128], isa[64];
    char machine[17]; /* first digits of a hash of this installation's id: tells whether it was made here; empty: not known */
    int cores;
#define X(field, help) double field;
    PROFILE_PEAKS(X)
#undef X
    /* The fit; all 0 with has_energy false where no energy could be read. */
    bool has_energy;
    double terms[PROFILE_TERM_COUNT]; /* in the order of PROFILE_TERMS */
    double residual;     /* root mean square of (modelled - measured) / measured over the observations */
    double residual_most;/* the largest of them */
    int observations;
    char source[96], boundary[96]; /* of the energy */
    char no_energy[160]; /* why there is no fit */
} Profile;

/* ERR_IO: cannot be read; ERR_DATA: not a profile, names the key. */
Status profile_load(const char *path, Profile *out, Err *err);
Status profile_parse(const char *text, size_t size, const char *name, Profile *out, Err *err);
/* NULL when out of memory. */
cJSON *profile_json(const Profile *p);
cJSON *profile_schema(void);
/* Fills in processor, system and hash of this machine. */
void profile_name_machine(Profile *p);
/* Whether it was made on this machine. Energies of one made elsewhere are an estimate for a processor of its kind at best. */
bool profile_is_local(const Profile *p);

/* One run of a micro-benchmark: counts of `terms` (multiply-adds, bytes; the last is seconds) and joules. */
typedef struct Observation {
    double counts[PROFILE_TERM_COUNT];
    double joules;
} Observation;

/* Least squares over relative errors, no term below zero; terms, residual and observations of p are set. ERR_DATA: fewer observations than
 * terms, or they do not tell the terms apart. */
Status profile_fit(const Observation *observations, int count, Profile *p, Err *err);

typedef struct CalibrateOptions {
    double seconds;  /* for all of it; 0: 10 without energy, 60 with */
    int threads;     /* 0: as many as cores may be used */
    uint64_t max_mem;/* bytes that buffers may take; 0: 512 MB */
    Log *log;
} CalibrateOptions;

/* Measures the peaks, and fits the energy where a counter or sensor of the processor can be read. The machine should do nothing else.
 * ERR_MEMORY, ERR_INTERRUPTED. */
Status profile_measure(const SourceSettings *settings, const CalibrateOptions *options, Profile *out, Err *err);

/* The peaks alone, which need no energy; seconds 0: 1. */
Status profile_measure_peaks(const CalibrateOptions *options, Profile *out, Err *err);

#endif
