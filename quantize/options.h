/* What a user may ask of quantization; the table stands in quantize.c. */
#ifndef PARE_QUANTIZE_OPTIONS_H
#define PARE_QUANTIZE_OPTIONS_H

#include "base/opts.h"

typedef enum Mode { MODE_STATIC, MODE_DYNAMIC, MODE_WEIGHTS } Mode;
typedef enum Target { TARGET_PORTABLE, TARGET_VNNI, TARGET_AVX2, TARGET_DOTPROD, TARGET_GPU } Target;
typedef enum Format { FORMAT_QDQ, FORMAT_QOPERATOR, FORMAT_NBITS } Format;
typedef enum Activations { ACTIVATIONS_AUTO, ACTIVATIONS_UINT8, ACTIVATIONS_INT8 } Activations;
typedef enum Tables { TABLES_AUTO, TABLES_YES, TABLES_NO } Tables;
typedef enum Symmetric { SYMMETRIC_AUTO, SYMMETRIC_YES, SYMMETRIC_NO } Symmetric;

#define BLOCK_CHOICES "channel|tensor|16|32|64|128|256"

typedef struct QuantizeOptions {
    int mode, calibration, target, format, activations, symmetric, tables;
    int block;  /* index into BLOCK_CHOICES: options_block */
    int64_t bits, samples, batch, positions;
    double percentile, max_drop; /* percentile 0: not named; max_drop: negative means none */
    const char *max_size;        /* as base/size.h reads it; NULL: none */
    bool fold, outputs, reduce_range;
    StrList ops, repairs;
    const char *table, *save_table;
} QuantizeOptions;

typedef enum Repair {
    REPAIR_EQUALIZE, REPAIR_ABSORB, REPAIR_BALANCE, REPAIR_SMOOTH, REPAIR_GPTQ, REPAIR_ADAROUND, REPAIR_BIAS, REPAIR_COUNT
} Repair;
extern const char *const repair_names[REPAIR_COUNT];

/* Whether a repair may be tried: it is in the list, or the list is "auto" (adaround: only by its name; it brings gptq with it). */
bool options_repair(const QuantizeOptions *o, Repair r);
bool options_named(const QuantizeOptions *o, Repair r); /* in the list by its own name */
/* Whether ops takes this one in; an empty list takes all. */
bool options_op(const QuantizeOptions *o, Str type);
/* As RoundSpec's: iterations of learned rounding. */
int options_learned(const QuantizeOptions *o);
/* As RoundSpec's: inputs that share a scale; 0: one scale an output; -1: one for the weight. */
int64_t options_block(const QuantizeOptions *o);
double options_percentile(const QuantizeOptions *o);
/* Two products u8 x s8 may be added in 16 bits, saturating, where the network is to run. */
bool options_pairs(const QuantizeOptions *o);
/* Activations are int8, and symmetric. */
bool options_int8(const QuantizeOptions *o);
bool options_symmetric(const QuantizeOptions *o);

#endif
