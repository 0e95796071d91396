/* Versions of the libraries that compute, as they say themselves at run time. */
#ifndef PARE_ENGINE_VERSIONS_H
#define PARE_ENGINE_VERSIONS_H

#include <stddef.h>

void engine_version_onednn(char *text, size_t size); /* "2.6.3" */
void engine_version_blas(char *text, size_t size);   /* "OpenBLAS 0.3.21 ..." */

#endif
