// Matrix products by tiles, with the compiler's vector extensions.
//
// Every output is one chain of multiply-adds in the order of k, whatever the tile and the thread: so
// its bits depend on neither. A product of one column is a sum of LANES chains, added in a fixed order.
#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>

typedef ptrdiff_t N;

#if defined(__AVX512F__)
constexpr int BYTES = 64, STRIP = 12;  // of a vector; rows of C that are computed at a time
#elif defined(__AVX__)
constexpr int BYTES = 32, STRIP = 6;
#elif defined(__aarch64__)
constexpr int BYTES = 16, STRIP = 8;
#else
constexpr int BYTES = 16, STRIP = 6;
#endif

typedef float Floats __attribute__((vector_size(BYTES), aligned(4), may_alias));
typedef double Doubles __attribute__((vector_size(BYTES), aligned(8), may_alias));
template <typename T> struct Simd { typedef Floats V; };
template <> struct Simd<double> { typedef Doubles V; };

template <typename T> constexpr int LANES = BYTES / sizeof(T);
template <typename T> constexpr int PANEL = 2 * LANES<T>;            // columns of C at a time

constexpr N FAR = 1 << 19;  // bytes of B from which it does not stay in L2 next to A and C

// Of k at a time, so that a panel of B stays in L1: even parts of K.
template <typename T> static inline N depth_of(N K) {
    constexpr N most = 1280 / (N)sizeof(T);
    const N parts = (K + most - 1) / most, even = (K + parts - 1) / parts;
    return (even + LANES<T> - 1) / LANES<T> * LANES<T>;
}

// Room of this thread for packed operands, which grows and stays.
template <typename T> static T* room(N size) {
    static thread_local struct Room { void* p = nullptr; N size = 0; ~Room() { free(p); } } here;
    if (here.size < size) {
        free(here.p);
        here.size = 0;
        here.p = aligned_alloc(64, (size * sizeof(T) + 63) / 64 * 64);
        if (!here.p) {
            std::fputs("gpubp: no memory for a matrix product\n", stderr);
            std::abort();
        }
        here.size = size;
    }
    return (T*)here.p;
}

// Memory that a block fetches into the cache for later blocks: ``step`` bytes of the next panel of B with
// each k, so that all blocks of this panel together fetch it; and the next rows of C. Without it
// 784-1024-1024-10 takes 1.2 times as long (Xeon, 2 MB of L2).
template <typename T> struct Ahead {
    const char* B;
    N step;
    const T* C;
};

// c (R x V vectors) += A B, A at A[i * ai + k * ak], B at B[k * ldb + j]. FETCH : see `Ahead`.
template <typename T, int R, int V, bool FETCH>
static inline __attribute__((always_inline)) void add_products(
    N K, const T* A, N ai, N ak, const T* B, N ldb, typename Simd<T>::V (&c)[R][V], const char* ahead, N step) {
    typedef typename Simd<T>::V Vector;
    for (N k = 0; k < K; ++k) {
        Vector b[V];
#pragma GCC unroll 2
        for (int v = 0; v < V; ++v) b[v] = *(const Vector*)(B + v * LANES<T>);
#pragma GCC unroll 16
        for (int i = 0; i < R; ++i) {
            const T a = A[i * ai];
#pragma GCC unroll 2
            for (int v = 0; v < V; ++v) c[i][v] += a * b[v];
        }
        A += ak;
        B += ldb;
        if (FETCH) {
            __builtin_prefetch(ahead, 0, 2);
            ahead += step;
        }
    }
}

// C (R x V vectors) = A B, or +=. ahead : null for nothing.
template <typename T, int R, int V>
static void __attribute__((noinline)) block(
    N K, const T* A, N ai, N ak, const T* B, N ldb, T* C, N ldc, bool add, const Ahead<T>* ahead) {
    typedef typename Simd<T>::V Vector;
    Vector c[R][V];
#pragma GCC unroll 16
    for (int i = 0; i < R; ++i)
#pragma GCC unroll 2
        for (int v = 0; v < V; ++v) c[i][v] = add ? *(const Vector*)(C + i * ldc + v * LANES<T>) : Vector{};
    if (ahead) {
        for (int i = 0; i < R; ++i)
            for (int v = 0; v < V; ++v) __builtin_prefetch(ahead->C + i * ldc + v * LANES<T>, 1);
        add_products<T, R, V, true>(K, A, ai, ak, B, ldb, c, ahead->B, ahead->step);
    } else {
        add_products<T, R, V, false>(K, A, ai, ak, B, ldb, c, nullptr, 0);
    }
#pragma GCC unroll 16
    for (int i = 0; i < R; ++i)
#pragma GCC unroll 2
        for (int v = 0; v < V; ++v) *(Vector*)(C + i * ldc + v * LANES<T>) = c[i][v];
}

