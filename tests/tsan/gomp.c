/* OpenMP's run time on pthreads alone, as far as this program and oneDNN call it, for builds under the thread sanitizer: that sees
 * pthreads, but not into libgomp, whose barriers and thread starts it takes for races. The interface is what gcc emits (libgomp's manual,
 * "The libgomp ABI"). Linked into the program before libgomp. A team's threads are made and joined for each parallel region; nested
 * regions run on one thread. */
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#define LOOPS 64 /* that the fastest thread of a team may be ahead of the slowest */

typedef struct Loop {
    long number; /* of the team's loops, from 1 */
    long next, end, step, chunk;
} Loop;

typedef struct Team {
    int count;
    pthread_barrier_t barrier;
    pthread_mutex_t mutex;
    Loop loops[LOOPS];
    void (*run)(void *data);
    void *data;
} Team;

typedef struct Member {
    Team *team;
    int number;
} Member;

/* Those of libgomp, in the place of its own for oneDNN too. */
#pragma GCC visibility push(default)
int omp_get_num_procs(void);
int omp_get_max_threads(void);
int omp_get_num_threads(void);
int omp_get_thread_num(void);
int omp_in_parallel(void);
void omp_set_num_threads(int count);
void GOMP_parallel(void (*run)(void *data), void *data, unsigned count, unsigned flags);
void GOMP_barrier(void);
void GOMP_critical_name_start(void **name);
void GOMP_critical_name_end(void **name);
bool GOMP_loop_nonmonotonic_dynamic_start(long start, long end, long step, long chunk, long *from, long *to);
bool GOMP_loop_nonmonotonic_dynamic_next(long *from, long *to);
void GOMP_loop_end(void);
void GOMP_loop_end_nowait(void);
#pragma GCC visibility pop

static _Thread_local Team *team;
static _Thread_local int number;
static _Thread_local long loops;
static _Thread_local int wanted; /* as libgomp: a setting of the thread that asks */
static pthread_mutex_t critical = PTHREAD_MUTEX_INITIALIZER;

int omp_get_num_procs(void)
{
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
}

int omp_get_max_threads(void)
{
    return wanted > 0 ? wanted : omp_get_num_procs();
}

void omp_set_num_threads(int count)
{
    wanted = count;
}

int omp_get_num_threads(void)
{
    return team != NULL ? team->count : 1;
}

int omp_get_thread_num(void)
{
    return number;
}

int omp_in_parallel(void)
{
    return team != NULL && team->count > 1;
}

static void *run_member(void *argument)
{
    const Member *m = argument;
    team = m->team;
    number = m->number;
    loops = 0;
    team->run(team->data);
    team = NULL;
    number = 0;
    return NULL;
}

static void fail(const char *what)
{
    fprintf(stderr, "gomp: %s\n", what);
    abort();
}

void GOMP_parallel(void (*run)(void *data), void *data, unsigned count, unsigned flags)
{
    (void)flags;
    int threads = count != 0 ? (int)count : omp_get_max_threads();
    Team *outer = team, own = { .count = outer != NULL ? 1 : threads, .run = run, .data = data };
    int outer_number = number;
    long outer_loops = loops;
    pthread_t *others = calloc((size_t)own.count, sizeof *others);
    Member *members = calloc((size_t)own.count, sizeof *members);
    if (others == NULL || members == NULL || pthread_barrier_init(&own.barrier, NULL, (unsigned)own.count) != 0) fail("no memory");
    pthread_mutex_init(&own.mutex, NULL);
    for (int i = own.count - 1; i >= 0; i--) {
        members[i] = (Member){ &own, i };
        if (i == 0) run_member(&members[0]);
        else if (pthread_create(&others[i], NULL, run_member, &members[i]) != 0) fail("no thread");
    }
    for (int i = 1; i < own.count; i++) pthread_join(others[i], NULL);
    team = outer;
    number = outer_number;
    loops = outer_loops;
    pthread_mutex_destroy(&own.mutex);
    pthread_barrier_destroy(&own.barrier);
    free(others);
    free(members);
}

void GOMP_barrier(void)
{
    if (team != NULL) pthread_barrier_wait(&team->barrier);
}

void GOMP_critical_name_start(void **name)
{
    (void)name; /* one lock for all names is as right, and slower */
    pthread_mutex_lock(&critical);
}

void GOMP_critical_name_end(void **name)
{
    (void)name;
    pthread_mutex_unlock(&critical);
}

bool GOMP_loop_nonmonotonic_dynamic_start(long start, long end, long step, long chunk, long *from, long *to)
{
    if (team == NULL || step < 1) fail("a loop outside a team, or backwards");
    pthread_mutex_lock(&team->mutex);
    Loop *l = &team->loops[++loops % LOOPS];
    if (l->number > loops) fail("too many loops at once");
    if (l->number < loops) *l = (Loop){ loops, start, end, step, chunk };
    pthread_mutex_unlock(&team->mutex);
    return GOMP_loop_nonmonotonic_dynamic_next(from, to);
}

bool GOMP_loop_nonmonotonic_dynamic_next(long *from, long *to)
{
    pthread_mutex_lock(&team->mutex);
    Loop *l = &team->loops[loops % LOOPS];
    *from = l->next;
    *to = l->next + l->chunk * l->step < l->end ? l->next + l->chunk * l->step : l->end;
    l->next = *to;
    pthread_mutex_unlock(&team->mutex);
    return *from < *to;
}

void GOMP_loop_end(void)
{
    GOMP_barrier();
}

void GOMP_loop_end_nowait(void)
{
}
