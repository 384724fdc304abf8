// Numbers as the plan has them: floats round once per operation, integers wrap.
#ifdef __CUDACC__
__device__ inline float half_to_float(unsigned short bits)
{
    float x;
    asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(bits));
    return x;
}
__device__ inline unsigned short float_to_half(float x)
{
    unsigned short bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(x));
    return bits;
}
#else
#include "cuda_emulation.h"
#endif

typedef signed char i8;
typedef unsigned char ui8;
typedef short i16;
typedef unsigned short ui16;
typedef unsigned int ui32;
typedef long long i64;
struct f16 { unsigned short bits; };
struct bf16 { unsigned short bits; };
struct f8e4m3 { unsigned char bits; };
struct f8e5m2 { unsigned char bits; };

// what a load leaves in a register, and what a store takes from one
template <class T> __device__ inline T read(T x) { return x; }
__device__ inline float read(f16 x) { return half_to_float(x.bits); }
__device__ inline float read(bf16 x) { return __int_as_float(x.bits << 16); }
__device__ inline f16 to_f16(float x) { return f16{float_to_half(x)}; }
__device__ inline bf16 to_bf16(float x)
{
    unsigned int bits = (unsigned int)__float_as_int(x);
    if (x != x) return bf16{0x7fc0};
    return bf16{(unsigned short)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16)};
}
// the five exponent bits of e5m2 are float16's; it is its upper half
__device__ inline float read(f8e5m2 x) { return half_to_float((unsigned short)(x.bits << 8)); }
__device__ inline f8e5m2 to_f8e5m2(float x)
{
    if (x != x) return f8e5m2{0x7f};
    const unsigned int bits = (unsigned int)__float_as_int(x);
    const unsigned int sign = bits >> 24 & 0x80u, size = bits & 0x7fffffffu;
    if (size >= 0x47700000u) return f8e5m2{(unsigned char)(sign | 0x7cu)};  // 61440 and beyond
    if (size >= 0x38800000u)
        return f8e5m2{
            (unsigned char)(sign | (size - (112u << 23) + 0xfffffu + (size >> 21 & 1u)) >> 21)};
    // below 2^-14 the step is 2^-16: adding 2^7 leaves multiples of it in the significand
    const float sum = __fadd_rn(__int_as_float((int)size), 128.0f);
    return f8e5m2{(unsigned char)(sign | ((unsigned int)__float_as_int(sum) - 0x43000000u))};
}
// e4m3 has no infinity: what rounds beyond 448 is NaN
__device__ inline float read(f8e4m3 x)
{
    const unsigned int sign = (x.bits & 0x80u) << 24, rest = x.bits & 0x7fu;
    if (rest == 0x7fu) return __int_as_float(0x7fffffff);
    if (rest >= 8u) return __int_as_float((int)(sign | ((rest << 20) + (120u << 23))));
    const float small = __fmul_rn((float)rest, 0.001953125f);
    return sign ? -small : small;
}
__device__ inline f8e4m3 to_f8e4m3(float x)
{
    const unsigned int bits = (unsigned int)__float_as_int(x);
    const unsigned int sign = bits >> 24 & 0x80u, size = bits & 0x7fffffffu;
    if (size > 0x43e80000u) return f8e4m3{(unsigned char)(sign | 0x7fu)};  // beyond 464, or NaN
    if (size >= 0x3c800000u)
        return f8e4m3{
            (unsigned char)(sign | (size - (120u << 23) + 0x7ffffu + (size >> 20 & 1u)) >> 20)};
    // below 2^-6 the step is 2^-9: adding 2^14 leaves multiples of it in the significand
    const float sum = __fadd_rn(__int_as_float((int)size), 16384.0f);
    return f8e4m3{(unsigned char)(sign | ((unsigned int)__float_as_int(sum) - 0x46800000u))};
}
// 10 fraction bits, ties away from zero; infinities and NaN stay
__device__ inline float to_tf32(float x)
{
    const int bits = __float_as_int(x);
    return (bits & 0x7f800000) == 0x7f800000 ? x : __int_as_float((bits + 4096) & -8192);
}
__device__ inline float infinity() { return __int_as_float(0x7f800000); }
__device__ inline float not_a_number() { return __int_as_float(0x7fffffff); }

