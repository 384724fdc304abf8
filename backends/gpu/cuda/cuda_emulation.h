// CUDA C on a CPU, enough to run the generated kernels: every thread of a block is a fiber,
// __syncthreads() hands over to the next one, and blocks run one after another, so that shared
// memory is static. Threads of which some wait at a barrier that others never reach abort the
// process with a message, also where a GPU would let it pass. Not modelled: warps, races,
// limits of registers and shared memory, dynamic shared memory, time.
//
// Needs C++17, ucontext and: -ffp-contract=off (every operation rounds), -U_FORTIFY_SOURCE (its
// longjmp takes another fiber's stack for a lost one).
#pragma once

#include <math.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#include <memory>
#include <vector>

#define __global__
#define __device__
#define __shared__ static
#define __launch_bounds__(threads)
#define __syncthreads() emulation::barrier(__LINE__)

struct Index3 { unsigned int x, y, z; };
static Index3 threadIdx, blockIdx, blockDim, gridDim;

namespace emulation {

struct Fiber {
    ucontext_t start;
    jmp_buf place;
    std::unique_ptr<char[]> stack;
    bool started = false, waits = false;
    int line = 0;
};

static const size_t STACK_BYTES = 1 << 18;
static std::vector<std::unique_ptr<Fiber>> fibers;
static Fiber *current;
static jmp_buf scheduler;
static unsigned int next_thread, finished;
static void (*body)(void *);
static void *closure;

static inline void leave()
{
    if (_setjmp(current->place) == 0) _longjmp(scheduler, 1);
}

// A fiber starts threads until one waits; then another fiber does.
static void life()
{
    for (;;) {
        while (next_thread < blockDim.x) {
            threadIdx.x = next_thread++;
            body(closure);
            finished++;
        }
        leave();
    }
}

static inline void resume(Fiber *fiber)
{
    current = fiber;
    if (_setjmp(scheduler) != 0) return;
    if (fiber->started) _longjmp(fiber->place, 1);
    fiber->started = true;
    setcontext(&fiber->start);
}

static inline void barrier(int line)
{
    const unsigned int thread = threadIdx.x;
    current->waits = true;
    current->line = line;
    leave();
    threadIdx.x = thread;
}

static inline Fiber *made()
{
    std::unique_ptr<Fiber> fiber(new Fiber);
    fiber->stack.reset(new char[STACK_BYTES]);
    getcontext(&fiber->start);
    fiber->start.uc_stack.ss_sp = fiber->stack.get();
    fiber->start.uc_stack.ss_size = STACK_BYTES;
    fiber->start.uc_link = nullptr;
    makecontext(&fiber->start, life, 0);
    fibers.push_back(std::move(fiber));
    return fibers.back().get();
}

[[noreturn]] static inline void diverged(int line, const char *others)
{
    fprintf(stderr, "kernels.cu:%d: barrier divergence in block %u: some threads wait here, %s\n",
            line, blockIdx.x, others);
    abort();
}

// Some threads must not wait while others have ended, nor at another line.
static inline void check(const std::vector<Fiber *> &waiting)
{
    if (waiting.empty()) return;
    if (finished > 0) diverged(waiting[0]->line, "others have ended");
    for (Fiber *fiber : waiting)
        if (fiber->line != waiting[0]->line) diverged(fiber->line, "others elsewhere");
}

static inline void run_block()
{
    std::vector<Fiber *> waiting, still;
    next_thread = finished = 0;
    for (size_t used = 0; next_thread < blockDim.x; used++) {
        Fiber *fiber = used < fibers.size() ? fibers[used].get() : made();
        fiber->waits = false;
        resume(fiber);
        if (fiber->waits) waiting.push_back(fiber);
    }
    check(waiting);
    while (!waiting.empty()) {
        still.clear();
        finished = 0;
        for (Fiber *fiber : waiting) {
            fiber->waits = false;
            resume(fiber);
            if (fiber->waits) still.push_back(fiber);
        }
        waiting.swap(still);
        check(waiting);
    }
}

template <class Call> void launch(unsigned int blocks, unsigned int threads, Call call)
{
    gridDim = {blocks, 1, 1};
    blockDim = {threads, 1, 1};
    threadIdx = blockIdx = {0, 0, 0};
    body = [](void *held) { (*static_cast<Call *>(held))(); };
    closure = &call;
    for (blockIdx.x = 0; blockIdx.x < blocks; blockIdx.x++) run_block();
}

}  // namespace emulation

static inline float __int_as_float(int bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}
static inline int __float_as_int(float x)
{
    int bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}
static inline float __fadd_rn(float a, float b) { return a + b; }
static inline float __fsub_rn(float a, float b) { return a - b; }
static inline float __fmul_rn(float a, float b) { return a * b; }
static inline float __fdiv_rn(float a, float b) { return a / b; }
static inline float __fsqrt_rn(float x) { return sqrtf(x); }
static inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }

// c + the sum of four products of signed bytes; wraps
static inline int __dp4a(int a, int b, int c)
{
    int sum = 0;
    for (int byte = 0; byte < 4; byte++) {
        sum += (int)(signed char)(a >> 8 * byte) * (int)(signed char)(b >> 8 * byte);
    }
    return (int)((unsigned int)c + (unsigned int)sum);
}

static inline float half_to_float(unsigned short half)
{
    const unsigned int sign = (half & 0x8000u) << 16, rest = half & 0x7fffu;
    if (rest >= 0x7c00u) return __int_as_float((int)(sign | 0x7f800000u | (rest & 0x3ffu) << 13));
    if (rest >= 0x0400u) return __int_as_float((int)(sign | (rest << 13) + (112u << 23)));
    const float small = (float)rest * 0x1p-24f;
    return sign ? -small : small;
}

// to nearest, ties to even
static inline unsigned short float_to_half(float x)
{
    const unsigned int bits = (unsigned int)__float_as_int(x);
    const unsigned int sign = bits >> 16 & 0x8000u, size = bits & 0x7fffffffu;
    if (size > 0x7f800000u) return (unsigned short)(sign | 0x7e00u);
    if (size >= 0x477ff000u) return (unsigned short)(sign | 0x7c00u);  // 65520 and beyond
    if (size >= 0x38800000u)
        return (unsigned short)(sign | (size - (112u << 23) + 0xfffu + (size >> 13 & 1u)) >> 13);
    // below 2^-14 the step is 2^-24: adding 0.5 leaves multiples of it in the significand
    const float sum = __int_as_float((int)size) + 0.5f;
    return (unsigned short)(sign | ((unsigned int)__float_as_int(sum) - 0x3f000000u));
}
