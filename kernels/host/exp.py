"""exp in C++, for bodies that are compiled for the host.

The exp of the C library is one call per number; compilers vectorize this one. Its error is at most
2 units in the last place.
"""

from __future__ import annotations

from fractions import Fraction
from math import factorial

_LN2 = Fraction("0.693147180559945309417232121458176568075500134360255254120680009493")


def _exp(name: str, bits: int, terms: int, high: Fraction, least: int) -> str:
    """Return the C++ source of exp for one dtype, in a form that compilers vectorize.

    exp(x) = 2^k exp(r) with x = k ln 2 + r. exp(r) is a sum of its power series. 2^k is a product
    of two factors, because the result may be subnormal or infinite although neither factor is.

    name : of the dtype. bits : number of its mantissa bits.
    terms : of the power series; the next term is a tenth of a unit in the last place.
    high : ln 2 with so few digits that its product with k is exact.
    least : exp is 0 below it, and infinite above -least.
    """
    T, bits_of, bias = ("float", "int", 127) if name == "float32" else ("double", "long long", 1023)
    series = " ".join(f"p = p * r + T({1 / factorial(n)!r});" for n in reversed(range(terms)))
    return f"""
static inline {T} gpubp_exp({T} x) {{
    typedef {T} T;
    typedef {bits_of} Bits;
    x = x < T({least}) ? T({least}) : x > T({-least}) ? T({-least}) : x;
    const T whole = rint(x * T({float(1 / _LN2)!r}));
    const T r = (x - whole * T({float(high)!r})) - whole * T({float(_LN2 - high)!r});
    T p = T(0);
    {series}
    const int k = (int)whole, half = k >> 1;
    const Bits bits = Bits(half + {bias}) << {bits}, others = Bits(k - half + {bias}) << {bits};
    T power, other;
    std::memcpy(&power, &bits, sizeof bits);
    std::memcpy(&other, &others, sizeof others);
    return p * power * other;
}}
"""


EXP = "".join(
    (
        "#include <cstring>",
        _exp("float32", 23, 8, Fraction(355, 512), -110),
        _exp("float64", 52, 14, Fraction(round(_LN2 * 2**32), 2**32), -760),
        "#define exp gpubp_exp\n",
    )
)
