/* What our own loops for AVX2 are written with: engine/direct*.c, narrow*.c, steps.c, blocks.c. There is nothing here for other processors
 * than x86-64. */
#ifndef PARE_ENGINE_AVX2_H
#define PARE_ENGINE_AVX2_H

#include <stdbool.h>

/* Whether this processor runs them: AVX2 with FMA. */
static inline bool avx2_serves(void)
{
#if defined(__x86_64__)
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
    return false;
#endif
}

#if defined(__x86_64__)
#include <immintrin.h>

/* Vectors are in registers only where all their indices are constants: loops over them are unrolled, of up to 16 rounds. */
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#define UNROLL_FOUR _Pragma("clang loop unroll_count(4)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#define UNROLL_FOUR _Pragma("GCC unroll 4")
#endif
#define AVX2 __attribute__((target("avx2,fma")))
#define AVX2_INLINE static inline __attribute__((always_inline, target("avx2,fma")))
#endif

#endif
