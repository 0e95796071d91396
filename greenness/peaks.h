/* Micro-benchmarks: multiply-adds out of registers, reads out of the second-level cache and out of memory. Inside greenness/ only. */
#ifndef PARE_GREENNESS_PEAKS_H
#define PARE_GREENNESS_PEAKS_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

typedef enum Peak { PEAK_F32, PEAK_INT8, PEAK_L2, PEAK_DRAM, PEAK_COUNT } Peak;

/* A slice of the buffers for each thread, written once so that its pages are there. */
typedef struct PeakBuffers {
    uint8_t *data;
    size_t bytes;             /* of data */
    size_t l2_slice;          /* read again and again by one thread: half its second-level cache */
    int threads;
} PeakBuffers;

/* `bytes`: of the buffer for memory reads; taken as 4 times the last-level cache and at most `max_bytes`. ERR_MEMORY. */
Status peaks_init(PeakBuffers *b, int threads, uint64_t max_bytes, Err *err);
void peaks_release(PeakBuffers *b);

/* Runs the kernels named, in turns, on `threads` threads for about `seconds`; counts[k] gets the multiply-adds or bytes done by all.
 * Returns how many a second of CPU time the threads did together, all kernels added: what other processes take does not count. */
double peaks_run(const PeakBuffers *b, const Peak *kernels, int kernel_count, int threads, double seconds, double counts[PEAK_COUNT]);

#endif
