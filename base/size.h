/* Amounts as people write them: bytes, counts, shares of a whole. */
#ifndef PARE_BASE_SIZE_H
#define PARE_BASE_SIZE_H

#include <stdbool.h>

/* "1500", "2k", "1.5M", "3G" (powers of 1000), "2Ki", "1Mi", "4Gi" (powers of 1024). With `whole` not NULL also "32%" of it. False when
 * the text has none of these forms. */
bool size_parse(const char *text, const double *whole, double *out);

#endif