// R columns of A next to each other, at A[k * ak + r], to to[k * R + r].
template <typename T, int R> static void columns_of(N K, const T* A, N ak, T* to) {
    for (N k = 0; k < K; ++k) std::memcpy(to + k * R, A + k * ak, R * sizeof(T));
}

// The functions for any number of rows up to STRIP.
template <typename T> struct Functions {
    void (*one)(N, const T*, N, N, const T*, N, T*, N, bool, const Ahead<T>*);  // block of one vector
    void (*two)(N, const T*, N, N, const T*, N, T*, N, bool, const Ahead<T>*);
    void (*columns)(N, const T*, N, T*);
};
template <typename T, int R> struct Table {
    static void fill(Functions<T>* table) {
        table[R] = {block<T, R, 1>, block<T, R, 2>, columns_of<T, R>};
        Table<T, R - 1>::fill(table);
    }
};
template <typename T> struct Table<T, 0> {
    static void fill(Functions<T>*) {}
};
template <typename T> static const Functions<T>& functions(N rows) {
    static const struct All {
        Functions<T> of[STRIP + 1];
        All() { Table<T, STRIP>::fill(of); }
    } all;
    return all.of[rows];
}

// One block of C with ``columns`` of the ``width`` that B has room for.
template <typename T>
static void edge(
    N rows, N columns, N width, N K, const T* A, N ai, N ak, const T* B, N ldb, T* C, N ldc, bool add, const Ahead<T>* ahead) {
    const Functions<T>& all = functions<T>(rows);
    const auto of = width == PANEL<T> ? all.two : all.one;
    if (columns == width) return of(K, A, ai, ak, B, ldb, C, ldc, add, ahead);
    T c[STRIP][PANEL<T>];
    if (add)
        for (N i = 0; i < rows; ++i) std::memcpy(c[i], C + i * ldc, columns * sizeof(T));
    of(K, A, ai, ak, B, ldb, c[0], PANEL<T>, add, nullptr);
    for (N i = 0; i < rows; ++i) std::memcpy(C + i * ldc, c[i], columns * sizeof(T));
}

template <typename T> static N padded(N columns) { return (columns + LANES<T> - 1) / LANES<T> * LANES<T>; }
template <typename T> static N width_of(N columns) { return columns <= LANES<T> ? LANES<T> : PANEL<T>; }

// Where entry (k, j) of a packed B (K x columns) lies: blocks of `depth_of` rows, in them panels of columns.
template <typename T> static T* packed_at(T* P, N K, N columns, N k, N j) {
    const N most = depth_of<T>(K), k0 = k / most * most, depth = std::min(most, K - k0), j0 = j / PANEL<T> * PANEL<T>;
    return P + k0 * padded<T>(columns) + j0 * depth + (k - k0) * width_of<T>(std::min(PANEL<T> + N(0), columns - j0)) + (j - j0);
}

// Rows of a panel of B, at B[k * ldb + j], with zeros for the columns that are missing.
template <typename T> static void copy_rows(N K, N columns, N width, const T* B, N ldb, T* P) {
    if (columns == PANEL<T>) {
        for (N k = 0; k < K; ++k) std::memcpy(P + k * PANEL<T>, B + k * ldb, PANEL<T> * sizeof(T));
        return;
    }
    for (N k = 0; k < K; ++k) {
        for (N j = 0; j < columns; ++j) P[k * width + j] = B[k * ldb + j];
        for (N j = columns; j < width; ++j) P[k * width + j] = T(0);
    }
}

