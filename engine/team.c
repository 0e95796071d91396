/* The threads that share a run, started before they are needed.
 * A kernel often puts a new thread where its maker runs and moves it when the two have shared that processor for some milliseconds; a maker
 * that spins at the barrier of its first parallel loop takes them from the very thread it waits for. So it sleeps until all are there: the
 * new ones get its processor, and it wakes on one that is free. */
#include "engine/team.h"

#include <sched.h>
#include <time.h>

#include "base/openmp.h"

#define GLANCES 2000    /* at the counter, some ten microseconds: a thread that has a processor of its own is there by then */
#define NAPS 200
#define NAP 20000       /* nanoseconds */
#define PATIENCE 4096   /* glances before the processor is left to somebody who may be waited for */

void team_start(int threads)
{
    int there = 1;
    if (threads < 2) return;
#pragma omp parallel num_threads(threads) shared(there)
    {
        if (omp_get_thread_num() != 0) {
            __atomic_add_fetch(&there, 1, __ATOMIC_RELEASE);
        } else {
            int all = omp_get_num_threads();
            for (int i = 0; i < GLANCES + NAPS && __atomic_load_n(&there, __ATOMIC_ACQUIRE) < all; i++)
                if (i >= GLANCES) nanosleep(&(struct timespec){ .tv_nsec = NAP }, NULL);
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
