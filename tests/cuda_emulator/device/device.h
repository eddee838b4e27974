/*
 * device.h: CUDA C++ for g++, included before every kernel source by the nvrtc
 * stand-in.  It has what the plug-in's kernels use and no more, so that anything
 * new shows here first.
 *
 *   - threadIdx and the like are fields of the module's block state;
 *   - __shared__ variables are statics of one section, filled with 0xFF before
 *     every block (blocks run one after the other);
 *   - __syncthreads leaves the thread where it is until the others are there;
 *   - a kernel is inlined into a loop over threads (HWB_EMU_KERNEL).
 */
#include "abi.h"

/* ---- built-in variables and functions -------------------------------------------- */

static emu_block_state hwb_emu_state;
static const emu_hooks *hwb_emu_hooks;

#define threadIdx (hwb_emu_state.thread)
#define blockIdx  (hwb_emu_state.block)
#define blockDim  (hwb_emu_state.block_dim)
#define gridDim   (hwb_emu_state.grid_dim)

#define __device__
#define __global__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __grid_constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__    __attribute__((noinline))
#define __align__(n)    __attribute__((aligned(n)))
#define __shared__      static __attribute__((section("hwb_shared")))

#define __syncthreads()        ((void)hwb_emu_hooks->barrier(__COUNTER__, 0))
#define __syncthreads_or(vote) (hwb_emu_hooks->barrier(__COUNTER__, (vote) != 0) > 0)

typedef __SIZE_TYPE__ size_t;

static inline unsigned __umulhi(unsigned a, unsigned b) {
    return (unsigned)((unsigned long long)a * b >> 32);
}

static inline unsigned __float_as_uint(float x) {
    unsigned u;
    __builtin_memcpy(&u, &x, sizeof u);
    return u;
}
static inline float __uint_as_float(unsigned u) {
    float x;
    __builtin_memcpy(&x, &u, sizeof x);
    return x;
}

/* Threads run one at a time. */
template <class T> static inline T atomicMax(T *p, T value) {
    T old = *p;
    if (value > old) *p = value;
    return old;
}
template <class T> static inline T atomicMin(T *p, T value) {
    T old = *p;
    if (value < old) *p = value;
    return old;
}
template <class T> static inline T atomicCAS(T *p, T expected, T value) {
    T old = *p;
    if (old == expected) *p = value;
    return old;
}

/* ---- mathematics: the host's libm ------------------------------------------------- */

#define HWB_EMU_UNARY(name)                                                                        \
    extern "C" float name##f(float) noexcept;                                                      \
    extern "C" double name(double) noexcept;                                                       \
    static inline float name(float x) {                                                            \
        return name##f(x);                                                                         \
    }
#define HWB_EMU_BINARY(name)                                                                       \
    extern "C" float name##f(float, float) noexcept;                                               \
    extern "C" double name(double, double) noexcept;                                               \
    static inline float name(float x, float y) {                                                   \
        return name##f(x, y);                                                                      \
    }

HWB_EMU_UNARY(exp)
HWB_EMU_UNARY(log)
HWB_EMU_UNARY(log1p)
HWB_EMU_UNARY(sqrt)
HWB_EMU_UNARY(tanh)
HWB_EMU_UNARY(erf)
HWB_EMU_UNARY(sin)
HWB_EMU_UNARY(cos)
HWB_EMU_UNARY(fabs)
HWB_EMU_UNARY(floor)
HWB_EMU_UNARY(ceil)
HWB_EMU_UNARY(trunc)
HWB_EMU_UNARY(rint)
HWB_EMU_BINARY(pow)
HWB_EMU_BINARY(fmax)
HWB_EMU_BINARY(fmin)
HWB_EMU_BINARY(copysign)
extern "C" float fmaf(float, float, float) noexcept;
extern "C" double fma(double, double, double) noexcept;
static inline float fma(float a, float b, float c) {
    return fmaf(a, b, c);
}

template <class T> static inline bool isnan(T x) {
    return x != x;
}
template <class T> static inline bool isinf(T x) {
    return __builtin_isinf(x);
}
template <class T> static inline bool isfinite(T x) {
    return __builtin_isfinite(x);
}
template <class T> static inline T min(T a, T b) {
    return b < a ? b : a;
}
template <class T> static inline T max(T a, T b) {
    return a < b ? b : a;
}

/* ---- the module's table ------------------------------------------------------------- */

template <class T> struct hwb_emu_pointer { static constexpr unsigned char value = 0; };
template <class T> struct hwb_emu_pointer<T *> { static constexpr unsigned char value = 1; };
template <unsigned... I> struct hwb_emu_indices {};
template <unsigned N, unsigned... I> struct hwb_emu_count : hwb_emu_count<N - 1, N - 1, I...> {};
template <unsigned... I> struct hwb_emu_count<0, I...> { typedef hwb_emu_indices<I...> type; };

template <class F> struct hwb_emu_call;
template <class... A> struct hwb_emu_call<void (*)(A...)> {
    static constexpr int n = sizeof...(A);
    static constexpr unsigned bytes[] = {(unsigned)sizeof(A)..., 0};
    static constexpr unsigned char pointer[] = {hwb_emu_pointer<A>::value..., 0};
    typedef typename hwb_emu_count<sizeof...(A)>::type indices;
    template <void (*F)(A...), unsigned... I>
    static inline __attribute__((always_inline)) void threads(void *const *args,
                                                              hwb_emu_indices<I...>) {
        (void)args;
        while (hwb_emu_state.cursor < hwb_emu_state.total) {
            hwb_emu_state.thread = hwb_emu_state.order[hwb_emu_state.cursor++];
            F(*(A *)args[I]...);
        }
    }
    template <void (*F)(A...)> static void run(void *const *args) { threads<F>(args, indices()); }
};

static constexpr int hwb_emu_bounds(int threads = 0, int = 0) {
    return threads;
}

extern "C" char __start_hwb_shared[] __attribute__((weak, visibility("hidden")));
extern "C" char __stop_hwb_shared[] __attribute__((weak, visibility("hidden")));

#define HWB_EMU_KERNEL(name, bounds)                                                               \
    {#name,                                                                                        \
     hwb_emu_call<decltype(&name)>::n,                                                             \
     hwb_emu_call<decltype(&name)>::bytes,                                                         \
     hwb_emu_call<decltype(&name)>::pointer,                                                       \
     hwb_emu_bounds bounds,                                                                        \
     hwb_emu_call<decltype(&name)>::run<name>},
#define HWB_EMU_MODULE(...)                                                                        \
    static const emu_kernel_info hwb_emu_kernels[] = {__VA_ARGS__};                                \
    extern "C"                                                                                     \
        __attribute__((visibility("default"))) const emu_module hwb_emu_module = {                 \
            HWB_EMU_ABI,       &hwb_emu_state,                                                     \
            &hwb_emu_hooks,    __start_hwb_shared,                                                 \
            __stop_hwb_shared, sizeof(hwb_emu_kernels) / sizeof(hwb_emu_kernels[0]),               \
            hwb_emu_kernels};
