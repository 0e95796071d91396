/* Power sensors of boards under /sys/class/hwmon: energy counters, power meters, and volts x amperes (INA3221 and its kin).
 *
 * The interface does not say what a sensor sees, so none is taken unless it is known to see the whole (the ACPI power meter, the input rail
 * of a Jetson board, the sockets of amd_energy) or the user names it. Two sensors are never added but for sockets: one may hold the other.
 * Source: Documentation/hwmon/sysfs-interface of Linux. */
#include <errno.h>
#include <fnmatch.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "greenness/source.h"
#include "greenness/tree.h"

#define FOLDER "/sys/class/hwmon"
#define SENSORS_MOST 64

typedef enum Quantity { QUANTITY_ENERGY, QUANTITY_POWER, QUANTITY_RAIL } Quantity;

typedef struct Sensor {
    char id[40];    /* "hwmon3/power1" */
    char chip[32], label[48];
    char path[96], current[96]; /* files to read; `current` for rails */
    Quantity quantity;
    double interval;  /* seconds between updates as stated, else 0 */
    double accuracy;  /* share as stated, else 0 */
    double last;      /* joules or watts */
    bool taken;
} Sensor;

typedef struct Hwmon {
    Sensor sensors[SENSORS_MOST];
    int count;
} Hwmon;

/* Chips whose figure is the whole machine's, or all its processors'; patterns of fnmatch. */
static const struct {
    const char *chip, *label, *boundary;
    bool summed;
} known[] = {
    { "power_meter", "*", "whole machine at its power supply (ACPI power meter)", false },
    { "ina3221*", "VDD_IN", "whole board at its input", false },
    { "ina3221*", "POM_5V_IN", "whole board at its input", false },
    { "amd_energy", "Esocket*", "processor packages without memory, whole machine", true },
};

static void text_of(const char *root, const char *folder, const char *file, char *text, size_t size)
{
    char path[TREE_PATH];
    snprintf(path, sizeof path, FOLDER "/%s/%s", folder, file);
    tree_text(root, path, text, size); /* what is not there is empty */
}

static void add_sensor(Source *s, Hwmon *h, const char *folder, const char *file)
{
    static const struct {
        const char *prefix, *suffix, *stem;
        Quantity quantity;
    } kinds[] = { { "energy", "_input", "energy", QUANTITY_ENERGY }, { "power", "_average", "power", QUANTITY_POWER },
                  { "power", "_input", "power", QUANTITY_POWER }, { "curr", "_input", "in", QUANTITY_RAIL } };
    if (h->count == SENSORS_MOST || strlen(folder) > 20) return;
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        int number = 0, used = 0;
        char form[32], other[40], text[32];
        snprintf(form, sizeof form, "%s%%3d%s%%n", kinds[k].prefix, kinds[k].suffix);
        if (strlen(file) > 30 || sscanf(file, form, &number, &used) != 1 || used != (int)strlen(file)) continue;
        Sensor *e = &h->sensors[h->count];
        *e = (Sensor){ .quantity = kinds[k].quantity };
        snprintf(e->id, sizeof e->id, "%.20s/%s%d", folder, kinds[k].prefix, number);
        if (h->count > 0 && strcmp(h->sensors[h->count - 1].id, e->id) == 0) return; /* power1_average before power1_input */
        snprintf(e->path, sizeof e->path, FOLDER "/%.20s/%.30s", folder, file);
        if (e->quantity == QUANTITY_RAIL) {
            memcpy(e->current, e->path, sizeof e->current);
            snprintf(e->path, sizeof e->path, FOLDER "/%.20s/in%d_input", folder, number);
            if (!tree_exists(s->settings.sysroot, e->path)) return;
        }
        text_of(s->settings.sysroot, folder, "name", e->chip, sizeof e->chip);
        snprintf(other, sizeof other, "%s%d_label", kinds[k].stem, number);
        text_of(s->settings.sysroot, folder, other, e->label, sizeof e->label);
        snprintf(other, sizeof other, "%s%d_average_interval", kinds[k].stem, number);
        text_of(s->settings.sysroot, folder, other, text, sizeof text);
        if (text[0] == '\0') text_of(s->settings.sysroot, folder, "update_interval", text, sizeof text);
        e->interval = strtod(text, NULL) * 1e-3;
        snprintf(other, sizeof other, "%s%d_accuracy", kinds[k].stem, number);
        text_of(s->settings.sysroot, folder, other, text, sizeof text);
        e->accuracy = strtod(text, NULL) * 1e-2;
        h->count++;
        return;
    }
}

