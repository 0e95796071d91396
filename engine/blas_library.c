#include "engine/blas_library.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* By the names that their programs are linked with, and by those of the development files. */
static const char *const openblas_names[] = { "libopenblas.so.0", "libopenblas.so", NULL };
static const char *const lapacke_names[] = { "liblapacke.so.3", "liblapacke.so", NULL };

/* LAPACKE finds OpenBLAS's LAPACK because that is opened for all. */
static void *open_first(const char *const *names)
{
    for (; *names != NULL; names++) {
        void *handle = dlopen(*names, RTLD_LAZY | RTLD_GLOBAL);
        if (handle != NULL) return handle;
    }
    return NULL;
}

static void *find(void *blas, void *lapacke, const char *name)
{
    void *found = dlsym(blas, name);
    return found == NULL && lapacke != NULL ? dlsym(lapacke, name) : found;
}

static BlasLibrary open_library(void)
{
    BlasLibrary l = { .reason = "" };
    void *blas = open_first(openblas_names);
    /* some builds of OpenBLAS hold LAPACKE */
    void *lapacke = blas != NULL && dlsym(blas, "LAPACKE_dgesdd") == NULL ? open_first(lapacke_names) : NULL;
    const struct {
        const char *name;
        void *place;
    } wanted[] = {
        { "cblas_sgemm", &l.sgemm },
        { "cblas_dgemm", &l.dgemm },
        { "cblas_dtrsm", &l.dtrsm },
        { "openblas_get_config", &l.config },
        { "openblas_get_num_threads", &l.threads },
        { "openblas_set_num_threads", &l.set_threads },
        { "LAPACKE_dgesdd", &l.dgesdd },
        { "LAPACKE_dgesvd", &l.dgesvd },
        { "LAPACKE_dpotrf", &l.dpotrf },
        { "LAPACKE_dpotri", &l.dpotri },
    };
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        void *found = blas != NULL ? find(blas, lapacke, wanted[i].name) : NULL;
        if (found == NULL) {
            const char *said = dlerror();
            BlasLibrary none = blas_plain();
            snprintf(none.reason, sizeof none.reason, "%s: %s", wanted[i].name, said != NULL ? said : "not in OpenBLAS or LAPACKE");
            return none;
        }
        memcpy(wanted[i].place, &found, sizeof found); /* ISO C has no cast from an object's address to a function's */
    }
    return l;
}

static BlasLibrary library;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void open_once(void)
{
    library = open_library();
}

const BlasLibrary *blas_library(void)
{
    pthread_once(&once, open_once);
    return &library;
}
