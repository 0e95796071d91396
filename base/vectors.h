/* Loops compiled twice, for any x86 and for AVX2, and chosen while the program runs: the same operations in the same order, so that the
 * results are the same.
 *
 *   VECTOR_BODY void add(float *y, int64_t n) { ... }
 *   static void add_any(float *y, int64_t n) { add(y, n); }
 *   VECTOR_AVX2 static void add_avx2(float *y, int64_t n) { add(y, n); }
 *   ...
 *   VECTOR_PICK(add)(y, n); */
#ifndef PARE_BASE_VECTORS_H
#define PARE_BASE_VECTORS_H

#define VECTOR_BODY static inline __attribute__((always_inline))
#if defined(__x86_64__)
#define VECTOR_AVX2 __attribute__((target("avx2")))
#define VECTOR_PICK(name) (__builtin_cpu_supports("avx2") ? name##_avx2 : name##_any)
#else
#define VECTOR_AVX2
#define VECTOR_PICK(name) ((void)name##_avx2, name##_any)
#endif

#endif
