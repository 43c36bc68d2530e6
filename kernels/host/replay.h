// A recorded step: functions that each take the addresses of their arrays, their numbers, and a range.
//
// On x86 subnormal numbers count as 0: to compute with one takes as long as with hundreds of others, and
// the moments of a unit that no longer learns end there.
#include <cstddef>
#ifdef __SSE__
#include <xmmintrin.h>
struct NoSubnormals {
    const unsigned before = _mm_getcsr();
    NoSubnormals() { _mm_setcsr(before | 0x8040); }
    ~NoSubnormals() { _mm_setcsr(before); }
};
#else
struct NoSubnormals { ~NoSubnormals() {} };
#endif

struct Item {
    void (*function)(void* const* data, const ptrdiff_t* numbers, ptrdiff_t begin, ptrdiff_t end);
    void* const* data;
    const ptrdiff_t* numbers;
    ptrdiff_t begin, end;
};

static inline void run_items(const Item* item, const Item* end) {
    for (; item < end; ++item) item->function(item->data, item->numbers, item->begin, item->end);
}

extern "C" void replay(const Item* items, ptrdiff_t n, ptrdiff_t times) {
    const NoSubnormals here;
    for (; times > 0; --times) run_items(items, items + n);
}

// Products of BLAS. cblas numbers: 101 is row-major, 112 transposed. 64-bit sizes suit a library with
// 32-bit ones too where each argument has a register or eight bytes of the stack to itself.
template <typename T> static void gemm(void* const* data, const ptrdiff_t* k) {
    typedef ptrdiff_t N;
    typedef void (*Gemm)(int, int, int, N, N, N, T, const T*, N, const T*, N, T, T*, N);
    ((Gemm)data[0])(101, k[0], k[1], k[2], k[3], k[4], T(1), (const T*)data[1], k[5],
        (const T*)data[2], k[6], T(k[7]), (T*)data[3], k[8]);
}
template <typename T> static void gemv(void* const* data, const ptrdiff_t* k) {
    typedef ptrdiff_t N;
    typedef void (*Gemv)(int, int, N, N, T, const T*, N, const T*, N, T, T*, N);
    ((Gemv)data[0])(101, k[0], k[1], k[2], T(1), (const T*)data[1], k[3],
        (const T*)data[2], N(1), T(k[4]), (T*)data[3], N(1));
}
extern "C" void sgemm(void* const* data, const ptrdiff_t* k, ptrdiff_t, ptrdiff_t) { gemm<float>(data, k); }
extern "C" void dgemm(void* const* data, const ptrdiff_t* k, ptrdiff_t, ptrdiff_t) { gemm<double>(data, k); }
extern "C" void sgemv(void* const* data, const ptrdiff_t* k, ptrdiff_t, ptrdiff_t) { gemv<float>(data, k); }
extern "C" void dgemv(void* const* data, const ptrdiff_t* k, ptrdiff_t, ptrdiff_t) { gemv<double>(data, k); }
