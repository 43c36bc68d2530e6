"""Functions called during training: scikit-learn's callbacks, scorers and printing."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from copy import copy
from functools import partial
from typing import Any

import numpy as np
from sklearn.utils import _safe_indexing, indexable

from gpubp.backends.foreign_arrays import on_host
from gpubp.estimators.fitted_attributes import set_fitted
from gpubp.estimators.scoring import Scorer
from gpubp.logger import LOGGER
from gpubp.training.fit import Listeners, Snapshot
from gpubp.training.history import Epoch, OnEpoch
from gpubp.training.validation import ValidationSet

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # scikit-learn before 1.9, where estimators have no callbacks

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Empty stand-in for scikit-learn's class."""

    def with_callbacks(method: Callable[..., Any]) -> Callable[..., Any]:
        """Return ``method`` unchanged."""
        return method


__all__ = ["CallbackSupportMixin", "FitTasks", "listeners_of", "with_callbacks"]

Note = Callable[[str], None]


class FitTasks:
    """A fit as scikit-learn's callbacks see it: one task with a subtask per epoch.

    estimator : an estimator with callbacks.
    X, y, sample_weight : as passed to fit, so that a data frame keeps its column names.
    epochs : the maximum number of epochs. name : the name of the subtasks.
    """

    def __init__(
        self, estimator: Any, X: Any, y: Any, sample_weight: Any, epochs: int, name: str
    ) -> None:
        self._estimator, self._name = estimator, name
        self._given = {"X": X, "y": y, "sample_weight": sample_weight}
        self._kept: np.ndarray | None = None
        self._rows: dict[str, Any] | None = None
        self._fit = estimator._init_callback_context(max_subtasks=epochs)
        self._tell(self._fit.call_on_fit_task_begin)
        self._epoch: Any = None

    def begin(self, snapshot: Snapshot, *, kept: np.ndarray | None) -> None:
        """Begin the first epoch.

        snapshot : returns the `Fitted` of the current parameters. kept : the indices of the
        training rows; None for all.
        """
        self._snapshot, self._kept, self._rows = snapshot, kept, None
        self._begin_epoch()

    def _begin_epoch(self) -> None:
        self._epoch = self._fit.subcontext(task_name=self._name)
        self._tell(self._epoch.call_on_fit_task_begin, self._fitted_attributes)

    def end_epoch(self, epoch: Epoch) -> bool:
        """Call the callbacks at the end of an epoch, begin the next; return whether to stop."""
        ended, self._epoch = self._epoch, None
        stop = self._tell(ended.call_on_fit_task_end, self._fitted_attributes)
        if not (stop or epoch.last):
            self._begin_epoch()
        return bool(stop)

    def end(self) -> None:
        """End the task, and the subtask of an epoch that did not finish."""
        if self._epoch is not None:
            self._tell(self._epoch.call_on_fit_task_end)
        self._tell(self._fit.call_on_fit_task_end, dict)

    def _tell(self, call: Callable[..., Any], fitted: Callable[[], Any] | None = None) -> Any:
        # Callables are evaluated only if a callback asks for the value.
        rows = {name: partial(self._taken, name) for name in ("X", "y")}
        return call(
            estimator=self._estimator,
            **rows,
            metadata=self._metadata,
            reconstruction_attributes=fitted,
        )

    def _metadata(self) -> dict[str, Any] | None:
        weights = self._taken("sample_weight")
        return None if weights is None else {"sample_weight": weights}

    def _taken(self, name: str) -> Any:
        """Return the training rows of X, y or sample_weight, on the host."""
        if self._rows is None:
            rows = indexable(*map(on_host, self._given.values()))
            if self._kept is not None:  # the others are held out
                rows = [None if of is None else _safe_indexing(of, self._kept) for of in rows]
            self._rows = dict(zip(self._given, rows, strict=True))
        return self._rows[name]

    def _fitted_attributes(self) -> dict[str, Any]:
        """Return the estimator's attributes as if training had ended after this epoch.

        The weights are those of this epoch, not the best ones, with early_stopping too. Only this
        function copies them to the host.
        """
        estimator = copy(self._estimator)
        set_fitted(estimator, self._snapshot(), estimator._loss().output)
        return dict(vars(estimator))


def listeners_of(
    estimator: Any,
    given: tuple[Any, Any, Any],
    epochs: int,
    kept: np.ndarray | None,
    held: ValidationSet | None,
    on_epoch: OnEpoch | None,
    note: Note | None,
) -> tuple[FitTasks | None, Listeners]:
    """Return the tasks for scikit-learn's callbacks (None without any) and the listeners of a fit.

    given : X, y and sample_weight, as passed to fit. epochs : the maximum number of epochs.
    kept : the indices of the training rows; None for all. held : the validation rows and their
    score; None without any. on_epoch, note : functions of the caller; see `Listeners`.
    """
    tasks = None
    if hasattr(estimator, "_skl_callbacks"):
        name = "lbfgs-iter" if estimator.solver == "lbfgs" else "epoch"
        tasks = FitTasks(estimator, *given, epochs, name)
    each = (_print if estimator.verbose else None, on_epoch, tasks and tasks.end_epoch)
    called = [listener for listener in each if listener]

    def begin(snapshot: Snapshot) -> None:
        if held is not None and isinstance(held.score, Scorer):
            held.score.begin(snapshot)
        if tasks is not None:
            tasks.begin(snapshot, kept=kept)

    def report(epoch: Epoch) -> bool:
        stops = [listener(epoch) for listener in called]
        return any(stops)

    warn = note or partial(warnings.warn, stacklevel=2)
    return tasks, Listeners(begin, report if called else None, warn, note or LOGGER.info)


def _print(epoch: Epoch) -> None:
    print(f"Iteration {epoch.number}, loss = {epoch.loss:.8f}")
    if epoch.score is not None:
        print(f"Validation score: {epoch.score:f}")