// the intrinsics keep the compiler from joining a product and a sum
__device__ inline float add(float a, float b) { return __fadd_rn(a, b); }
__device__ inline float sub(float a, float b) { return __fsub_rn(a, b); }
__device__ inline float mul(float a, float b) { return __fmul_rn(a, b); }
__device__ inline float div(float a, float b) { return __fdiv_rn(a, b); }
__device__ inline int add(int a, int b) { return (int)((ui32)a + (ui32)b); }
__device__ inline int sub(int a, int b) { return (int)((ui32)a - (ui32)b); }
__device__ inline int mul(int a, int b) { return (int)((ui32)a * (ui32)b); }
__device__ inline ui32 add(ui32 a, ui32 b) { return a + b; }
__device__ inline ui32 sub(ui32 a, ui32 b) { return a - b; }
__device__ inline ui32 mul(ui32 a, ui32 b) { return a * b; }
typedef unsigned long long ui64;
__device__ inline i64 add(i64 a, i64 b) { return (i64)((ui64)a + (ui64)b); }
__device__ inline i64 sub(i64 a, i64 b) { return (i64)((ui64)a - (ui64)b); }
__device__ inline i64 mul(i64 a, i64 b) { return (i64)((ui64)a * (ui64)b); }

__device__ inline int shifted_left(int x, int by) { return (int)((ui32)x << by); }
__device__ inline ui32 shifted_left(ui32 x, ui32 by) { return x << by; }
__device__ inline i64 shifted_left(i64 x, i64 by) { return (i64)((ui64)x << by); }

__device__ inline float neg(float x) { return -x; }
__device__ inline int neg(int x) { return sub(0, x); }
__device__ inline ui32 neg(ui32 x) { return 0u - x; }
__device__ inline i64 neg(i64 x) { return sub(0LL, x); }
__device__ inline float absolute(float x) { return fabsf(x); }
__device__ inline int absolute(int x) { return x < 0 ? neg(x) : x; }
__device__ inline ui32 absolute(ui32 x) { return x; }
__device__ inline i64 absolute(i64 x) { return x < 0 ? neg(x) : x; }
// a NaN wins
__device__ inline float maximum(float a, float b) { return a > b || a != a ? a : b; }
__device__ inline float minimum(float a, float b) { return a < b || a != a ? a : b; }
__device__ inline int maximum(int a, int b) { return a > b ? a : b; }
__device__ inline int minimum(int a, int b) { return a < b ? a : b; }
__device__ inline ui32 maximum(ui32 a, ui32 b) { return a > b ? a : b; }
__device__ inline ui32 minimum(ui32 a, ui32 b) { return a < b ? a : b; }
__device__ inline i64 maximum(i64 a, i64 b) { return a > b ? a : b; }
__device__ inline i64 minimum(i64 a, i64 b) { return a < b ? a : b; }

// Round |y| < 2^22 half to even: 1.5 * 2^23 leaves an integer in the significand.
__device__ inline float round_small(float y)
{
    return __fsub_rn(__fadd_rn(y, 12582912.0f), 12582912.0f);
}
// Clamp (NaN to low), round half to even, add the zero point.
__device__ inline int to_integers(float y, float low, float high, int zero_point)
{
    return (int)round_small(fminf(fmaxf(y, low), high)) + zero_point;
}

__device__ inline float logistic(float x) { return div(1.0f, add(1.0f, expf(-x))); }
// by the exponential of what is not positive
__device__ inline float tangent(float x)
{
    const float power = expf(mul(fabsf(x), -2.0f));
    return copysignf(div(sub(1.0f, power), add(1.0f, power)), x);
}

struct Sum {
    template <class T> __device__ static T of(T a, T b) { return (T)add(a, b); }
};
struct Product {
    template <class T> __device__ static T of(T a, T b) { return (T)mul(a, b); }
};
struct Largest {
    template <class T> __device__ static T of(T a, T b) { return (T)maximum(a, b); }
};
struct Smallest {
    template <class T> __device__ static T of(T a, T b) { return (T)minimum(a, b); }
};

// Join the numbers of THREADS neighbours, in a tree; each of them gets the result.
template <class Join, int THREADS, class T> __device__ inline T across(T own, T *scratch)
{
    const int lane = threadIdx.x % THREADS;
    T *row = scratch + (threadIdx.x - lane);
    row[lane] = own;
    __syncthreads();
    for (int half = THREADS / 2; half > 0; half /= 2) {
        if (lane < half) row[lane] = Join::of(row[lane], row[lane + half]);
        __syncthreads();
    }
    const T all = row[0];
    __syncthreads();
    return all;
}
