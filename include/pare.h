/* pare: makes trained neural networks smaller and says what was gained. The public interface of the library; everything else is
 * private and may change.
 *
 * Handles are opaque. Functions return 0 when done, else one of the program's exit codes (`pare help exit-codes`): 2 the recipe or a
 * parameter is wrong, 3 a model or data file is malformed, 4 unsupported, 5 a goal is missed (the result is there all the same), 6 out of
 * memory, 7 cannot read or write, 70 a bug of ours. Where one was given, the error's text then says which object, what was found and
 * what was expected.
 *
 * A handle may be used by one thread at a time; different handles by different threads, except that running networks share the
 * process's OpenMP threads. Nothing is printed and no signal is caught. */
#ifndef PARE_H
#define PARE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PARE_API __attribute__((visibility("default")))

typedef struct PareModel PareModel;     /* a network */
typedef struct PareOutputs PareOutputs; /* what a network computed */

/* Filled when a call fails. Every `error` parameter may be NULL. */
typedef struct PareError {
    int code;
    char text[1024]; /* one line */
} PareError;

/* A dense, row-major array. */
typedef struct PareArray {
    const char *name;
    int type;            /* number of the ONNX element type: 1 float32, 2 uint8, 3 int8, 6 int32, 7 int64, ... */
    int rank;            /* at most 16 */
    int64_t dims[16];
    const void *data;
    size_t bytes;
} PareArray;

PARE_API const char *pare_version(void); /* "0.1.0" */
/* The meaning of a code, as in `pare help exit-codes`. */
PARE_API const char *pare_code_text(int code);

/* Loads and checks a network. Weights stay pages of the file: do not change it in place while the model lives. `max_mem` in bytes, 0: no
 * limit. */
PARE_API int pare_model_load(const char *path, uint64_t max_mem, PareModel **model, PareError *error);
/* Writes it; the file appears whole or not at all. The format follows the extension, else that of the file it came from. */
PARE_API int pare_model_save(PareModel *model, const char *path, PareError *error);
PARE_API void pare_model_free(PareModel *model); /* NULL is fine */

/* Numbers without running: what `pare inspect --json` prints. The text is to be freed with pare_text_free. */
PARE_API int pare_model_inspect(const PareModel *model, char **json, PareError *error);

/* Runs the passes of a recipe (JSON text) on a network and gives a new one; `model` stays as it is. Paths in the recipe are relative to
 * `folder` (NULL: the current one). Goals are not judged and nothing is measured: `pare run` does that. `report` (may be NULL) receives
 * a JSON array with one entry for each pass: options, what was changed, skipped and noted. */
PARE_API int pare_model_run_recipe(const PareModel *model, const char *recipe, const char *folder, int threads, PareModel **result,
                                   char **report, PareError *error);

/* Runs the network once. `inputs` are found by name; their types and shapes have to fit. */
PARE_API int pare_model_infer(const PareModel *model, const PareArray *inputs, int count, int threads, PareOutputs **outputs,
                              PareError *error);
PARE_API int pare_outputs_count(const PareOutputs *outputs);
/* Borrowed from `outputs`; NULL when there is no such output. */
PARE_API const PareArray *pare_outputs_get(const PareOutputs *outputs, int index);
PARE_API void pare_outputs_free(PareOutputs *outputs); /* NULL is fine */

PARE_API void pare_text_free(char *text); /* NULL is fine */

#ifdef __cplusplus
}
#endif

#endif
