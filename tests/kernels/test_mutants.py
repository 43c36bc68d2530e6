"""The kernel tests can fail: bugs planted in the CUDA bodies are found.

Two kinds: bugs that somebody could write, by hand and for every kernel; and every operator,
function and constant of every body, exchanged for another one by rule.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from gpubp.kernels.elementwise import Elementwise
from tests.backprop import solver_cases
from tests.cuda_stand_in.kernels import (
    HostLibrary,
    all_steps,
    bare_literals,
    outputs_of,
    skip_without_compiler,
)
from tests.kernels.cases import cases_of
from tests.kernels.checks import Case, Values

STEPS = all_steps()
# Arithmetic goes wrong in every type; one of them halves the time to compile.
DOUBLE = {"T": ("float64",), "U": ("float64", "int32")}

OPTIMIZERS = tuple(solver_cases.STEPS)
PLAIN = tuple(name for name in OPTIMIZERS if not name.endswith("_with_factors"))
PLANTED = [
    ("add", "a + b", "a"),
    ("input_features", "shared ? row - network * rows : row", "row"),
    ("input_features", "network = row / rows", "network = 0"),
    ("input_features", "first_levels[k] + X", "X"),
    ("input_features", "number > last_levels[k] ? last_levels[k] : number", "number"),
    ("input_features", "in_range > first_levels[k] ? in_range : first_levels[k]", "in_range"),
    ("input_features", "X[from + periodic_columns[k]]", "X[from + k]"),
    ("input_features", "X[from + other_columns[other]]", "X[from + other]"),
    ("input_features", "cospi(half_turns)", "sinpi(half_turns)"),
    ("input_features", " * theta[base + scale_start + c]", ""),
    ("scale_delta", "delta = from_above * theta", "delta = product * theta"),
    ("scale_delta", "network = row / rows", "network = 0"),
    ("scale_delta", "product = from_above * features", "product = features"),
    ("periodic_gradient", "shared ? row : at", "at"),
    ("periodic_gradient", "network = i / elements", "network = 0"),
    ("periodic_gradient", "X[(shared ? row : at) * width + periodic_columns[k]]", "X[at]"),
    ("periodic_gradient", "gu *= sinpi(half_turns)", "gu *= c"),
    ("periodic_gradient", "+ from_feature +", "+"),
    ("periodic_gradient", "accumulate ? gradient[own + j] + dw : dw", "dw"),
    ("periodic_gradient", "accumulate ? gradient[mixed] + dV[m] : dV[m]", "dV[m]"),
    ("periodic_gradient", "if (j == m) dv", "if (j != m) dv"),
    ("tables_gradient", "shared ? row : at", "at"),
    ("tables_gradient", "network = i / elements", "network = 0"),
    ("tables_gradient", "accumulate ? gradient[to] + sum : sum", "sum"),
    ("tables_gradient", "if (level == own) sum", "sum"),
    ("tables_gradient", "k = table", "k = 0"),
    ("permute", "partner >= n", "partner > n"),
    ("permute", "keys[rounds + k]", "keys[k]"),
    ("permute", "x >> 30", "x >> 29"),
    ("permute", "x & 1ULL", "x & 2ULL"),
    ("dropout", "step[0] * n_networks", "step[0]"),
    ("dropout", "at * batch_size", "at"),
    ("dropout", "+ first + row", "+ row"),
    ("dropout", "order[at * batch_size + first + row]", "row"),
    ("dropout", "n_networks + network", "n_networks"),
    ("dropout", "n_networks == 1 ? 0 : place / rows", "0"),
    ("dropout", "unit / 2", "unit"),
    ("dropout", "0x9e3779b97f4a7c15ULL", "1"),
    ("dropout", "x >> 31", "x >> 30"),
    ("dropout", "x & 0xffffffffULL", "x >> 32"),
    ("dropout", "? scale[at] : T(0)", "? T(1) : T(0)"),
    ("dropout", "scale[at]", "scale[network]"),
    ("dropout", "last[at]", "last[network]"),
    ("dropout", "draw <= last", "draw > last"),
    # The wrong sign, slope or constant.
    ("logistic", "exp(-z)", "exp(z)"),
    ("logistic_delta", "T(1) - y", "T(1) + y"),
    ("tanh", "tanh(z)", "z / (T(1) + fabs(z))"),
    ("tanh_delta", "y * y", "y"),
    ("leaky_relu", "T(0.01)", "T(0.1)"),
    ("gelu", "T(0.7978845608028654)", "T(0.79788)"),
    ("gelu", "T(0.044715)", "T(0.04472)"),
    ("gelu", "tanh(", "erf("),
    ("gelu_delta", "T(0.134145)", "T(0.044715)"),
    ("elu", "expm1(x)", "exp(x)"),
    ("elu_delta", "y + T(1)", "y"),
    ("selu", "T(1.7580993408473769)", "T(1.6732632423543772)"),
    (
        "selu_delta",
        "y + T(1.7580993408473769)",
        "T(1.0507009873554805) * y + T(1.7580993408473769)",
    ),
    ("silu", "x / (", "T(1) / ("),
    ("silu_delta", "T(1) + x * (T(1) - s)", "x + x * (T(1) - s)"),
    ("softplus_delta", "-expm1(-a)", "expm1(a)"),
    ("exp", "exp(z)", "expm1(z)"),
    ("softmax_cross_entropy", "p - T(1)", "p"),
    ("sigmoid_cross_entropy", "log1p(e)", "log(e)"),
    ("squared_error", "T(0.5)", "T(1)"),
    ("huber", "T(0.5) * slope", "slope"),
    ("pinball", "-under", "under"),
    ("poisson", "excess = z - log(y)", "excess = z"),
    # NaN lost: a comparison with NaN is false.
    (
        "dropout",
        "a * (draw <= last[at] ? scale[at] : T(0))",
        "draw <= last[at] ? a * scale[at] : T(0)",
    ),
    ("elu", "x > T(0) ? x : expm1(x)", "x < T(0) ? expm1(x) : T(0) < x ? x : T(0)"),
    ("pinball", "? -under : difference", "? -under : T(0)"),
    ("poisson", "y == T(0) ?", "!(y > T(0)) ?"),
    ("softmax_cross_entropy_rows", "surprise < low ? low :", "!(surprise >= low) ? low :"),
    ("relu", "x < T(0) ? T(0) : x", "x > T(0) ? x : T(0)"),
    ("relu_delta", "g * T(a > T(0))", "(a > T(0) ? g : T(0))"),
    ("sigmoid_cross_entropy", "value < low ? low :", "!(value >= low) ? low :"),
    ("softmax_cross_entropy", "value < low ? low :", "!(value >= low) ? low :"),
    # The boundary: > for >=, one weight too many.
    ("relu_delta", "a > T(0)", "a >= T(0)"),
    ("leaky_relu_delta", "a > T(0)", "a >= T(0)"),
    ("selu_delta", "y > T(0)", "y >= T(0)"),
    ("pinball", "difference > T(0)", "difference >= T(0)"),
    *((k, "network * size < n", "network * size <= n") for k in OPTIMIZERS),
    # Overflow and cancellation.
    ("softplus", "exp(-fabs(x))", "exp(-x)"),
    ("softmax_cross_entropy_rows", "exp(Z[row + c] - top)", "exp(Z[row + c])"),
    ("sigmoid_cross_entropy", "exp(-fabs(z))", "exp(-z)"),
    ("softmax_cross_entropy", "exp(Z[row + c] - top)", "exp(Z[row + c])"),
    ("softmax", "T top = Z[row]", "T top = T(0)"),
    # The share of a row, what was there before, the number of outputs, the bounds.
    (
        "softmax_cross_entropy",
        "(row + c == target ? p - T(1) : p) * share",
        "(row + c == target ? p - T(1) : p)",
    ),
    ("softmax_cross_entropy", "share * value", "value"),
    ("sigmoid_cross_entropy", "- y) * share", "- y)"),
    ("sigmoid_cross_entropy", "share * total", "total"),
    ("label_weighted_cross_entropy", "- y) * weight * share", "- y) * share"),
    ("label_weighted_cross_entropy", "value)) * weight", "value))"),
    ("label_weighted_cross_entropy", "target + n_outputs + c", "target + c"),
    ("label_weighted_cross_entropy", "row_losses +=", "row_losses ="),
    ("squared_error", "difference * share", "difference"),
    ("squared_error", "share * total", "total"),
    ("softmax_cross_entropy", "row_losses +=", "row_losses ="),
    ("sigmoid_cross_entropy", "row_losses +=", "row_losses ="),
    ("squared_error", "row_losses +=", "row_losses ="),
    ("squared_error", "share / T(n_outputs)", "share"),
    ("softmax_cross_entropy_rows", "row_losses +=", "row_losses ="),
    ("softmax_cross_entropy_rows", "mass * (", "("),
    ("softmax_cross_entropy_rows", "(surprise > high ? high : surprise)", "surprise"),
    ("pinball", "row_losses +=", "row_losses ="),
    ("pinball", "share / T(n_outputs)", "share / T(n_targets)"),
    ("pinball", "i * n_outputs + first", "i * n_outputs"),
    ("pinball", "i * n_targets", "i * n_outputs"),
    ("huber", "row_losses +=", "row_losses ="),
    ("huber", "share / T(n_outputs)", "share"),
    ("poisson", "row_losses +=", "row_losses ="),
    ("poisson", "(mean - y) * share", "mean - y"),
    ("poisson", "share * total", "share * total / T(n_outputs)"),
    ("softmax_cross_entropy", "(value > high ? high : value)", "value"),
    ("sigmoid_cross_entropy", "value < low ? low :", ""),
    ("softmax", "log(total) + top", "log(total)"),
    # Which row, network or step.
    ("softmax_cross_entropy", "row + y[i]", "row + y[0]"),
    *((k, "first / size", "0") for k in OPTIMIZERS),
    *((k, "step[0] * n_networks", "step[0]") for k in OPTIMIZERS),
    *((k, "first - network * size", "first") for k in OPTIMIZERS),
    *((k, "x[k] + l2 * theta_k", "x[0] + l2 * theta_k") for k in OPTIMIZERS),
    *((k, "(const Four&)grad[first]", "(const Four&)grad[i]") for k in OPTIMIZERS),
    ("gather", "i / width", "i"),
    ("gather", "(step[0] * n_networks + network) * batch_size", "step[0] * batch_size"),
    ("gather", "- network * n_rows", ""),
    ("gather", "target = target_order[place]", "target = from"),
    ("gather", "i - row * width", "0"),
    ("gather", "+ first", ""),
    ("gather", "c += width", "c += n_targets"),
    ("gather", "target * n_targets", "row * n_targets"),
    ("take", "(step[0] * n_networks + network) * width", "step[0] * width"),
    ("take", "first + i", "i"),
    ("take", "- network * n_rows", ""),
    ("squares", "k += n_sums", "k += 1"),
    ("squares", "g * g", "g"),
    ("squares", "- network * n_sums", ""),
    ("squares", "(network + 1) * size", "size"),
    ("fold", "k += n_sums", "k += 1"),
    ("fold", "- network * n_sums", ""),
    ("fold", "(network + 1) * size", "size"),
    ("clip", "norm <= limit", "norm >= limit"),
    ("clip", "sqrt(squared[network])", "squared[network]"),
    ("clip", "limit / norm", "limit"),
    ("clip", " || clips[network] == T(0)", ""),
    ("penalty", "scale[step[0] * n_networks + network]", "scale[network]"),
    ("penalty", "theta[base + k]", "theta[k]"),
    ("penalty", "k += n_sums", "k += 1"),
    ("penalty", "sums +=", "sums ="),
    ("penalty", "k < n_weights", "k < n_weights - 1"),
    ("advance", "+= by", "+= 1"),
    # The update rule.
    ("momentum", "- rate * g", "- (T(1) - momentum) * rate * g"),
    ("momentum", "(Four&)velocity[first] = velocity_4;", ""),
    ("momentum", "decays && ", ""),
    *(
        (
            f"{k}_with_factors",
            "rate = plan[at + 0] * factors[first / 16 * 2 + 0]",
            "rate = plan[at + 0]",
        )
        for k in PLAIN
    ),
    *((f"{k}_with_factors", "factors[first / 16 * 2 + 0]", "factors[2 * network]") for k in PLAIN),
    *(
        (f"{k}_with_factors", "+ decay_rate * theta_k", "+ (decay ? decay_rate * theta_k : T(0))")
        for k in ("adamw", "lion")
    ),
    *((f"{k}_with_factors", "16 * 2 + 1", "16 * 2 + 0") for k in ("adamw", "lion")),
    ("nesterov", "theta_k += momentum * velocity_k - rate * g", "theta_k += velocity_k"),
    ("adam", "sqrt(v_k) + epsilon", "sqrt(v_k + epsilon)"),
    ("adam", "decays && ", ""),
    ("adamw", "sqrt(v_k) + epsilon", "sqrt(v_k + epsilon)"),
    ("adamw", "+ (decay ?", "+ (decays ?"),
    ("adamw", "decay_rate * theta_k", "l2 * theta_k"),
    ("adamw", "decay_rate * theta_k", "rate * decay_rate * theta_k"),
    ("adamw", "decay ? decay_rate * theta_k : T(0)", "T(0)"),
    # An output written before an input that it may overwrite is read.
    ("tanh_delta", "delta = g * (T(1) - y * y)", "delta = T(1) - y * y; delta = delta * g"),
    ("silu", "a = x / (T(1) + exp(-x))", "a = T(1) + exp(-x); a = z / a"),
    ("selu_delta", "delta = g * (y", "delta = g; delta *= (a"),
    ("gelu", "a = x * (T(0.5) * (t + T(1)))", "a = t + T(1); a = T(0.5) * (z * a)"),
    (
        "softmax",
        "P[row + c] = exp(Z[row + c] - top);",
        "P[row] = top, P[row + c] = exp(Z[row + c] - top);",
    ),
]

# Exchanged for one another, wherever they stand.
SWAPS = [
    *((" + ", " - "), (" - ", " + "), (" * ", " / "), (" / ", " * "), (" % ", " / ")),
    *((" < ", " <= "), (" < ", " > "), (" > ", " >= "), (" > ", " < "), (" == ", " != ")),
    *((" && ", " || "), (" += ", " -= "), (" -= ", " += "), (" += ", " = "), ("(-", "(")),
    *(("exp(", "exp2("), ("log(", "log2("), ("log1p(", "log("), ("sqrt(", "cbrt(")),
    *(("tanh(", "sinh("), ("fabs(", "(")),
]

# Exchanges that change nothing. Where both sides of a comparison are equal, the two values to
# choose from are equal too.
EQUIVALENT = {
    # Its own partner: both are the same.
    "permute": ["place >= partner ?"],
    # At a bound, the level is the bound.
    "input_features": ["in_range >= first_levels[k] ?", "number >= last_levels[k] ?"],
    "tables_gradient": ["in_range >= first_levels[k] ?", "number >= last_levels[k] ?"],
    # Room for one more feature, which nothing reads.
    "periodic_gradient": [
        *("m <= 3; ++m) {\n        gu", "m <= 3; ++m)\n    g[m]", "m <= 3; ++m) V[m]"),
        *("T g[5]", "V[5]", "dV[5]"),
    ],
    "relu": ["x <= T(0) ? T(0) : x"],
    "leaky_relu": ["x <= small ? small : x"],
    # Both sides join at 0, in value or in slope.
    "elu": ["x >= T(0) ? x"],
    "elu_delta": ["y >= T(0) ? T(1)"],
    "selu": ["x >= T(0) ?"],
    "softplus": ["x <= T(0) ? T(0) : x"],
    "huber": ["difference >= bend ?", "difference <= -bend ?"],
    "softmax": ["z >= top ? z : top"],
    "softmax_cross_entropy_rows": [
        *("z >= top ? z : top", "surprise <= low ? low", "surprise >= high ? high"),
    ],
    "softmax_cross_entropy": ["z >= top ? z : top", "value <= low ? low", "value >= high ? high"],
    "sigmoid_cross_entropy": [
        *("z <= T(0) ? T(0) : z", "z <= T(0) ? e : T(1)"),
        *("value <= low ? low", "value >= high ? high"),
    ],
    "label_weighted_cross_entropy": [
        *("z <= T(0) ? T(0) : z", "z <= T(0) ? e : T(1)"),
        *("value <= low ? low", "value >= high ? high"),
    ],
    **{kernel: ["plan[at - 0]"] for kernel in PLAIN},
    **{f"{kernel}_with_factors": ["plan[at - 0]", "16 * 2 - 0]"] for kernel in PLAIN},
}


def planted(step: Elementwise) -> list[Elementwise]:
    """Return ``step`` with each of its planted bugs."""
    bugs = [(old, new) for kernel, old, new in PLANTED if kernel == step.name]
    for old, _ in bugs:
        assert old in step.body, f"{step.name} does not contain {old!r}"
    bodies = [step.body.replace(old, new) for old, new in bugs]
    return [replace(step, name=f"{step.name}_bug{k}", body=b) for k, b in enumerate(bodies)]


def exchanged(step: Elementwise) -> list[Elementwise]:
    """Return ``step`` with each operator, function and constant exchanged, one at a time."""
    bodies = sorted({body for body in _exchanges(step) if body != step.body})
    return [replace(step, name=f"{step.name}_swap{k}", body=b) for k, b in enumerate(bodies)]


def _exchanges(step: Elementwise) -> Iterator[str]:
    """Yield the bodies of the exchanges."""

    def put(found: re.Match[str], new: str, group: int = 0) -> str:
        return step.body[: found.start(group)] + new + step.body[found.end(group) :]

    # Exchanged, these might run for ever: loops with a stride.
    strided = [range(*m.span()) for m in re.finditer(r"for \([^;]*;[^;]*; \w+ \+=", step.body)]
    for old, new in SWAPS:
        whole_name = r"(?<!\w)" if old[0].isalpha() else ""
        for found in re.finditer(whole_name + re.escape(old), step.body):
            if not any(found.start() in loop for loop in strided):
                yield put(found, new)
    for found in re.finditer(r"T\(([\d.]+)\)", step.body):
        constant = float(found[1])
        yield put(found, repr(constant * 1.00001 or 0.125), 1)
    for found in re.finditer(r"(?<=\[)(?:at \+ )?(\d+)(?=\])|int \w+ = (\d+)", step.body):
        yield put(found, str(int(found[found.lastindex or 0]) + 1), found.lastindex or 0)
    for name in outputs_of(step):  # an output that is not written
        for found in re.finditer(rf"(\(\w+&\))?\b{name}(\[[^;]*?\])? [-+]?= [^;]*", step.body):
            yield put(found, "")


@pytest.fixture(scope="module")
def library() -> HostLibrary:
    skip_without_compiler()
    mutants = [m for step in STEPS.values() for m in planted(step) + exchanged(step)]
    return HostLibrary(mutants, DOUBLE)


@cache
def expectations(kernel: str) -> list[tuple[Case, Values]]:
    """Return the cases of ``kernel`` that ``DOUBLE`` can run, with what they must give."""
    step = STEPS[kernel]
    cases = [case for case in cases_of(step) if case.dtype not in ("float32", "int32")]
    return [(case, case.expected(step)) for case in cases]


def survives(library: HostLibrary, kernel: str, mutant: Elementwise) -> bool:
    """Return whether ``mutant`` passes every case of ``kernel``."""
    for case, expected in expectations(kernel):
        got = case.values()
        try:
            case.call(library.run, mutant, got)
            case.check(mutant, got, expected)
        except AssertionError:
            return False
    return True


@pytest.mark.parametrize("kernel", STEPS)
def test_planted_bugs_are_found(library: HostLibrary, kernel: str) -> None:
    mutants = planted(STEPS[kernel])
    assert mutants, f"plant a bug in {kernel}: add it to PLANTED"
    assert [m.body for m in mutants if survives(library, kernel, m)] == []


@pytest.mark.parametrize("kernel", STEPS)
def test_exchanges_are_found(library: HostLibrary, kernel: str) -> None:
    mutants, harmless = exchanged(STEPS[kernel]), EQUIVALENT.get(kernel, [])
    survivors = [m.body for m in mutants if survives(library, kernel, m)]
    for snippet in harmless:
        assert any(snippet in body for body in survivors), f"{snippet!r} is not harmless"
    found = [body for body in survivors if not any(snippet in body for snippet in harmless)]
    assert found == [], "strengthen the cases, or add a harmless exchange to EQUIVALENT"


BARE = [
    ("gelu", "T(0.5)", "0.5"),
    ("gelu_delta", "T(0.5)", "0.5"),
    ("gelu_delta", "T(0.044715)", "0.044715"),
    ("leaky_relu", "T(0.01)", "0.01"),
    ("leaky_relu_delta", "T(1) : T(0.01)", "1.0 : 0.01"),
    ("logistic", "T(1) +", "1.0 +"),
    ("relu", "x < T(0)", "x < 0.0"),
    ("sigmoid_cross_entropy", "T(1) + e", "1.0 + e"),
    ("squared_error", "T(0.5)", "0.5"),
]


@pytest.fixture(scope="module")
def with_bare_literals() -> list[tuple[Elementwise, list[str]]]:
    """Return the bodies of BARE, and what g++ says about them in float32."""
    skip_without_compiler()
    mutants = []
    for k, (kernel, old, new) in enumerate(BARE):
        step = STEPS[kernel]
        assert old in step.body
        mutants.append(replace(step, name=f"{kernel}_{k}", body=step.body.replace(old, new)))
    warnings = HostLibrary(mutants, {"T": ("float32",)}).warnings
    return [(mutant, warnings[mutant.name]) for mutant in mutants]


def test_bare_literals_are_found_by_the_compiler_and_by_reading(
    with_bare_literals: list[tuple[Elementwise, list[str]]],
) -> None:
    for mutant, warnings in with_bare_literals:
        assert bare_literals(mutant.body), mutant.body
        assert any("-Wdouble-promotion" in text for text in warnings), mutant.body


def test_literal_that_the_compiler_lets_through_is_found_by_reading() -> None:
    """A literal that float32 holds exactly converts without a warning."""
    skip_without_compiler()
    twin = STEPS["relu"].numpy
    step = Elementwise("silent", "T z", "T a", "const T half = 0.5; a = half * z", twin)
    assert HostLibrary([step]).warnings["silent"] == []
    assert bare_literals(step.body) == ["0.5"]


def test_unused_parameter_is_found_by_the_compiler() -> None:
    skip_without_compiler()
    step = Elementwise("unused", "T g, T a", "T delta", "delta = g", np.add)
    found = HostLibrary([step], DOUBLE).warnings["unused"]
    assert found == ["unused variable 'a' [-Wunused-variable]"]
