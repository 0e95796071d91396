#include "base/size.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

bool size_parse(const char *text, const double *whole, double *out)
{
    static const struct {
        const char *suffix;
        double factor;
    } units[] = { { "", 1 }, { "k", 1e3 }, { "K", 1e3 }, { "M", 1e6 }, { "G", 1e9 }, { "T", 1e12 },
                  { "Ki", 1024.0 }, { "Mi", 1048576.0 }, { "Gi", 1073741824.0 } };
    char *end;
    if (text == NULL || !((text[0] >= '0' && text[0] <= '9') || text[0] == '.') || strpbrk(text, "xX") != NULL) return false;
    double number = strtod(text, &end);
    if (end == text || !isfinite(number) || number < 0) return false;
    if (strcmp(end, "%") == 0 && whole != NULL) {
        *out = number / 100.0 * *whole;
        return true;
    }
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        if (strcmp(end, units[i].suffix) == 0) {
            *out = number * units[i].factor;
            return *out < 9e18;
        }
    }
    return false;
}
