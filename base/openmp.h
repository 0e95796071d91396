/* What is called of OpenMP's library, which is libgomp whichever compiler builds: gcc's omp.h is not in clang's path, and clang's own comes
 * with another library. */
#ifndef PARE_BASE_OPENMP_H
#define PARE_BASE_OPENMP_H

int omp_get_max_threads(void);
void omp_set_num_threads(int threads);
int omp_get_thread_num(void);
int omp_get_num_threads(void);
int omp_get_num_procs(void);

#endif
