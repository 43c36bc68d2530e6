"""Validation: rows that training does not see, and how the network does on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from inspect import signature
from numbers import Real
from typing import Any

import numpy as np
from sklearn.metrics import get_scorer
from sklearn.model_selection import train_test_split

from gpubp.backend import Array, Backend
from gpubp.inference import infer
from gpubp.interchange import on_host
from gpubp.losses import Loss
from gpubp.network import Network, Parameters
from gpubp.rows import Rows, SparseRows
from gpubp.schedules import Schedule
from gpubp.trainer import Trainer
from gpubp.training import Verdict, rehearse

# Of parameters, their outputs for the rows (n, n_outputs) on the host, and the loss.
Score = Callable[[Parameters, np.ndarray, float], float]


def hold_out(
    rows: Rows, part: float, strata: np.ndarray | None, rng: np.random.RandomState
) -> tuple[Rows, Rows]:
    """Return the rows to train on and those to hold out, as scikit-learn draws them.

    part : of the rows, to hold out. strata : (n,), what both keep in proportion; None for nothing.
    """
    kept, held = train_test_split(
        np.arange(len(rows.X)), random_state=rng, test_size=part, stratify=strata
    )
    if len(held) < 2:
        raise ValueError(
            "The validation set is too small. Increase 'validation_fraction' or the size of "
            "your dataset."
        )
    return rows.take(kept), rows.take(held)


@contextmanager
def named(what: str) -> Iterator[None]:
    """Put ``what`` before the text of a ValueError or TypeError that is raised inside."""
    try:
        yield
    except (ValueError, TypeError) as error:
        kind = ValueError if isinstance(error, ValueError) else TypeError
        raise kind(f"{what}: {error}") from None


def check_columns(y_val: Any, y: Any) -> None:
    """Raise a ValueError where ``y_val`` has not as many columns as ``y``, (n,) or (n, k)."""
    with named("y_val"):
        given, trained = np.shape(y_val), np.shape(y)
    if len(given) not in (1, 2):
        return  # scikit-learn says what is wrong
    columns, wanted = ((*shape, 1)[1] for shape in (given, trained))
    if columns != wanted:
        raise ValueError(
            f"y_val of shape {given} has {columns} column{'s' * (columns != 1)}, but y of shape "
            f"{trained} has {wanted}; pass the same columns as in y"
        )


class Validation:
    """Rows to validate on, and what they say of a network's parameters."""

    def __init__(
        self,
        backend: Backend,
        network: Network,
        loss: Loss,
        rows: Rows,
        score: Score,
    ) -> None:
        self._backend, self._network, self._loss, self._score = backend, network, loss, score
        n = len(rows.X)
        self._losses = np.empty(n)  # of each row, its share
        weights = np.ones(n) if rows.weights is None else rows.weights.astype(np.float64)
        # Rows of weight 0 say nothing; dividing by 1 leaves their shares at 0.
        shares = (weights / (weights.sum() or 1)).astype(rows.X.dtype)
        self._data: tuple[Array | SparseRows, Array, Array] = rows.X, rows.targets, shares

    def upload(self, trainer: Trainer, schedule: Schedule) -> None:
        """Keep the rows on the device, if there is room for them beside ``trainer``."""
        host = self._data
        if isinstance(host[0], SparseRows):
            return
        try:
            X, Y, shares = (self._backend.asarray(array) for array in host)
            self._data = X, Y, shares
            rehearse(trainer, schedule, self.outputs)
        except MemoryError:
            self._data = host

    def outputs(self, parameters: Parameters) -> np.ndarray:
        """Return the network's outputs for the rows, (n, n_outputs), on the host.

        One forward pass gives the loss of the rows too.
        """
        X = self._data[0]
        return infer(self._backend, self._network, self._loss, parameters, X, self._note_losses)

    def _note_losses(self, start: int, Z: Array) -> None:
        """Note the losses of the rows from ``start`` on, whose logits are ``Z``."""
        backend, rows = self._backend, slice(start, start + len(Z))
        _, Y, shares = self._data
        row_losses = backend.zeros((len(Z),), np.float64)
        delta = backend.empty(Z.shape, Z.dtype)  # of no use here
        here = backend.asarray(Y[rows]), backend.asarray(shares[rows])
        self._loss.evaluate(backend, Z, *here, row_losses, delta)
        self._losses[rows] = backend.to_numpy(row_losses)

    def __call__(self, parameters: Parameters) -> Verdict:
        """Return the score of ``parameters``, and their mean loss without the penalty."""
        outputs = self.outputs(parameters)
        loss = float(self._losses.sum())
        return Verdict(self._score(parameters, outputs, loss), loss)


