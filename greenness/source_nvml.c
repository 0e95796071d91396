/* Graphics cards of NVIDIA through their management library, loaded when it is there. pare computes on the processor, so a card's energy
 * is shown beside the processor's and never taken for it. The energy counter (Volta and later) moves about every 100 ms; where there is
 * none, the power is sampled, which on newer cards is an average over a second (Yang et al., arXiv 2312.02741). */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "greenness/advice.h"
#include "greenness/source.h"

#define CARDS_MOST 16
#define WATTS_CARD 700.0

typedef struct Nvml {
    NvmlCalls calls;
    void *library;
    bool started, counts_energy;
    int count;
    void *cards[CARDS_MOST];
    unsigned long long last[CARDS_MOST]; /* millijoules */
    double watts;                        /* of all cards at the last step, where they count no energy */
} Nvml;

static bool load_calls(Source *s, Nvml *n)
{
    if (s->settings.nvml != NULL) {
        n->calls = *s->settings.nvml;
        return true;
    }
    bool own = s->settings.sysroot == NULL || s->settings.sysroot[0] == '\0';
    n->library = own ? dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL) : NULL;
    if (n->library == NULL) {
        s->readiness = SOURCE_ABSENT;
        snprintf(s->reason, sizeof s->reason, "libnvidia-ml.so.1 is not here");
        return false;
    }
    const struct {
        const char *name;
        void *call; /* of the pointer to fill */
    } wanted[] = {
        { "nvmlInit_v2", &n->calls.init }, { "nvmlShutdown", &n->calls.shutdown },
        { "nvmlDeviceGetCount_v2", &n->calls.count }, { "nvmlDeviceGetHandleByIndex_v2", &n->calls.handle },
        { "nvmlDeviceGetName", &n->calls.name }, { "nvmlDeviceGetTotalEnergyConsumption", &n->calls.energy },
        { "nvmlDeviceGetPowerUsage", &n->calls.power }, { "nvmlErrorString", &n->calls.error },
    };
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        void *symbol = dlsym(n->library, wanted[i].name);
        if (symbol == NULL) {
            s->readiness = SOURCE_UNUSABLE;
            snprintf(s->reason, sizeof s->reason, "libnvidia-ml.so.1 has no %s", wanted[i].name);
            return false;
        }
        memcpy(wanted[i].call, &symbol, sizeof symbol);
    }
    return true;
}

static bool failed(Source *s, const Nvml *n, const char *what, int code)
{
    if (code == 0) return false;
    const char *text = n->calls.error(code);
    snprintf(s->reason, sizeof s->reason, "NVML: %s: %s", what, text != NULL ? text : "unknown error");
    return true;
}

static bool find_cards(Source *s, Nvml *n)
{
    unsigned count = 0;
    s->readiness = SOURCE_UNUSABLE;
    if (failed(s, n, "start", n->calls.init())) return false;
    n->started = true;
    if (failed(s, n, "number of cards", n->calls.count(&count))) return false;
    if (count == 0 || count > CARDS_MOST) {
        if (count == 0) s->readiness = SOURCE_ABSENT;
        snprintf(s->reason, sizeof s->reason, count == 0 ? "no NVIDIA card" : "%u NVIDIA cards, more than are followed", count);
        return false;
    }
    n->count = (int)count;
    n->counts_energy = true;
    for (int i = 0; i < n->count; i++) {
        if (failed(s, n, "a card", n->calls.handle((unsigned)i, &n->cards[i]))) return false;
        n->counts_energy = n->counts_energy && n->calls.energy(n->cards[i], &n->last[i]) == 0;
    }
    return true;
}

static void release(Nvml *n)
{
    if (n->started) n->calls.shutdown();
    if (n->library != NULL) dlclose(n->library);
    free(n);
}

static void nvml_open(Source *s)
{
    s->provenance = PROVENANCE_GPU;
    s->factor = 1.15;
    s->least_window = 10;
    s->beside = true;
    Nvml *n = calloc(1, sizeof *n);
    if (n == NULL) {
        s->readiness = SOURCE_UNUSABLE;
        snprintf(s->reason, sizeof s->reason, "out of memory");
        return;
    }
    if (!load_calls(s, n) || !find_cards(s, n)) {
        release(n);
        advice_nvml(s);
        return;
    }
    s->state = n;
    s->readiness = SOURCE_READY;
    s->limit_watts = 4 * WATTS_CARD * n->count;
    s->update_seconds = n->counts_energy ? 0.1 : 1;
    s->poll_seconds = n->counts_energy ? 0 : 0.1;
    char name[64] = "";
    if (n->calls.name(n->cards[0], name, sizeof name) != 0) snprintf(name, sizeof name, "NVIDIA card");
    if (n->count == 1) snprintf(s->label, sizeof s->label, "%.63s", name);
    else snprintf(s->label, sizeof s->label, "%d cards, first %.63s", n->count, name);
    snprintf(s->boundary, sizeof s->boundary, "graphics boards");
    snprintf(s->resolution, sizeof s->resolution, n->counts_energy ? "1 mJ every 100 ms" : "power, average of about 1 s, sampled");
    snprintf(s->note, sizeof s->note, "pare computes on the processor: shown beside its energy, never instead of it");
}

static bool energy_step(Source *s, Nvml *n, double *joules)
{
    bool good = true;
    *joules = 0;
    for (int i = 0; i < n->count; i++) {
        unsigned long long now = 0;
        if (failed(s, n, "energy", n->calls.energy(n->cards[i], &now))) {
            good = false;
            continue;
        }
        if (now < n->last[i]) {
            snprintf(s->reason, sizeof s->reason, "card %d: the counter fell back; was the driver loaded anew?", i);
            good = false;
        } else {
            *joules += (double)(now - n->last[i]) * 1e-3;
        }
        n->last[i] = now;
    }
    return good;
}

static bool nvml_step(Source *s, const SourceTime *now, double *joules)
{
    Nvml *n = s->state;
    if (n->counts_energy) return energy_step(s, n, joules);
    double watts = 0;
    for (int i = 0; i < n->count; i++) {
        unsigned milliwatts = 0;
        if (failed(s, n, "power", n->calls.power(n->cards[i], &milliwatts))) return false;
        watts += milliwatts * 1e-3;
    }
    *joules = 0.5 * (watts + n->watts) * (now->monotonic - s->last.monotonic);
    n->watts = watts;
    return true;
}

static void nvml_close(Source *s) { release(s->state); }

const SourceKind source_nvml = {
    .id = "nvml",
    .title = "NVIDIA management library",
    .level = 2,
    .open = nvml_open,
    .step = nvml_step,
    .close = nvml_close,
};
