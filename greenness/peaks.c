#include "greenness/peaks.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/log.h"
#include "base/openmp.h"

#define LANES 12       /* chains of multiply-adds in flight: latency 4 or 5 on two ports */
#define ROUNDS 4096    /* of a chunk of arithmetic */
#define L1_BYTES 4096  /* operands of the int8 kernel */
#define CHUNK ((size_t)1 << 20)
#define ALIGNMENT 64

/* The chains must stay in registers: the loops over them are unrolled whole. */
#if defined(__clang__)
#define UNROLLED _Pragma("clang loop unroll(full)")
#else
#define UNROLLED _Pragma("GCC unroll 16")
#endif

/* Words of 8 elements of 8 bytes; the compiler splits them where registers are shorter. */
typedef uint64_t Words __attribute__((vector_size(64), aligned(64)));

#if defined(__x86_64__)
#include <immintrin.h>

__attribute__((target("avx512f"))) static double f32_avx512(float *sink)
{
    __m512 sum[LANES], x = _mm512_set1_ps(0.999f), y = _mm512_set1_ps(1e-3f);
    UNROLLED for (int i = 0; i < LANES; i++) sum[i] = _mm512_set1_ps((float)i);
    for (int k = 0; k < ROUNDS; k++)
        UNROLLED for (int i = 0; i < LANES; i++) sum[i] = _mm512_fmadd_ps(sum[i], x, y);
    UNROLLED for (int i = 1; i < LANES; i++) sum[0] = _mm512_add_ps(sum[0], sum[i]);
    *sink = _mm512_cvtss_f32(sum[0]);
    return 16.0 * LANES * ROUNDS;
}

__attribute__((target("avx2,fma"))) static double f32_avx2(float *sink)
{
    __m256 sum[LANES], x = _mm256_set1_ps(0.999f), y = _mm256_set1_ps(1e-3f);
    UNROLLED for (int i = 0; i < LANES; i++) sum[i] = _mm256_set1_ps((float)i);
    for (int k = 0; k < ROUNDS; k++)
        UNROLLED for (int i = 0; i < LANES; i++) sum[i] = _mm256_fmadd_ps(sum[i], x, y);
    UNROLLED for (int i = 1; i < LANES; i++) sum[0] = _mm256_add_ps(sum[0], sum[i]);
    *sink = _mm256_cvtss_f32(sum[0]);
    return 8.0 * LANES * ROUNDS;
}

__attribute__((target("avx512f,avx512bw,avx512vnni"))) static double int8_avx512(const uint8_t *data, int32_t *sink)
{
    __m512i sum[8], b = _mm512_set1_epi8(3);
    UNROLLED for (int i = 0; i < 8; i++) sum[i] = _mm512_setzero_si512();
    for (int k = 0; k < ROUNDS; k++) {
        UNROLLED for (int i = 0; i < 8; i++) {
            __m512i a = _mm512_load_si512(data + (size_t)(k * 8 + i) * 64 % L1_BYTES);
            sum[i] = _mm512_dpbusd_epi32(sum[i], a, b);
        }
    }
    UNROLLED for (int i = 1; i < 8; i++) sum[0] = _mm512_add_epi32(sum[0], sum[i]);
    *sink = _mm_cvtsi128_si32(_mm512_castsi512_si128(sum[0]));
    return 64.0 * 8 * ROUNDS;
}

__attribute__((target("avx2"))) static double int8_avx2(const uint8_t *data, int32_t *sink)
{
    __m256i sum[8], b = _mm256_set1_epi8(3), ones = _mm256_set1_epi16(1);
    UNROLLED for (int i = 0; i < 8; i++) sum[i] = _mm256_setzero_si256();
    for (int k = 0; k < ROUNDS; k++) {
        UNROLLED for (int i = 0; i < 8; i++) {
            __m256i a = _mm256_load_si256((const __m256i *)(const void *)(data + (size_t)(k * 8 + i) * 32 % L1_BYTES));
            sum[i] = _mm256_add_epi32(sum[i], _mm256_madd_epi16(_mm256_maddubs_epi16(a, b), ones));
        }
    }
    UNROLLED for (int i = 1; i < 8; i++) sum[0] = _mm256_add_epi32(sum[0], sum[i]);
    *sink = _mm256_extract_epi32(sum[0], 0);
    return 32.0 * 8 * ROUNDS;
}

__attribute__((target("avx2"))) static uint64_t read_avx2(const uint8_t *data, size_t bytes)
{
    __m256i sum[4] = { _mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256() };
    for (size_t at = 0; at + 128 <= bytes; at += 128)
        UNROLLED for (int i = 0; i < 4; i++)
            sum[i] = _mm256_xor_si256(sum[i], _mm256_load_si256((const __m256i *)(const void *)(data + at + 32 * (size_t)i)));
    sum[0] = _mm256_xor_si256(_mm256_xor_si256(sum[0], sum[1]), _mm256_xor_si256(sum[2], sum[3]));
    return (uint64_t)_mm256_extract_epi64(sum[0], 0);
}
#endif

#if defined(__aarch64__)
#include <arm_neon.h>

static double f32_plain(float *sink)
{
    float32x4_t sum[LANES], x = vdupq_n_f32(0.999f), y = vdupq_n_f32(1e-3f);
    UNROLLED for (int i = 0; i < LANES; i++) sum[i] = vdupq_n_f32((float)i);
    for (int k = 0; k < ROUNDS; k++)
        UNROLLED for (int i = 0; i < LANES; i++) sum[i] = vfmaq_f32(y, sum[i], x);
    UNROLLED for (int i = 1; i < LANES; i++) sum[0] = vaddq_f32(sum[0], sum[i]);
    *sink = vgetq_lane_f32(sum[0], 0);
    return 4.0 * LANES * ROUNDS;
}
#else
static double f32_plain(float *sink)
{
    float sum[LANES];
    UNROLLED for (int i = 0; i < LANES; i++) sum[i] = (float)i;
    for (int k = 0; k < ROUNDS; k++)
        UNROLLED for (int i = 0; i < LANES; i++) sum[i] = sum[i] * 0.999f + 1e-3f;
    UNROLLED for (int i = 1; i < LANES; i++) sum[0] += sum[i];
    *sink = sum[0];
    return (double)LANES * ROUNDS;
}
#endif

