"""exp, expm1, tanh, log1p, sinpi and cospi in C++, for bodies that are compiled for the host.

Those of the C library are one call per number; compilers vectorize these. The error of exp is at
most 2 units in the last place, that of expm1, tanh and log1p at most 4. That of sinpi(x) =
sin(pi x) and of cospi is at most 2 units in the last place of 1.
"""

from __future__ import annotations

from fractions import Fraction
from math import factorial
from typing import NamedTuple

_LN2 = Fraction("0.693147180559945309417232121458176568075500134360255254120680009493")
_PI = 3.141592653589793


class _Format(NamedTuple):
    """A floating-point format, and how many terms of a series it needs.

    mantissa : bits. exp_terms : of exp(r), |r| <= ln 2 / 2; log_terms : of log(m), m between
    sqrt(1/2) and sqrt(2). The next term is less than a tenth of a unit in the last place.
    high : ln 2 with so few digits that its product with an exponent is exact.
    sin_terms : of sin(r), |r| <= pi / 2.
    least : exp is 0 below it, and infinite above -least.
    """

    T: str
    bits: str
    mantissa: int
    bias: int
    exp_terms: int
    log_terms: int
    high: Fraction
    least: int
    sin_terms: int


_FORMATS = (
    _Format("float", "int", 23, 127, 8, 5, Fraction(355, 512), -110, 7),
    _Format(
        *("double", "long long", 52, 1023, 14, 12),
        *(Fraction(round(_LN2 * 2**32), 2**32), -760, 12),
    ),
)


def _reduced(f: _Format) -> str:
    """Return x = k ln 2 + r, and half of k: 2^k is a product of two powers.

    The result may be subnormal or infinite although neither power is.
    """
    return f"""
    x = x < T({f.least}) ? T({f.least}) : x > T({-f.least}) ? T({-f.least}) : x;
    const T whole = rint(x * T({float(1 / _LN2)!r}));
    const T r = (x - whole * T({float(f.high)!r})) - whole * T({float(_LN2 - f.high)!r});
    const int k = (int)whole, half = k >> 1;
    const Bits bits = Bits(half + {f.bias}) << {f.mantissa};
    const Bits others = Bits(k - half + {f.bias}) << {f.mantissa};
    T power, other;
    std::memcpy(&power, &bits, sizeof bits);
    std::memcpy(&other, &others, sizeof others);
"""


def _functions(f: _Format) -> str:
    """Return the C++ source for one format.

    exp(x) = 2^k exp(r), with exp(r) by its power series. expm1(x) = 2^k (exp(r) - 1) + (2^k - 1).
    tanh(|x|) = e / (e + 2) with e = expm1(2 |x|). log1p(x) = k ln 2 + log(m) + c / u with
    u = 1 + x = 2^k m and its rounding error c; log(1 + f) = f - f^2/2 + s (f^2/2 + R) with
    s = f / (2 + f) and R = 2 (s^2/3 + s^4/5 + ...), as in Sun's fdlibm. sinpi(x) = (-1)^k sin(pi r)
    with x = k + r, by its power series, and cospi(x) = -(-1)^k sin(pi r) with x = k + 1/2 + r.
    """
    series = " ".join(
        f"p = p * r + T({1 / factorial(n)!r});" for n in range(f.exp_terms - 1, 1, -1)
    )
    log_series = " ".join(f"R = R * z + T({2 / (2 * n + 1)!r});" for n in range(f.log_terms, 0, -1))
    sine = " ".join(
        f"p = p * z + T({(-1) ** n / factorial(2 * n + 1)!r});"
        for n in range(f.sin_terms - 1, -1, -1)
    )
    types = f"typedef {f.T} T; typedef {f.bits} Bits;"
    root = "0x3f3504f3" if f.T == "float" else "0x3fe6a09e667f3bcdLL"  # the bits of sqrt(1/2)
    return f"""
static inline {f.T} gpubp_exp({f.T} x) {{
    {types}{_reduced(f)}
    T p = T(0);
    {series}
    p = (p * r + T(1)) * r + T(1);
    return p * power * other;
}}
static inline {f.T} gpubp_expm1({f.T} x) {{
    const {f.T} given = x;
    {types}{_reduced(f)}
    T p = T(0);
    {series}
    p = p * r * r + r;
    const T scale = power * other, y = scale * p + (scale - T(1));
    return given == T(0) ? given : k > {f.bias} ? (p + T(1)) * power * other : y;
}}
static inline {f.T} gpubp_tanh({f.T} x) {{
    {types}
    const T a = fabs(x), e = gpubp_expm1(T(2) * (a > T(22) ? T(22) : a));
    return __builtin_copysign(e / (e + T(2)), x);
}}
static inline {f.T} gpubp_log1p({f.T} x) {{
    {types}
    const T u = T(1) + x;
    Bits bits;
    std::memcpy(&bits, &u, sizeof bits);
    const Bits k = (bits - {root}) >> {f.mantissa};
    bits -= k << {f.mantissa};
    T m;
    std::memcpy(&m, &bits, sizeof bits);
    const T c = (k > 1 ? T(1) - (u - x) : x - (u - T(1))) / u;
    const T f = m - T(1), s = f / (T(2) + f), z = s * s, square = T(0.5) * f * f, n = T((int)k);
    T R = T(0);
    {log_series}
    R *= z;
    const T low = s * (square + R) + (n * T({float(_LN2 - f.high)!r}) + c);
    const T y = n * T({float(f.high)!r}) - ((square - low) - f);
    const T other = x == T(-1) ? -T(INFINITY) : x > T(0) ? x : T(NAN);
    return x == T(0) ? x : x > T(-1) && x < T(INFINITY) ? y : other;
}}
static inline {f.T} gpubp_sinpi({f.T} x) {{
    {types}
    const T k = rint(x), y = T({_PI!r}) * (x - k), z = y * y, odd = k - T(2) * rint(T(0.5) * k);
    T p = T(0);
    {sine}
    return odd == T(0) ? p * y : -(p * y);
}}
static inline {f.T} gpubp_cospi({f.T} x) {{
    {types}
    const T k = rint(x - T(0.5)), y = T({_PI!r}) * (x - (k + T(0.5))), z = y * y;
    const T odd = k - T(2) * rint(T(0.5) * k);
    T p = T(0);
    {sine}
    return odd == T(0) ? -(p * y) : p * y;
}}
"""


FUNCTIONS = "#include <cstring>\n" + "".join(map(_functions, _FORMATS))
# Bodies call the functions by their names in C.
NAMES = ("exp", "expm1", "tanh", "log1p", "sinpi", "cospi")
FUNCTIONS += "".join(f"#define {name} gpubp_{name}\n" for name in NAMES)
