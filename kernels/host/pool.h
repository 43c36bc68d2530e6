// Phases of tiles on a pool of workers.
//
// Workers take the tiles of a phase by an atomic counter. A phase ends when its tiles are done, so that
// nobody waits for a worker that has none. Then the worker that was last does what follows the phase.
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>
#ifdef __linux__
#include <sched.h>
#endif
#if defined(__unix__) || defined(__APPLE__)
#include <csignal>
#include <pthread.h>
#endif

struct Phase {
    const Item* items;
    const ptrdiff_t* starts;  // of each tile in items, and of what follows the phase
    ptrdiff_t tiles, n_items;
    ptrdiff_t repeat;  // times that each tile is run
};

static inline void run_tile(const Phase& phase, ptrdiff_t tile) {
    for (ptrdiff_t k = 0; k < phase.repeat; ++k)
        run_items(phase.items + phase.starts[tile], phase.items + phase.starts[tile + 1]);
}
static inline void run_after(const Phase& phase) {
    run_items(phase.items + phase.starts[phase.tiles], phase.items + phase.n_items);
}

static inline void pause_spinning() {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

#if defined(__unix__) || defined(__APPLE__)
struct SignalsBlocked {
    sigset_t before;
    SignalsBlocked() {
        sigset_t all;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
    }
    ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before, nullptr); }
};
#else
struct SignalsBlocked { ~SignalsBlocked() {} };
#endif

class Pool {
    static constexpr int TILE_BITS = 20;
    static constexpr long SPIN_NS = 10000;
    // Phase << TILE_BITS | the next tile; phase << TILE_BITS | the number of its tiles.
    alignas(128) std::atomic<uint64_t> state{0};
    alignas(128) std::atomic<uint64_t> limit{0};
    alignas(128) std::atomic<ptrdiff_t> done{0};
    alignas(128) std::atomic<int> sleepers{0};
    std::atomic<int> active{1}, cpu_of_caller{-1};
    std::mutex mutex;
    std::condition_variable woken, needed;
    std::atomic<bool> busy{false};
    int threads = 1;
    bool refused = false;
    // Of the running job; changed between phases only, by the worker that ends one.
    const Phase* phases = nullptr;
    ptrdiff_t n_phases = 0, left = 0;

    void publish(uint64_t phase) {
        const ptrdiff_t tiles = left ? phases[n_phases - 1 - (left - 1) % n_phases].tiles : 0;
        limit.store(phase << TILE_BITS | (uint64_t)tiles);
        state.store(phase << TILE_BITS);
        if (sleepers.load()) {
            std::lock_guard<std::mutex> lock(mutex);
            woken.notify_all();
        }
    }

    // Linux may wake two workers on one CPU and leave them there: the second leaves it once.
    void leave_cpu_of_caller(std::chrono::steady_clock::time_point& last) {
#ifdef __linux__
        const int cpu = sched_getcpu();
        if (cpu != cpu_of_caller.load(std::memory_order_relaxed)) return;
        const auto now = std::chrono::steady_clock::now();
        if (now - last < std::chrono::milliseconds(2)) return;
        last = now;
        cpu_set_t all, others, after;
        if (sched_getaffinity(0, sizeof all, &all)) return;
        others = all;
        CPU_CLR(cpu, &others);
        if (!CPU_COUNT(&others) || sched_setaffinity(0, sizeof others, &others)) return;
        // Unless somebody else has changed it in the meantime.
        if (!sched_getaffinity(0, sizeof after, &after) && CPU_EQUAL(&after, &others))
            sched_setaffinity(0, sizeof all, &all);
#else
        (void)last;
#endif
    }

    // Take tiles until phase ``end``, or for ever.
    void work(int id, uint64_t end) {
        std::chrono::steady_clock::time_point moved{};
        for (;;) {
            if (id >= active.load(std::memory_order_relaxed)) {
                std::unique_lock<std::mutex> lock(mutex);
                needed.wait(lock, [&] { return id < active.load(); });
            }
            uint64_t now = state.load();
            const uint64_t most = limit.load(), phase = now >> TILE_BITS;
            if (phase >= end) return;
            if (phase == most >> TILE_BITS && now < most) {
                if (!state.compare_exchange_weak(now, now + 1)) continue;
#ifdef __linux__
                if (id == 0) cpu_of_caller.store(sched_getcpu(), std::memory_order_relaxed);
#endif
                if (id != 0) leave_cpu_of_caller(moved);
                const Phase& current = phases[n_phases - 1 - (left - 1) % n_phases];
                const ptrdiff_t tiles = current.tiles;  // read before others may end the job
                run_tile(current, (ptrdiff_t)(now & ((1u << TILE_BITS) - 1)));
                if (done.fetch_add(1) + 1 == tiles) finish(current, phase);
                continue;
            }
            wait(phase);
        }
    }

    void finish(const Phase& current, uint64_t phase) {
        run_after(current);
        done.store(0);
        --left;
        publish(phase + 1);
    }

    void wait(uint64_t phase) {
        const auto until = std::chrono::steady_clock::now() + std::chrono::nanoseconds(SPIN_NS);
        do {
            for (int k = 0; k < 16; ++k) {
                if (state.load(std::memory_order_relaxed) >> TILE_BITS != phase) return;
                pause_spinning();
            }
        } while (std::chrono::steady_clock::now() < until);
        std::unique_lock<std::mutex> lock(mutex);
        sleepers.fetch_add(1);
        woken.wait(lock, [&] { return state.load() >> TILE_BITS != phase; });
        sleepers.fetch_sub(1);
    }

    // Start threads until there are so many workers, or the system gives no more.
    void start_threads(int workers) {
        const SignalsBlocked here;  // in the new threads: a signal is for those of the program
        for (; threads < workers && !refused; ++threads) {
            try {
                std::thread([this, id = threads] {
                    const NoSubnormals there;
                    work(id, UINT64_MAX);
                }).detach();
            } catch (...) {
                refused = true;
                return;
            }
        }
    }

public:
    // Run all phases, ``times`` times, and return true; or false where another thread uses the pool.
    bool run(const Phase* given, ptrdiff_t n, ptrdiff_t times, int workers) {
        if (busy.exchange(true)) return false;
        start_threads(workers);
        phases = given;
        n_phases = n;
        left = n * times;
        {
            std::lock_guard<std::mutex> lock(mutex);
            active.store(std::min(workers, threads));
            needed.notify_all();
        }
        const uint64_t first = state.load() >> TILE_BITS;
        publish(first + 1);
        work(0, first + 1 + (uint64_t)(n * times));
        busy.store(false);
        return true;
    }
};

static Pool* pool = new Pool;

// The threads of a pool are not in a forked child: it gets a pool of its own.
extern "C" void new_pool() { pool = new Pool; }

static void run_all(const Phase* phases, ptrdiff_t n, ptrdiff_t times, int workers) {
    if (workers > 1 && n > 0 && pool->run(phases, n, times, workers)) return;
    for (; times > 0; --times)
        for (const Phase* phase = phases; phase < phases + n; ++phase) {
            for (ptrdiff_t tile = 0; tile < phase->tiles; ++tile) run_tile(*phase, tile);
            run_after(*phase);
        }
}

// Run the first ``before`` phases once, then the n that follow, ``times`` times.
extern "C" void run_phases(const Phase* phases, ptrdiff_t before, ptrdiff_t n, ptrdiff_t times, ptrdiff_t workers) {
    if (times <= 0) return;
    const NoSubnormals here;
    run_all(phases, before, 1, (int)workers);
    run_all(phases + before, n, times, (int)workers);
}