class Scorer:
    """What a scikit-learn scorer says of parameters: it is handed an estimator that has them.

    scoring : one of scikit-learn's names, or a callable scorer(estimator, X, y), which is given
        the weights of the rows too if it takes sample_weight. estimator : knows all but coefs_.
    """

    def __init__(self, scoring: Any, estimator: Any, backend: Backend, rows: Rows) -> None:
        self._scorer = get_scorer(scoring) if isinstance(scoring, str) else scoring
        self._estimator, self._backend = estimator, backend
        self._X = rows.X.matrix if isinstance(rows.X, SparseRows) else on_host(rows.X)
        self._y = rows.y
        weighted = rows.weights is not None and _takes_weights(self._scorer)
        self._weights = {"sample_weight": rows.weights} if weighted else {}
        self._check_call()

    def _check_call(self) -> None:
        """Raise a ValueError for a scorer that cannot be called as one."""
        try:
            takes = signature(self._scorer)
        except (TypeError, ValueError):  # it has none that Python could tell
            return
        try:
            takes.bind(self._estimator, self._X, self._y, **self._weights)
        except TypeError as error:
            raise ValueError(
                "scoring must be a scorer, which is called as scorer(estimator, X, y), got "
                f"{self._scorer!r} ({error}); of a metric, sklearn.metrics.make_scorer makes one"
            ) from None

    def __call__(self, parameters: Parameters, outputs: np.ndarray, loss: float) -> float:
        """Return the score of ``parameters``, NaN where an output is not finite."""
        if not np.isfinite(outputs).all():
            return float("nan")
        view = self._with(parameters)
        coefs, compute = view.coefs_, view._outputs

        def known(X: Any) -> Any:
            return outputs.copy() if X is self._X and view.coefs_ is coefs else compute(X)

        # Known already; of other rows, or after a scorer has fitted it anew, they are computed.
        vars(view)["_outputs"] = known
        score = self._scorer(view, self._X, self._y, **self._weights)
        del view._outputs
        score = score.item() if getattr(score, "shape", None) == () else score
        if not isinstance(score, Real):
            raise ValueError(f"scoring must return a number, got {score!r} of {self._scorer!r}")
        return float(score)

    def _with(self, parameters: Parameters) -> Any:
        """Return the estimator with ``parameters``, the rest of it shared."""
        view: Any = object.__new__(type(self._estimator))
        vars(view).update(vars(self._estimator))
        # The rows come without the names of their columns.
        vars(view).pop("feature_names_in_", None)
        # Training changes these two, here and in a scorer that fits its estimator.
        view._history = self._estimator._history.copy()
        view._optimizer_state = replace(self._estimator._optimizer_state)
        view.coefs_ = [np.array(self._backend.to_numpy(W)) for W in parameters.Ws]
        view.intercepts_ = [
            np.zeros(W.shape[1], W.dtype) if b is None else np.array(self._backend.to_numpy(b))
            for W, b in zip(view.coefs_, parameters.bs, strict=True)
        ]
        return view


def _takes_weights(scorer: Any) -> bool:
    if hasattr(scorer, "_accept_sample_weight"):  # one of scikit-learn's
        return bool(scorer._accept_sample_weight())
    try:
        return "sample_weight" in signature(scorer).parameters
    except (TypeError, ValueError):  # it has none that Python could tell
        return False