// C (M x columns) = A B, or +=. packed : B as `pack` writes it, or null; then B lies at B[k * ldb + j].
template <typename T>
static void multiply(N M, N columns, N K, const T* A, N ai, N ak, const T* B, N ldb, const T* packed, T* C, N ldc, bool add) {
    const N strips = (M + STRIP - 1) / STRIP, strip = (M + strips - 1) / strips;
    // Columns of A lie far apart, and its rows may share the sets of a cache.
    const bool pack_A = ai == 1 ? M > 1 : columns > 2 * PANEL<T> && ai * (N)sizeof(T) % 4096 == 0;
    const bool pack_B = !packed && M > 2 * STRIP && K > 64 && ldb * (N)sizeof(T) % 2048 == 0;
    const bool far = packed && K * columns * (N)sizeof(T) >= FAR;
    const N most = depth_of<T>(K);
    T* const strips_A = room<T>((M + STRIP) * most + most * PANEL<T>);
    T* const panel_B = strips_A + (M + STRIP) * most;
    for (N k0 = 0; k0 < K; k0 += most) {
        const N depth = std::min(most, K - k0);
        if (pack_A)
            for (N i = 0; i < M; i += strip) {
                const N rows = std::min(strip, M - i);
                const T* a = A + i * ai + k0 * ak;
                T* to = strips_A + i * depth;
                if (ai == 1)
                    functions<T>(rows).columns(depth, a, ak, to);
                else
                    for (N r = 0; r < rows; ++r) for (N k = 0; k < depth; ++k) to[k * rows + r] = a[r * ai + k * ak];
            }
        for (N j = 0; j < columns; j += PANEL<T>) {
            const N some = std::min(N(PANEL<T>), columns - j), width = width_of<T>(some);
            const T* b = B + k0 * ldb + j;
            N step = ldb;
            if (packed) {
                b = packed + k0 * padded<T>(columns) + j * depth;
                step = width;
            } else if (pack_B || some != width) {
                copy_rows(depth, some, width, b, ldb, panel_B);
                b = panel_B;
                step = width;
            }
            Ahead<T> ahead = {(const char*)(b + depth * width), (width * (N)sizeof(T) + strips - 1) / strips, C};
            for (N i = 0; i < M; i += strip, ahead.B += depth * ahead.step) {
                const N rows = std::min(strip, M - i);
                const T* a = pack_A ? strips_A + i * depth : A + i * ai + k0 * ak;
                ahead.C = i + strip < M ? C + (i + strip) * ldc + j : C + j + some;
                edge(rows, some, width, depth, a, pack_A ? 1 : ai, pack_A ? rows : ak, b, step, C + i * ldc + j, ldc,
                    add || k0 > 0, far ? &ahead : nullptr);
            }
        }
    }
}

// C[begin : end] = A[begin : end] B. data: A (n x K), B packed, C (n x columns); numbers: K, columns, add.
template <typename T> static void rows_times(void* const* data, const N* k, N begin, N end) {
    const N K = k[0], columns = k[1];
    multiply(end - begin, columns, K, (const T*)data[0] + begin * K, K, N(1), (const T*)nullptr, N(0),
        (const T*)data[1], (T*)data[2] + begin * columns, columns, k[2] != 0);
}

// The same for one column. data: A, B (K), C (n).
template <typename T> static void rows_times_vector(void* const* data, const N* k, N begin, N end) {
    typedef typename Simd<T>::V Vector;
    const N K = k[0], whole = K / PANEL<T> * PANEL<T>;
    const T* B = (const T*)data[1];
    T* C = (T*)data[2];
    for (N i = begin; i < end; ++i) {
        const T* A = (const T*)data[0] + i * K;
        Vector sums[2] = {};
        for (N q = 0; q < whole; q += PANEL<T>)
            for (int v = 0; v < 2; ++v)
                sums[v] += *(const Vector*)(A + q + v * LANES<T>) * *(const Vector*)(B + q + v * LANES<T>);
        T total = k[2] ? C[i] : T(0);
        for (int v = 0; v < 2; ++v) for (int lane = 0; lane < LANES<T>; ++lane) total += sums[v][lane];
        for (N q = whole; q < K; ++q) total += A[q] * B[q];
        C[i] = total;
    }
}

