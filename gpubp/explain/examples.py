"""Examples by name: the built-in ones, and networks in TOML files."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np

from gpubp.backprop.hyperparameter_spec import HyperparameterSpec, entry_of, meant
from gpubp.backprop.optimizers import Adam, Optimizer
from gpubp.backprop.solvers import SOLVERS, STEPWISE
from gpubp.explain.example import Example, build
from gpubp.explain.origin import Origin

_SOLVER_KEYS = {parameter.name for name in STEPWISE for parameter in SOLVERS[name].parameters}
_KEYS = _SOLVER_KEYS | {
    "name",
    "layers",
    "activation",
    "loss",
    "weights",
    "biases",
    "inputs",
    "targets",
    "learning_rate",
    "solver",
    "alpha",
    "names",
    "seed",
}
_RATE = HyperparameterSpec("learning_rate", 0.05, "", closed="neither")
_ALPHA = HyperparameterSpec("alpha", 0.0, "")


class ExampleError(ValueError):
    """A TOML file does not describe a valid network; the message names the file and the key."""


def step_by_step() -> Example:
    """The 2-2-1 network worked by hand: linear, without biases, one sample."""
    return build(
        "step-by-step",
        [2, 2, 1],
        "identity",
        "squared_error",
        [2, 3],
        [1],
        weights=[[[0.11, 0.12], [0.21, 0.08]], [[0.14], [0.15]]],
        names=[["i1", "i2"], ["h1", "h2"], ["out"]],
    )


def two_weights() -> Example:
    """One tanh unit between an input and an output: a network of two weights.

    The targets are 2 tanh(0.6 x). The cost is small in a narrow, curved valley, where one weight
    can change only together with the other.
    """
    x = np.array([0.5, 1.0, 1.5, 2.0])
    return build(
        "two-weights",
        [1, 1, 1],
        "tanh",
        "squared_error",
        x[:, None],
        2 * np.tanh(0.6 * x[:, None]),
        weights=[[[0.1]], [[0.1]]],
        rate=0.5,
        names=[["x"], ["h"], ["y"]],
    )


def company() -> Example:
    """Two sales people report to three managers, who report to a CEO."""
    return build(
        "company",
        [2, 3, 1],
        "logistic",
        "squared_error",
        [0.9, 0.4],
        [1],
        weights=[[[0.2, 0.9, 0.5], [0.7, 0.1, 0.6]], [[0.3], [0.2], [0.8]]],
        names=[
            ["sales A", "sales B"],
            ["marketing manager", "sales manager", "design manager"],
            ["CEO"],
        ],
        rate=0.5,
    )


def xor() -> Example:
    """Exclusive or, which no network without a hidden layer can learn."""
    return build(
        "xor",
        [2, 3, 1],
        "tanh",
        "sigmoid_cross_entropy",
        [[0, 0], [0, 1], [1, 0], [1, 1]],
        [[0], [1], [1], [0]],
        biases="random",
        rate=0.5,
        names=[["a", "b"], ["h1", "h2", "h3"], ["a xor b"]],
        seed=5,
    )


def iris() -> Example:
    """Three kinds of iris from four measurements, standardised: every tenth flower."""
    from sklearn.datasets import load_iris

    data = load_iris()
    X = (data.data - data.data.mean(axis=0)) / data.data.std(axis=0)
    features = ["sepal length", "sepal width", "petal length", "petal width"]
    example = build(
        "iris",
        [4, 5, 3],
        "relu",
        "softmax_cross_entropy",
        X[::10],
        data.target[::10],
        biases="random",
        optimizer=Adam(),
        rate=0.05,
        names=[features, [f"h{k}" for k in range(1, 6)], list(data.target_names)],
    )
    return replace(example, origin=Origin(X=data.data[::10]))


EXAMPLES: dict[str, Callable[[], Example]] = {
    "step-by-step": step_by_step,
    "two-weights": two_weights,
    "company": company,
    "xor": xor,
    "iris": iris,
}


def example_by_name(name: str) -> Example:
    """Return the built-in example of this name, or the one in the TOML file of this path.

    Raises ExampleError.
    """
    if name in EXAMPLES:
        return EXAMPLES[name]()
    if not name.endswith(".toml"):
        near = get_close_matches(name, EXAMPLES, n=1)
        known = f"give one of {', '.join(EXAMPLES)}, or a .toml file"
        hint = f"did you mean {near[0]!r}?" if near else known
        raise ExampleError(f"no example is called {name!r}; {hint}")
    return read_example(name)


def read_example(path: str | Path) -> Example:
    """Return the network in a TOML file.

    Keys: layers, activation (one name, or one per hidden layer), loss, inputs, targets;
    weights [layer][source][unit], or seed to draw them; biases [layer][unit] or "random", absent
    for a network without biases; learning_rate; solver (a stepwise one of SOLVERS, by default
    "sgd") and its parameters; alpha, names, name. By default momentum is 0 and
    nesterovs_momentum false.

    Raises ExampleError.
    """
    path = Path(path)
    try:
        settings = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ExampleError(f"{path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ExampleError(f"{path} is not TOML: {error}") from None
    try:
        return _from_settings(path.stem, settings)
    except (TypeError, ValueError) as error:
        raise ExampleError(f"{path}: {error}") from None


def _from_settings(name: str, settings: Mapping[str, Any]) -> Example:
    unknown = sorted(set(settings) - _KEYS)
    if unknown:
        near = meant(unknown[0], _KEYS)
        hint = f"did you mean {near!r}?" if near else f"the keys are {', '.join(sorted(_KEYS))}"
        raise ValueError(f"unknown key {unknown[0]!r}; {hint}")
    missing = [key for key in ("layers", "inputs", "targets") if key not in settings]
    if missing:
        raise ValueError(f"{missing[0]!r} is missing")
    rate, alpha = (p.checked(settings.get(p.name, p.default)) for p in (_RATE, _ALPHA))
    return build(
        _text("name", settings.get("name", name)),
        _layers(settings["layers"]),
        settings.get("activation", "identity"),
        settings.get("loss", "squared_error"),
        settings["inputs"],
        settings["targets"],
        weights=settings.get("weights"),
        biases=settings.get("biases"),
        rate=rate,
        optimizer=_optimizer(settings),
        alpha=alpha,
        names=settings.get("names"),
        seed=_seed(settings.get("seed", 0)),
    )


def _text(key: str, given: Any) -> str:
    if not isinstance(given, str):
        raise ValueError(f"{key} must be text, got {given!r}")
    return given


def _layers(given: Any) -> list[int]:
    whole = isinstance(given, list) and all(type(size) is int for size in given)
    if not whole or len(given) < 2 or min(given) < 1:
        raise ValueError(
            "layers must be a list of two or more whole numbers from 1 on, the inputs first, such "
            f"as [2, 3, 1], got {given!r}"
        )
    return list(given)


def _seed(given: Any) -> int:
    if type(given) is not int or not 0 <= given < 2**32:
        raise ValueError(f"seed must be a whole number from 0 to 2^32 - 1, got {given!r}")
    return given


def _optimizer(settings: Mapping[str, Any]) -> Optimizer:
    """Return the optimizer of a TOML file; without a solver, plain gradient descent."""
    solver = entry_of(
        {name: SOLVERS[name] for name in STEPWISE}, settings.get("solver", "sgd"), "solver"
    )
    plain = {"momentum": 0.0, "nesterovs_momentum": False} if solver.name == "sgd" else {}
    given = {key: value for key, value in settings.items() if key in _SOLVER_KEYS}
    return solver.make(**plain | given)
