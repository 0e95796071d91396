/* The battery of a laptop or handheld while it discharges: the whole device, screen included, from a gauge that moves every few seconds.
 * Nothing is told while a charger feeds the device. Source: Documentation/ABI/testing/sysfs-class-power of Linux. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "greenness/source.h"
#include "greenness/tree.h"

#define FOLDER "/sys/class/power_supply"
#define BATTERIES_MOST 8
#define WATTS_DEVICE 200.0

typedef struct Battery {
    char names[BATTERIES_MOST][48];
    int count;
    double watts; /* at the last step */
} Battery;

static int text_of(const Source *s, const char *battery, const char *file, char *text, size_t size)
{
    char path[TREE_PATH];
    snprintf(path, sizeof path, FOLDER "/%s/%s", battery, file);
    return tree_text(s->settings.sysroot, path, text, size);
}

static bool number_of(const Source *s, const char *battery, const char *file, double *out)
{
    char path[TREE_PATH];
    snprintf(path, sizeof path, FOLDER "/%s/%s", battery, file);
    return tree_decimal(s->settings.sysroot, path, out) == 0;
}

static void find_batteries(const Source *s, Battery *b)
{
    TreeNames names;
    tree_list(s->settings.sysroot, FOLDER, &names);
    for (int i = 0; i < names.count && b->count < BATTERIES_MOST; i++) {
        char type[16], scope[16] = "";
        if (strlen(names.names[i]) >= sizeof b->names[0]) continue;
        if (text_of(s, names.names[i], "type", type, sizeof type) != 0 || strcmp(type, "Battery") != 0) continue;
        text_of(s, names.names[i], "scope", scope, sizeof scope); /* "Device" is a mouse's or a headset's */
        if (strcmp(scope, "Device") != 0) snprintf(b->names[b->count++], sizeof b->names[0], "%s", names.names[i]);
    }
    tree_names_release(&names);
}

/* Watts that leave all batteries. False with reason, also while one is charged. */
static bool read_watts(Source *s, const Battery *b, double *watts)
{
    int discharging = 0;
    *watts = 0;
    for (int i = 0; i < b->count; i++) {
        char status[32];
        double power, amperes, volts;
        int error = text_of(s, b->names[i], "status", status, sizeof status);
        if (error != 0) {
            snprintf(s->reason, sizeof s->reason, "%s: status: %s", b->names[i], strerror(error));
            return false;
        }
        if (strcmp(status, "Charging") == 0) {
            snprintf(s->reason, sizeof s->reason, "%s is being charged", b->names[i]);
            return false;
        }
        if (strcmp(status, "Discharging") != 0) continue; /* full, or the second of two that are used in turn */
        discharging++;
        if (number_of(s, b->names[i], "power_now", &power)) {
            *watts += fabs(power) * 1e-6; /* some drivers give what leaves a minus sign */
        } else if (number_of(s, b->names[i], "current_now", &amperes) && number_of(s, b->names[i], "voltage_now", &volts)) {
            *watts += fabs(amperes) * 1e-6 * volts * 1e-6;
        } else {
            snprintf(s->reason, sizeof s->reason, "%s shows neither power_now nor current_now and voltage_now", b->names[i]);
            return false;
        }
    }
    if (discharging == 0) snprintf(s->reason, sizeof s->reason, "no battery discharges: the device runs from its charger");
    return discharging > 0;
}

static void battery_open(Source *s)
{
    s->provenance = PROVENANCE_BATTERY;
    s->factor = 1.3;
    s->update_seconds = 5;
    s->least_window = 60;
    s->poll_seconds = 1;
    s->limit_watts = 4 * WATTS_DEVICE;
    snprintf(s->boundary, sizeof s->boundary, "whole device, screen included");
    snprintf(s->resolution, sizeof s->resolution, "power, sampled each second; the gauge moves every few seconds");
    Battery *b = calloc(1, sizeof *b);
    if (b != NULL) find_batteries(s, b);
    if (b == NULL || b->count == 0) {
        s->readiness = b == NULL ? SOURCE_UNUSABLE : SOURCE_ABSENT;
        snprintf(s->reason, sizeof s->reason, b == NULL ? "out of memory" : "no battery");
        free(b);
        return;
    }
    if (!read_watts(s, b, &b->watts)) {
        s->readiness = SOURCE_UNUSABLE;
        snprintf(s->fix, sizeof s->fix, "unplug the charger, set the screen to a fixed brightness");
        free(b);
        return;
    }
    double margin;
    if (number_of(s, b->names[0], "capacity_error_margin", &margin) && margin > 0 && margin < 100) s->factor = 1 + fmax(0.15, margin / 100);
    s->state = b;
    s->readiness = SOURCE_READY;
    if (b->count == 1) snprintf(s->label, sizeof s->label, "%s", b->names[0]);
    else snprintf(s->label, sizeof s->label, "%d batteries", b->count);
    snprintf(s->note, sizeof s->note, "tells differences of 10 %% and more, no smaller ones");
}

static bool battery_step(Source *s, const SourceTime *now, double *joules)
{
    Battery *b = s->state;
    double watts;
    if (!read_watts(s, b, &watts)) return false;
    *joules = 0.5 * (watts + b->watts) * (now->monotonic - s->last.monotonic);
    b->watts = watts;
    return true;
}

static void battery_close(Source *s) { free(s->state); }

const SourceKind source_battery = {
    .id = "battery",
    .title = "battery gauge",
    .level = 4,
    .open = battery_open,
    .step = battery_step,
    .close = battery_close,
};
