"""Random numbers as a hash of the position where they are used: equal bits on every backend.

There is no generator state. Therefore a recorded step can be replayed, and the numbers of any row
of any epoch can be computed on their own.
"""

from __future__ import annotations

from typing import Any

from .elementwise import Elementwise

ROUNDS = 32

# The finalizer of splitmix64 (Steele, Lea and Flood, OOPSLA 2014): every bit of the result
# depends on every bit of x.
MIX = """
x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
x = x ^ (x >> 31);
"""


def mix(np: Any, x: Any, work: Any) -> None:
    """Apply MIX to ``x``, a uint64 array, in place; ``work`` is scratch of the same shape."""
    for shift, multiplier in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, None)):
        np.right_shift(x, shift, out=work)
        np.bitwise_xor(x, work, out=x)
        if multiplier is not None:
            np.multiply(x, multiplier, out=x)


def _permute(np: Any, keys: Any, rounds: int, n: int, order: Any) -> None:
    place = order.view("uint64")
    partner, x, work = (np.empty(order.shape, "uint64") for _ in range(3))
    total = np.empty((1,), "uint64")
    np.add(np.arange(0, order.shape[0], dtype="uint64"), 0, out=place)
    for k in range(rounds):
        np.add(keys[k : k + 1], n, out=total)
        np.subtract(total, place, out=partner)
        np.subtract(partner, n, out=work)  # wraps to a large number if partner < n
        np.minimum(partner, work, out=partner)
        np.maximum(place, partner, out=x)
        np.bitwise_xor(x, keys[rounds + k : rounds + k + 1], out=x)
        mix(np, x, work)
        np.bitwise_and(x, 1, out=x)
        # place = partner if the last bit of x is 1, in arithmetic modulo 2^64
        np.subtract(partner, place, out=partner)
        np.multiply(partner, x, out=partner)
        np.add(place, partner, out=place)


def permutation_keys(seed: int, epoch: int, n: int) -> Any:
    """Return the keys of an epoch's order of ``n`` rows, (2 ROUNDS,) uint64 on the host."""
    import numpy as np

    x = np.arange(2 * ROUNDS, dtype=np.uint64)
    work = np.empty_like(x)
    for number in (seed, epoch):
        x ^= np.uint64(number)
        mix(np, x, work)
        x += np.arange(1, 2 * ROUNDS + 1, dtype=np.uint64)
    x[:ROUNDS] %= np.uint64(n)
    return x


# The swap-or-not shuffle (Hoang, Morris and Rogaway, CRYPTO 2012): in each round, a hash of the
# pair decides whether a place and its partner are swapped. It permutes any n, each row on its own:
# ``order`` may be only the first of the n rows.
# keys : (2 rounds,) uint64. keys[k] < n determines the pairs of round k, keys[rounds + k] the hash.
PERMUTE = Elementwise(
    name="permute",
    inputs="raw uint64 keys, int32 rounds, uint64 n",
    outputs="int64 order",
    body=f"""
unsigned long long place = (unsigned long long)i;
for (int k = 0; k < rounds; ++k) {{
    unsigned long long partner = keys[k] + n - place;
    partner = partner >= n ? partner - n : partner;
    unsigned long long x = (place > partner ? place : partner) ^ keys[rounds + k];
    {MIX}
    if (x & 1ULL) place = partner;
}}
order = (long long)place;
""",
    numpy=_permute,
)