static double int8_plain(const uint8_t *data, int32_t *sink)
{
    int32_t sum = 0;
    for (int k = 0; k < ROUNDS / 16; k++)
        for (int i = 0; i < 256; i++) sum += (int32_t)(int8_t)data[(k * 256 + i) % L1_BYTES] * (int32_t)(int8_t)data[i];
    *sink = sum;
    return 256.0 * (ROUNDS / 16);
}

static uint64_t read_plain(const uint8_t *data, size_t bytes)
{
    Words sum = { 0 };
    for (size_t at = 0; at + sizeof sum <= bytes; at += sizeof sum) sum ^= *(const Words *)(const void *)(data + at);
    return sum[0];
}

static double run_f32(float *sink)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f")) return f32_avx512(sink);
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return f32_avx2(sink);
#endif
    return f32_plain(sink);
}

static double run_int8(const uint8_t *data, int32_t *sink)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bw")) return int8_avx512(data, sink);
    if (__builtin_cpu_supports("avx2")) return int8_avx2(data, sink);
#endif
    return int8_plain(data, sink);
}

static uint64_t run_read(const uint8_t *data, size_t bytes)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2")) return read_avx2(data, bytes);
#endif
    return read_plain(data, bytes);
}

/* One chunk of one kernel in one thread: how much was done. `at` is where the thread stands in its slice of memory. */
static double run_chunk(Peak kernel, const uint8_t *slice, size_t bytes, size_t l2_slice, size_t *at)
{
    volatile uint64_t words_sink;
    float float_sink = 0;
    int32_t int_sink = 0;
    double done = 0;
    switch (kernel) {
    case PEAK_F32:
        done = run_f32(&float_sink);
        break;
    case PEAK_INT8:
        done = run_int8(slice, &int_sink);
        break;
    case PEAK_L2:
        words_sink = run_read(slice, l2_slice);
        done = (double)l2_slice;
        break;
    default:
        if (*at + CHUNK > bytes) *at = 0;
        words_sink = run_read(slice + *at, CHUNK);
        *at += CHUNK;
        done = (double)CHUNK;
        break;
    }
    words_sink = (uint64_t)(int64_t)int_sink + (float_sink > 1 ? 1u : 0u);
    (void)words_sink;
    return done;
}

static size_t cache_bytes(int name, size_t fallback)
{
    long bytes = sysconf(name);
    return bytes > 0 ? (size_t)bytes : fallback;
}

Status peaks_init(PeakBuffers *b, int threads, uint64_t max_bytes, Err *err)
{
    size_t l2 = cache_bytes(_SC_LEVEL2_CACHE_SIZE, (size_t)512 << 10), last = cache_bytes(_SC_LEVEL3_CACHE_SIZE, (size_t)32 << 20);
    *b = (PeakBuffers){ .threads = threads, .l2_slice = l2 / 2 / ALIGNMENT * ALIGNMENT };
    size_t slice = (4 * last / (size_t)threads / CHUNK + 1) * CHUNK;
    if (slice > max_bytes / (uint64_t)threads) slice = (size_t)(max_bytes / (uint64_t)threads) / CHUNK * CHUNK;
    if (slice < CHUNK || slice < b->l2_slice)
        return err_set(err, ERR_MEMORY, "calibration: %d threads need more than %llu bytes for reads out of memory", threads,
                       (unsigned long long)max_bytes);
    if (!mul_size(slice, (size_t)threads, &b->bytes) || posix_memalign((void **)&b->data, 4096, b->bytes) != 0) {
        b->data = NULL;
        return err_no_memory(err, "calibration buffers");
    }
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int i = 0; i < threads; i++) memset(b->data + (size_t)i * slice, 7, slice); /* by the thread that will read it */
    return OK;
}

void peaks_release(PeakBuffers *b)
{
    free(b->data);
    b->data = NULL;
}

static double thread_seconds(void)
{
    struct timespec t;
    return clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t) == 0 ? (double)t.tv_sec + (double)t.tv_nsec * 1e-9 : 0;
}

double peaks_run(const PeakBuffers *b, const Peak *kernels, int kernel_count, int threads, double seconds, double counts[PEAK_COUNT])
{
    (void)threads; /* where a compiler leaves out OpenMP */
    double sums[PEAK_COUNT] = { 0 }, rate = 0, started = clock_seconds();
    size_t slice = b->bytes / (size_t)b->threads;
#pragma omp parallel num_threads(threads) reduction(+ : sums[:PEAK_COUNT], rate)
    {
        size_t at = 0;
        double done = 0, busy = thread_seconds();
        const uint8_t *own = b->data + (size_t)omp_get_thread_num() * slice;
        while (clock_seconds() - started < seconds)
            for (int k = 0; k < kernel_count; k++) sums[kernels[k]] += run_chunk(kernels[k], own, slice, b->l2_slice, &at);
        busy = thread_seconds() - busy;
        for (int k = 0; k < PEAK_COUNT; k++) done += sums[k];
        if (busy > 0) rate += done / busy;
    }
    for (int k = 0; k < PEAK_COUNT; k++) counts[k] = sums[k];
    return rate;
}
