/* The threads of parallel loops. */
#ifndef PARE_ENGINE_TEAM_H
#define PARE_ENGINE_TEAM_H

/* Sees to it that `threads` threads, the caller among them, run on processors of their own where there are enough. They stay for the
 * caller's parallel loops; called again it takes microseconds. */
void team_start(int threads);
/* Within a parallel loop: returns when `all` have called it in sum, counted in *arrived. */
void team_meet(int *arrived, int all);

#endif
