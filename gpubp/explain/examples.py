"""Examples to explain: the built-in ones, those in TOML files, and rows of trained models."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gpubp.columns import DataError, Table
from gpubp.explain.trace import PLAIN_SGD, Example
from gpubp.losses import LOSSES, Loss
from gpubp.network import Network
from gpubp.optimizers import SOLVERS, STEPWISE, Adam, Optimizer
from gpubp.parameters import entry_of

if TYPE_CHECKING:
    from gpubp.models import Estimator, TableModel

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


class ExampleError(ValueError):
    """A network in a TOML file that does not hold together; names the file and the key."""


def build(
    name: str,
    layers: Iterable[int],
    activation: str | Iterable[str],
    loss: str,
    inputs: Any,
    targets: Any,
    *,
    weights: Any = None,
    biases: Any = None,
    rate: float = 0.05,
    optimizer: Optimizer = PLAIN_SGD,
    alpha: float = 0.0,
    names: Iterable[Iterable[str]] | None = None,
    seed: int = 0,
) -> Example:
    """Return an Example from plain lists.

    weights : [layer][source][unit], or None to draw them by ``seed``. biases : [layer][unit],
    None for a network without, or "random". inputs : one row or several. targets : likewise;
    class numbers for the softmax loss.

    Raises ValueError, naming what does not fit.
    """
    sizes = tuple(layers)
    activations = (activation,) * (len(sizes) - 2) if isinstance(activation, str) else activation
    network = Network(sizes, tuple(activations), bias=biases is not None)
    if loss not in LOSSES:
        raise ValueError(f"loss must be one of {sorted(LOSSES)}, got {loss!r}")
    theta = network.initial_theta(np.random.RandomState(seed), np.dtype(np.float64))
    Ws, bs = network.unpack(theta)
    if weights is not None:
        Ws = _shaped("weights", weights, [W.shape for W in Ws])
    if biases is not None and not isinstance(biases, str):
        bs = _shaped("biases", biases, [b.shape for b in bs])
    X, Y = _rows(inputs, targets, network, loss)
    return Example(
        name=name,
        network=network,
        theta=network.pack(Ws, bs, np.dtype(np.float64)),
        X=X,
        Y=Y,
        loss=loss,
        names=_names(names, sizes),
        rate=rate,
        optimizer=optimizer,
        alpha=alpha,
    )


def _shaped(what: str, given: Any, shapes: list[tuple[int, ...]]) -> list[np.ndarray]:
    if len(given) != len(shapes):
        raise ValueError(f"{what} has {len(given)} layers, but the network has {len(shapes)}")
    arrays = []
    for k, (values, shape) in enumerate(zip(given, shapes, strict=True), start=1):
        try:
            array = np.array(values, np.float64)
        except (TypeError, ValueError):
            array = np.empty(0)
        if array.shape != shape:
            raise ValueError(
                f"{what} of layer {k} must be numbers of shape {shape} (sources x units), "
                f"got {array.shape}"
            )
        if not np.isfinite(array).all():
            raise ValueError(f"{what} of layer {k} must be finite")
        arrays.append(array)
    return arrays


def _rows(inputs: Any, targets: Any, network: Network, loss: str) -> tuple[np.ndarray, np.ndarray]:
    d, outputs = network.sizes[0], network.sizes[-1]
    try:
        X, Y = np.atleast_2d(np.array(inputs, np.float64)), np.array(targets)
    except (TypeError, ValueError):
        raise ValueError("inputs and targets must be numbers, one list a row") from None
    if X.shape[1:] != (d,):
        raise ValueError(f"a row of inputs must have {d} numbers, got {X.shape[-1]}")
    if LOSSES[loss].targets == "index":
        Y = np.atleast_1d(Y)
        if Y.shape != (len(X),) or Y.dtype.kind != "i" or Y.min() < 0 or Y.max() >= outputs:
            raise ValueError(
                f"targets must be a class from 0 to {outputs - 1} for each row of inputs, "
                f"got {targets!r}"
            )
        return X, Y.astype(np.int32)
    Y = Y.reshape(len(X), -1) if Y.dtype.kind in "if" and Y.size else Y
    if Y.shape != (len(X), outputs):
        raise ValueError(
            f"targets must be {outputs} numbers for each row of inputs, got {targets!r}"
        )
    return X, Y.astype(np.float64)


def _names(
    names: Iterable[Iterable[str]] | None, sizes: tuple[int, ...]
) -> tuple[tuple[str, ...], ...]:
    """The names of the units: those given, or x1, ..., h1, ..., y1, ..."""
    if names is not None:
        given = tuple(tuple(str(n) for n in layer) for layer in names)
        if tuple(len(layer) for layer in given) != sizes:
            raise ValueError(f"names must be lists of {list(sizes)} names")
        return given
    last = len(sizes) - 1
    hidden = ["h" if len(sizes) == 3 else f"h{k}." for k in range(last)]
    letters = ["x", *hidden[1:], "y"]
    return tuple(
        tuple(f"{letter}{j}" for j in range(1, size + 1))
        for letter, size in zip(letters, sizes, strict=True)
    )


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
    """One tanh unit between an input and an output: two weights, known best by their product.

    The rows lie on 2 tanh(0.6 x). Where the cost is small, one weight can only change along
    with the other: a narrow, curved valley.
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
    """Two sales people report to three managers, and these to a CEO."""
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
    return build(
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
        raise ExampleError(
            f"no example is called {name!r}; give one of {', '.join(EXAMPLES)}, or a .toml file"
        )
    return read_example(name)


def read_example(path: str | Path) -> Example:
    """Return the network in a TOML file.

    Keys: layers, activation (one name, or one a hidden layer), loss, inputs, targets;
    weights [layer][source][unit] or seed; biases [layer][unit], "random", or none;
    learning_rate, solver (one of SOLVERS that updates by steps, by default "sgd") and its numbers,
    alpha, names, name. momentum is 0 and nesterovs_momentum false by default.

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
        raise ValueError(f"unknown key {unknown[0]!r}; the keys are {', '.join(sorted(_KEYS))}")
    missing = [key for key in ("layers", "inputs", "targets") if key not in settings]
    if missing:
        raise ValueError(f"{missing[0]!r} is missing")
    layers = settings["layers"]
    if not isinstance(layers, list) or not all(type(size) is int for size in layers):
        raise ValueError(f"layers must be a list of whole numbers, got {layers!r}")
    return build(
        str(settings.get("name", name)),
        layers,
        settings.get("activation", "identity"),
        settings.get("loss", "squared_error"),
        settings["inputs"],
        settings["targets"],
        weights=settings.get("weights"),
        biases=settings.get("biases"),
        rate=float(settings.get("learning_rate", 0.05)),
        optimizer=_optimizer(settings),
        alpha=float(settings.get("alpha", 0.0)),
        names=settings.get("names"),
        seed=int(settings.get("seed", 0)),
    )


def _optimizer(settings: Mapping[str, Any]) -> Optimizer:
    """Return the optimizer of a TOML file: plain gradient descent, where it says nothing."""
    solver = entry_of(
        {name: SOLVERS[name] for name in STEPWISE}, settings.get("solver", "sgd"), "solver"
    )
    plain = {"momentum": 0.0, "nesterovs_momentum": False} if solver.name == "sgd" else {}
    given = {key: value for key, value in settings.items() if key in _SOLVER_KEYS}
    return solver.make(**plain | given)


def _check_explainable(loss: Loss) -> None:
    """Raise DataError for a loss whose steps are not told of."""
    if loss.name not in LOSSES or LOSSES[loss.name].step is not loss.step:
        raise DataError(
            f"a model with a loss of its own, {loss.name!r}, cannot be explained; fit it with one "
            f"of {sorted(LOSSES)}"
        )
    if loss.outputs_per_target > 1:
        raise DataError(
            f"a model of {loss.outputs_per_target} quantiles cannot be explained; fit it with one "
            "level of quantile"
        )


def of_model(model: Estimator | TableModel, table: Table, row: int) -> Example:
    """Return the network of a trained ``model`` with one row of ``table`` to learn from.

    The step is the one that the model's own optimizer would begin with; for a model of L-BFGS,
    which has no step over one row, gradient descent's at learning_rate_init. An estimator that was
    saved without its columns takes all columns but the target, as they are.

    Raises DataError for a row that is not there, and for columns or labels that do not fit.
    """
    # Imported here: scikit-learn takes a second that the built-in examples need not wait for.
    from gpubp.classifier import MLPClassifier
    from gpubp.models import TableModel, with_columns_of

    if not 0 <= row < len(table):
        raise DataError(
            f"row {row} was asked for, but {table.source} has rows 0 to {len(table) - 1}"
        )
    table = table.take(np.array([row]))
    known = model if isinstance(model, TableModel) else with_columns_of(model, table)
    schema, estimator = known.schema, known.estimator
    loss = estimator._loss()
    _check_explainable(loss)
    X = schema.transform(table, np.float64)
    if schema.target_scaling is not None:
        targets = schema.target_scaling.transform(table.matrix(schema.targets))
        scaling = estimator._target_scaling
        targets = targets if scaling is None else scaling.transform(targets)
        outputs: Iterable[str] = schema.targets
    else:
        assert isinstance(estimator, MLPClassifier)
        targets = estimator._encode(known.known_labels(table, schema.targets[0]))
        labels = [str(label) for label in estimator.classes_]
        outputs = labels if estimator.n_outputs_ > 1 else labels[-1:]
    hidden = estimator._hidden_sizes()
    sizes = (len(schema.features), *hidden, estimator.n_outputs_)
    example = build(
        Path(table.source).name,
        sizes,
        estimator._activations(len(hidden)),
        loss.name,
        X,
        targets.reshape(1, -1) if targets.dtype.kind == "f" else targets,
        weights=estimator.coefs_,
        biases=estimator.intercepts_ if estimator.fit_intercept else None,
        rate=float(estimator.learning_rate_init),
        optimizer=PLAIN_SGD if estimator.solver == "lbfgs" else estimator._optimizer(),
        alpha=float(estimator.alpha),
    )
    names = (schema.features, *example.names[1:-1], tuple(outputs))
    return replace(example, names=names, loss_parameters=loss.parameters)
