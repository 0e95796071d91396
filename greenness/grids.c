/* Carbon intensity of electricity by country, yearly means.
 *
 * Figures of Ember (Yearly Electricity Data; until 2023 with the Energy Institute's Statistical Review), as processed by Our World in Data:
 * emissions of the whole life cycle of what is generated in the country, in 100-year CO2 equivalents, imports left out. They may be used
 * with attribution (CC BY 4.0). World: Ember's own for 2023, and the International Energy Agency's, which counts only the CO2 of
 * generation; the two differ by a tenth. Most countries and all national statistics, which count differently again, are not in the table;
 * what is not here is given as a number. */
#include <strings.h>

#include "base/str.h"
#include "greenness/carbon.h"

#define LIFE_CYCLE "life cycle CO2e"
#define EMBER "Ember, Our World in Data"

static const GridFactor grids[] = {
    { 445, "world", 2024, "CO2 at generation", "IEA Electricity 2025", "WLD" },
    { 481, "world", 2023, LIFE_CYCLE, "Ember Global Electricity Review 2024", "WLD" },
    { 354, "Argentina", 2023, LIFE_CYCLE, EMBER, "ARG" },
    { 551.6, "Australia", 2024, LIFE_CYCLE, EMBER, "AUS" },
    { 548.7, "Australia", 2023, LIFE_CYCLE, EMBER, "AUS" },
    { 111, "Austria", 2023, LIFE_CYCLE, EMBER, "AUT" },
    { 138, "Belgium", 2023, LIFE_CYCLE, EMBER, "BEL" },
    { 103.2, "Brazil", 2024, LIFE_CYCLE, EMBER, "BRA" },
    { 98.3, "Brazil", 2023, LIFE_CYCLE, EMBER, "BRA" },
    { 335, "Bulgaria", 2023, LIFE_CYCLE, EMBER, "BGR" },
    { 170, "Canada", 2023, LIFE_CYCLE, EMBER, "CAN" },
    { 291, "Chile", 2023, LIFE_CYCLE, EMBER, "CHL" },
    { 559.6, "China", 2024, LIFE_CYCLE, EMBER, "CHN" },
    { 582.3, "China", 2023, LIFE_CYCLE, EMBER, "CHN" },
    { 260, "Colombia", 2023, LIFE_CYCLE, EMBER, "COL" },
    { 53, "Costa Rica", 2023, LIFE_CYCLE, EMBER, "CRI" },
    { 205, "Croatia", 2023, LIFE_CYCLE, EMBER, "HRV" },
    { 534, "Cyprus", 2023, LIFE_CYCLE, EMBER, "CYP" },
    { 450, "Czechia", 2023, LIFE_CYCLE, EMBER, "CZE" },
    { 152, "Denmark", 2023, LIFE_CYCLE, EMBER, "DNK" },
    { 570, "Egypt", 2023, LIFE_CYCLE, EMBER, "EGY" },
    { 417, "Estonia", 2023, LIFE_CYCLE, EMBER, "EST" },
    { 79, "Finland", 2023, LIFE_CYCLE, EMBER, "FIN" },
    { 44.2, "France", 2024, LIFE_CYCLE, EMBER, "FRA" },
    { 56, "France", 2023, LIFE_CYCLE, EMBER, "FRA" },
    { 344.1, "Germany", 2024, LIFE_CYCLE, EMBER, "DEU" },
    { 381, "Germany", 2023, LIFE_CYCLE, EMBER, "DEU" },
    { 337, "Greece", 2023, LIFE_CYCLE, EMBER, "GRC" },
    { 204, "Hungary", 2023, LIFE_CYCLE, EMBER, "HUN" },
    { 708.3, "India", 2024, LIFE_CYCLE, EMBER, "IND" },
    { 713.4, "India", 2023, LIFE_CYCLE, EMBER, "IND" },
    { 655, "Iran", 2023, LIFE_CYCLE, EMBER, "IRN" },
    { 291, "Ireland", 2023, LIFE_CYCLE, EMBER, "IRL" },
    { 482.3, "Japan", 2024, LIFE_CYCLE, EMBER, "JPN" },
    { 485.4, "Japan", 2023, LIFE_CYCLE, EMBER, "JPN" },
    { 30.7, "Norway", 2024, LIFE_CYCLE, EMBER, "NOR" },
    { 30.1, "Norway", 2023, LIFE_CYCLE, EMBER, "NOR" },
    { 615, "Poland", 2024, LIFE_CYCLE, EMBER, "POL" },
    { 661.9, "Poland", 2023, LIFE_CYCLE, EMBER, "POL" },
    { 708.9, "South Africa", 2024, LIFE_CYCLE, EMBER, "ZAF" },
    { 707.7, "South Africa", 2023, LIFE_CYCLE, EMBER, "ZAF" },
    { 35.8, "Sweden", 2024, LIFE_CYCLE, EMBER, "SWE" },
    { 40.7, "Sweden", 2023, LIFE_CYCLE, EMBER, "SWE" },
    { 210.9, "United Kingdom", 2024, LIFE_CYCLE, EMBER, "GBR" },
    { 237.6, "United Kingdom", 2023, LIFE_CYCLE, EMBER, "GBR" },
    { 383.5, "United States", 2024, LIFE_CYCLE, EMBER, "USA" },
    { 369.5, "United States", 2023, LIFE_CYCLE, EMBER, "USA" },
    { 0, NULL, 0, NULL, NULL, NULL },
};

const GridFactor *carbon_grids(void) { return grids; }

/* ISO 3166's codes of two letters, and what people write in their place. */
static const struct {
    const char *name, *code;
} aliases[] = {
    { "AR", "ARG" }, { "AU", "AUS" }, { "AT", "AUT" }, { "BE", "BEL" }, { "BR", "BRA" }, { "BG", "BGR" }, { "CA", "CAN" }, { "CL", "CHL" },
    { "CN", "CHN" }, { "CO", "COL" }, { "CR", "CRI" }, { "HR", "HRV" }, { "CY", "CYP" }, { "CZ", "CZE" }, { "DK", "DNK" }, { "EG", "EGY" },
    { "EE", "EST" }, { "FI", "FIN" }, { "FR", "FRA" }, { "DE", "DEU" }, { "GR", "GRC" }, { "HU", "HUN" }, { "IN", "IND" }, { "IR", "IRN" },
    { "IE", "IRL" }, { "JP", "JPN" }, { "NO", "NOR" }, { "PL", "POL" }, { "ZA", "ZAF" }, { "SE", "SWE" }, { "GB", "GBR" }, { "UK", "GBR" },
    { "Great Britain", "GBR" }, { "US", "USA" }, { "Czech Republic", "CZE" },
};

const GridFactor *carbon_grid_find(const char *name, const char **nearest)
{
    const GridFactor *found = NULL;
    const char *code = name;
    int distance = 1 << 20;
    for (size_t i = 0; i < sizeof aliases / sizeof *aliases; i++)
        if (strcasecmp(aliases[i].name, name) == 0) code = aliases[i].code;
    for (const GridFactor *g = grids; g->region != NULL; g++) {
        bool same = strcasecmp(g->region, name) == 0 || strcasecmp(g->code, code) == 0;
        if (same && (found == NULL || g->year > found->year)) found = g;
        if (nearest != NULL && str_unlike(g->region, name) < distance) {
            distance = str_unlike(g->region, name);
            *nearest = g->region;
        }
    }
    return found;
}