static void find_sensors(Source *s, Hwmon *h)
{
    TreeNames chips, files;
    tree_list(s->settings.sysroot, FOLDER, &chips);
    for (int i = 0; i < chips.count; i++) {
        char path[TREE_PATH];
        snprintf(path, sizeof path, FOLDER "/%.200s", chips.names[i]);
        tree_list(s->settings.sysroot, path, &files);
        for (int k = 0; k < files.count; k++) add_sensor(s, h, chips.names[i], files.names[k]);
        tree_names_release(&files);
    }
    tree_names_release(&chips);
}

static int read_file(const Source *s, const char *path, double *out)
{
    uint64_t number;
    int error = tree_number(s->settings.sysroot, path, &number);
    *out = error == 0 ? (double)number : 0;
    return error;
}

/* Joules or watts. Returns 0 or errno. */
static int read_sensor(const Source *s, const Sensor *e, double *out)
{
    double amperes = 1e-3;
    int error = read_file(s, e->path, out);
    if (error == 0 && e->quantity == QUANTITY_RAIL) {
        error = read_file(s, e->current, &amperes);
        *out *= 1e-6 * amperes; /* millivolts x milliamperes */
    } else {
        *out *= 1e-6;
    }
    return error;
}

/* Every sensor behind what `reason` says already. */
static void add_names(Source *s, const Hwmon *h)
{
    size_t used = strlen(s->reason);
    for (int i = 0; i < h->count && used < sizeof s->reason; i++)
        used += (size_t)snprintf(s->reason + used, sizeof s->reason - used, "%s %s (%s%s%s)", i > 0 ? "," : "", h->sensors[i].id,
                                 h->sensors[i].chip, h->sensors[i].label[0] != '\0' ? " " : "", h->sensors[i].label);
}

static void list_sensors(Source *s, const Hwmon *h)
{
    snprintf(s->reason, sizeof s->reason, "nothing says what these see:");
    add_names(s, h);
    s->readiness = SOURCE_UNSET;
    snprintf(s->fix, sizeof s->fix, "name the one that feeds the processor: --sensor=%s", h->sensors[0].id);
}

/* Takes what the user named, or what is known to see the whole. False with reason. */
static bool choose(Source *s, Hwmon *h)
{
    const char *wanted = s->settings.sensor;
    int taken = 0;
    for (int i = 0; i < h->count && wanted != NULL && taken == 0; i++) {
        Sensor *e = &h->sensors[i];
        e->taken = strcmp(e->id, wanted) == 0 || strcmp(e->label, wanted) == 0;
        taken += e->taken;
        if (e->taken) snprintf(s->boundary, sizeof s->boundary, "what sensor %.38s sees", e->id);
    }
    for (size_t k = 0; k < sizeof known / sizeof *known && wanted == NULL && taken == 0; k++) {
        for (int i = 0; i < h->count && (taken == 0 || known[k].summed); i++) {
            Sensor *e = &h->sensors[i];
            e->taken = fnmatch(known[k].chip, e->chip, 0) == 0 && fnmatch(known[k].label, e->label, 0) == 0;
            taken += e->taken;
        }
        if (taken > 0) snprintf(s->boundary, sizeof s->boundary, "%s", known[k].boundary);
    }
    if (taken > 0) return true;
    if (wanted != NULL) {
        s->readiness = SOURCE_UNSET;
        snprintf(s->reason, sizeof s->reason, "no sensor '%.60s' under " FOLDER "; %s", wanted,
                 h->count > 0 ? "there are:" : "there is none at all");
        add_names(s, h);
        snprintf(s->fix, sizeof s->fix, "'pare probe' without --sensor lists them");
    } else if (h->count > 0) {
        list_sensors(s, h);
    } else {
        s->readiness = SOURCE_ABSENT;
        snprintf(s->reason, sizeof s->reason, "no power or energy sensor");
        snprintf(s->fix, sizeof s->fix, "servers: sudo modprobe acpi_power_meter; boards with an INA chip: its driver and device tree");
    }
    return false;
}

