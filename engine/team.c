/* The threads that share a run, started before they are needed.
 * A kernel often puts a new thread where its maker runs and moves it when the two have shared that processor for some milliseconds; a maker
 * that spins at the barrier of its first parallel loop takes them from the very thread it waits for. So it sleeps where it is until all are
 * there, and who finds itself on its processor moves on. */
#include "engine/team.h"

#include <sched.h>
#include <stdbool.h>
#include <time.h>

#include "base/openmp.h"

#define NAPS 200
#define NAP 20000     /* nanoseconds */
#define PATIENCE 4096 /* glances before the processor is left to somebody who may be waited for */

/* Puts the calling thread on processor `cpu`, if it may run there and on `threads` in sum; *before: where it might until now. */
static bool move_to(int cpu, int threads, cpu_set_t *before)
{
    if (sched_getaffinity(0, sizeof *before, before) != 0 || CPU_COUNT(before) < threads || !CPU_ISSET(cpu, before)) return false;
    cpu_set_t there;
    CPU_ZERO(&there);
    CPU_SET(cpu, &there);
    return sched_setaffinity(0, sizeof there, &there) == 0;
}

/* The processor `steps` behind `home` of those the calling thread may run on; -1: not known. */
static int another(int home, int steps)
{
    cpu_set_t all;
    if (sched_getaffinity(0, sizeof all, &all) != 0) return -1;
    int cpu = home;
    for (int i = 0; i < CPU_SETSIZE && steps > 0; i++) {
        cpu = (cpu + 1) % CPU_SETSIZE;
        if (CPU_ISSET(cpu, &all)) steps--;
    }
    return steps == 0 && cpu != home ? cpu : -1;
}

void team_start(int threads)
{
    int there = 1, home = sched_getcpu();
    if (threads < 2) return;
#pragma omp parallel num_threads(threads) shared(there, home)
    {
        int self = omp_get_thread_num();
        cpu_set_t own;
        if (self != 0) {
            int cpu = home >= 0 && sched_getcpu() == home ? another(home, self) : -1;
            if (cpu >= 0 && move_to(cpu, threads, &own)) sched_setaffinity(0, sizeof own, &own);
            __atomic_add_fetch(&there, 1, __ATOMIC_RELEASE);
        } else {
            int all = omp_get_num_threads();
            bool stays = home >= 0 && move_to(home, threads, &own); /* not before: new threads may run where their maker may */
            for (int i = 0; i < NAPS && __atomic_load_n(&there, __ATOMIC_ACQUIRE) < all; i++)
                nanosleep(&(struct timespec){ .tv_nsec = NAP }, NULL);
            if (stays) sched_setaffinity(0, sizeof own, &own);
        }
    }
}

static inline void pause_briefly(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

void team_meet(int *arrived, int all)
{
    int here = __atomic_add_fetch(arrived, 1, __ATOMIC_ACQ_REL);
    for (int i = 0; here < all; i++, here = __atomic_load_n(arrived, __ATOMIC_ACQUIRE)) {
        if (i < PATIENCE) pause_briefly();
        else sched_yield();
    }
}