// C[begin : end] = (A^T D)[begin : end]. data: A (K x M), D (K x columns) packed unless it has one
// column, C (M x columns); numbers: M, columns, K, add.
template <typename T> static void sums_of_products(void* const* data, const N* k, N begin, N end) {
    const N M = k[0], columns = k[1], K = k[2];
    const T *A = (const T*)data[0] + begin, *D = (const T*)data[1];
    T* C = (T*)data[2] + begin * columns;
    if (columns == 1)  // C^T = D^T A
        multiply(N(1), end - begin, K, D, N(1), N(1), A, M, (const T*)nullptr, C, N(0), k[3] != 0);
    else
        multiply(end - begin, columns, K, A, N(1), M, (const T*)nullptr, N(0), D, C, columns, k[3] != 0);
}

// to[q * step + r] = from[r * stride + q], for as many rows and columns as a vector has lanes.
template <typename T> static inline void transpose(const T* from, N stride, T* to, N step) {
    typedef typename Simd<T>::V Vector;
    constexpr int L = LANES<T>;
    Vector rows[L];
    for (int r = 0; r < L; ++r) rows[r] = *(const Vector*)(from + r * stride);
#ifdef __clang__
    for (int q = 0; q < L; ++q)
        for (int r = 0; r < L; ++r) to[q * step + r] = rows[r][q];
#else
    typedef decltype(rows[0] == rows[0]) Lanes;
    Lanes low, high;  // that a[0] b[0] a[1] b[1] ... takes from a and b
    for (int lane = 0; lane < L; ++lane) {
        low[lane] = lane / 2 + (lane % 2) * L;
        high[lane] = low[lane] + L / 2;
    }
    for (int stage = 1; stage < L; stage *= 2) {
        Vector next[L];
        for (int r = 0; r < L / 2; ++r) {
            next[2 * r] = __builtin_shuffle(rows[r], rows[r + L / 2], low);
            next[2 * r + 1] = __builtin_shuffle(rows[r], rows[r + L / 2], high);
        }
        for (int r = 0; r < L; ++r) rows[r] = next[r];
    }
    for (int q = 0; q < L; ++q) *(Vector*)(to + q * step) = rows[q];
#endif
}

// Rows begin to end of W (rows x columns) into its place in a packed W, or W^T.
// data: W, packed; numbers: rows, columns, transposed.
template <typename T> static void pack(void* const* data, const N* k, N begin, N end) {
    const N rows = k[0], columns = k[1];
    const T* W = (const T*)data[0];
    T* P = (T*)data[1];
    if (!k[2]) {
        const N most = depth_of<T>(rows);
        for (N first = begin; first < end;) {  // rows of one block
            const N next = std::min(end, (first / most + 1) * most);
            for (N j = 0; j < columns; j += PANEL<T>) {
                const N some = std::min(N(PANEL<T>), columns - j);
                copy_rows(next - first, some, width_of<T>(some), W + first * columns + j, columns,
                    packed_at(P, rows, columns, first, j));
            }
            first = next;
        }
        return;
    }
    constexpr N L = LANES<T>;
    for (N i = begin; i < end;) {  // rows of W are columns of W^T
        const N some = std::min(L - i % L, end - i);
        const N step = width_of<T>(std::min(N(PANEL<T>), rows - i / PANEL<T> * PANEL<T>));
        for (N j = 0; j < columns; j += L) {
            const N many = std::min(L, columns - j);
            T* const to = packed_at(P, columns, rows, j, i);
            if (some == L && many == L) {
                transpose(W + i * columns + j, columns, to, step);
            } else {
                for (N q = 0; q < many; ++q)
                    for (N r = 0; r < some; ++r) to[q * step + r] = W[(i + r) * columns + j + q];
            }
        }
        i += some;
    }
}

// Scalar is float or double.
#define FUNCTION(name) \
    extern "C" void gpubp_##name(void* const* data, const N* numbers, N begin, N end) { \
        name<Scalar>(data, numbers, begin, end);                                         \
    }
FUNCTION(rows_times)
FUNCTION(rows_times_vector)
FUNCTION(sums_of_products)
FUNCTION(pack)

// A matrix with as many columns as one of these two is the same packed and plain.
extern "C" N gpubp_lanes() { return LANES<Scalar>; }
extern "C" N gpubp_panel() { return PANEL<Scalar>; }