static bool take(Source *s, Hwmon *h)
{
    size_t used = 0;
    double accuracy = 0;
    s->update_seconds = 0;
    for (int i = 0; i < h->count; i++) {
        Sensor *e = &h->sensors[i];
        if (!e->taken) continue;
        int error = read_sensor(s, e, &e->last);
        if (error != 0) {
            s->readiness = error == EACCES || error == EPERM ? SOURCE_DENIED : SOURCE_UNUSABLE;
            snprintf(s->reason, sizeof s->reason, "%s: %s", e->id, strerror(error));
            if (s->readiness == SOURCE_DENIED) snprintf(s->fix, sizeof s->fix, "sudo chmod a+r %s", e->path);
            return false;
        }
        if (used < sizeof s->label)
            used += (size_t)snprintf(s->label + used, sizeof s->label - used, "%s%s%s%s", used > 0 ? " + " : "", e->id,
                                     e->label[0] != '\0' ? " " : "", e->label);
        s->update_seconds = fmax(s->update_seconds, e->interval > 0 ? e->interval : e->quantity == QUANTITY_ENERGY ? 1e-3 : 1);
        accuracy = fmax(accuracy, e->accuracy);
        s->poll_seconds = e->quantity == QUANTITY_ENERGY ? 0 : s->update_seconds / 2;
        snprintf(s->resolution, sizeof s->resolution, e->quantity == QUANTITY_ENERGY ? "energy counter, 1 uJ, every %g ms"
                 : "power, sampled every %g ms", s->update_seconds * 1e3);
    }
    s->factor = 1 + (accuracy > 0 ? accuracy : 0.2);
    s->least_window = fmax(10, 100 * s->update_seconds);
    return true;
}

static void hwmon_open(Source *s)
{
    s->provenance = PROVENANCE_SENSOR;
    Hwmon *h = calloc(1, sizeof *h);
    if (h == NULL) {
        s->readiness = SOURCE_UNUSABLE;
        snprintf(s->reason, sizeof s->reason, "out of memory");
        return;
    }
    find_sensors(s, h);
    if (!choose(s, h) || !take(s, h)) {
        free(h);
        return;
    }
    s->state = h;
    s->readiness = SOURCE_READY;
}

static bool hwmon_step(Source *s, const SourceTime *now, double *joules)
{
    Hwmon *h = s->state;
    double seconds = now->monotonic - s->last.monotonic;
    bool good = true;
    *joules = 0;
    for (int i = 0; i < h->count; i++) {
        Sensor *e = &h->sensors[i];
        double value = 0;
        if (!e->taken) continue;
        int error = read_sensor(s, e, &value);
        if (error != 0) {
            snprintf(s->reason, sizeof s->reason, "%s: %s", e->id, strerror(error));
            good = false;
            continue;
        }
        if (e->quantity != QUANTITY_ENERGY) {
            *joules += 0.5 * (value + e->last) * seconds;
        } else if (value < e->last) {
            snprintf(s->reason, sizeof s->reason, "%s: the counter fell back and its range is not known", e->id);
            good = false;
        } else {
            *joules += value - e->last;
        }
        e->last = value;
    }
    return good;
}

static void hwmon_close(Source *s) { free(s->state); }

const SourceKind source_hwmon = {
    .id = "hwmon",
    .title = "board sensors (hwmon)",
    .level = 3,
    .open = hwmon_open,
    .step = hwmon_step,
    .close = hwmon_close,
};
