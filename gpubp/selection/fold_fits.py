"""The fit of a candidate on a fold: of a network, a table estimator or a pipeline."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from pickle import PicklingError
from typing import Any, NamedTuple

import joblib
from sklearn.pipeline import Pipeline
from sklearn.utils._metadata_requests import _routing_enabled
from sklearn.utils.metadata_routing import process_routing

from gpubp.estimators.fit_estimators import Fit
from gpubp.estimators.fitted_attributes import history_of, warn_why_stopped
from gpubp.estimators.mlp import BaseMLP
from gpubp.models.encoded_rows import Encoded, Parts, fit_and_encode
from gpubp.models.table_estimators import TableEstimator
from gpubp.models.table_rows import Rows, rows_given, warn_of_many_classes
from gpubp.selection.folds import VALIDATION, TrainingRows
from gpubp.tables.encoder import TableEncoder


class FoldFit(NamedTuple):
    """The fit of a candidate on a fold.

    fit : of its network. finish : called after the training; returns the fitted candidate, or
    raises the error that its fit would raise.
    """

    fit: Fit
    finish: Callable[[], Any]


def check_supported(estimator: Any) -> None:
    """Raise TypeError if the networks of ``estimator`` cannot be trained together."""
    last = estimator.steps[-1][1] if isinstance(estimator, Pipeline) else estimator
    if not isinstance(last, BaseMLP | TableEstimator):
        advice = (
            f"import {type(last).__name__} from gpubp instead"
            if type(last).__module__.startswith("sklearn.neural_network.")
            and type(last).__name__ in ("MLPClassifier", "MLPRegressor")
            else "use GridSearchCV or RandomizedSearchCV of scikit-learn for other estimators"
        )
        raise TypeError(
            f"estimator is {_name_of(estimator)}"
            f"{f' with the last step {_name_of(last)}' if last is not estimator else ''}; "
            "MLPSearchCV takes MLPClassifier, MLPRegressor, TableClassifier and TableRegressor of "
            f"gpubp, and a Pipeline whose last step is one of them; {advice}"
        )


def _name_of(estimator: Any) -> str:
    """Return the class of an estimator, such as "MLPClassifier of scikit-learn"."""
    kind = type(estimator)
    return f"{kind.__name__}{' of scikit-learn' * kind.__module__.startswith('sklearn.')}"


def fold_fit(estimator: Any, rows: TrainingRows) -> FoldFit:
    """Return the fit of ``estimator``, an unfitted candidate, on the rows of a fold."""
    if isinstance(estimator, Pipeline):
        return _of_pipeline(estimator, rows)
    if isinstance(estimator, TableEstimator):
        return _of_table(estimator, rows)
    return _of_network(estimator, rows)


def _of_network(network: BaseMLP, rows: TrainingRows) -> FoldFit:
    def finish() -> BaseMLP:
        warn_why_stopped(network, history_of(network))
        return network

    weights, given = weights_and_validation(rows.params)
    return FoldFit(Fit(network, rows.X, rows.y, weights, given), finish)


def weights_and_validation(
    params: Mapping[str, Any],
) -> tuple[Any, tuple[Any, Any, Any] | None]:
    """Return sample_weight and the validation rows among the arguments of fit.

    Raises TypeError for other arguments.
    """
    for name in params:
        if name != "sample_weight" and name not in VALIDATION:
            raise TypeError(f"fit() got an unexpected keyword argument {name!r}")
    X_val, y_val, sample_weight_val = (params.get(name) for name in VALIDATION)
    given = X_val, y_val, sample_weight_val
    return params.get("sample_weight"), None if all(each is None for each in given) else given


def _of_table(table_estimator: TableEstimator, rows: TrainingRows) -> FoldFit:
    """Encode the rows, once for equal encoders, and return the fit of the network."""
    table_estimator._validate_params()
    weights, given = weights_and_validation(rows.params)
    task, na = table_estimator.task, table_estimator.na
    caller = type(table_estimator).__name__

    def check(X: Any, y: Any, weights: Any) -> Rows:
        return rows_given(X, y, None, weights, task, caller, na)

    def encode(encoder: TableEncoder, X: Any, parts: Parts) -> Encoded:
        held = None if parts is None else parts[1].tobytes()
        return rows.once(  # type: ignore[no-any-return]
            ("encoded", key_of(encoder), held), lambda: fit_and_encode(encoder, X, parts)
        )

    checked = rows.once(("rows", key_of(na)), lambda: check(rows.X, rows.y, weights))
    if task == "classification":
        warn_of_many_classes(checked.y)
    validation = None if given is None else check(*given)
    prepared = table_estimator._prepared(checked, validation, encode)

    def finish() -> TableEstimator:
        table_estimator._finish(prepared)
        network = table_estimator.network_
        if table_estimator._may_warn(history := history_of(network)):
            warn_why_stopped(network, history)
        return table_estimator

    return FoldFit(prepared.fit, finish)


def _of_pipeline(pipeline: Pipeline, rows: TrainingRows) -> FoldFit:
    """Fit the transformers, once for equal ones, and return the fit of the last step."""
    transformers, (name, last) = pipeline[:-1], pipeline.steps[-1]
    params = _params_of_last(pipeline, rows.params)

    def transform() -> tuple[list[Any], TrainingRows]:
        if not transformers.steps:
            return [], TrainingRows(rows.X, rows.y, params)
        Z = transformers.fit_transform(rows.X, rows.y)
        return transformers.steps, TrainingRows(Z, rows.y, params)

    steps, transformed = rows.once(("pipeline", key_of(transformers)), transform)
    fit, finish_last = fold_fit(last, transformed)

    def finish() -> Pipeline:
        pipeline.steps = [*steps, (name, finish_last())]
        return pipeline

    return FoldFit(fit, finish)


def _params_of_last(pipeline: Pipeline, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of fit for the last step; raise TypeError for those of other steps."""
    if not params:
        return {}
    name = pipeline.steps[-1][0]
    if _routing_enabled():
        routed = process_routing(pipeline, "fit", **params)
        others = {step for step, _ in pipeline.steps[:-1] if routed[step].get("fit_transform")}
        own = dict(routed[name].fit)
    else:
        prefix = f"{name}__"
        others = {given for given in params if not given.startswith(prefix)}
        own = {given.removeprefix(prefix): value for given, value in params.items()}
    if others:
        raise TypeError(
            f"MLPSearchCV passes arguments of fit to the last step of a pipeline only, got some "
            f"for {', '.join(sorted(others))}; name them {name}__sample_weight and so on"
        )
    return own


def key_of(estimator: Any) -> Hashable:
    """Return a key that is equal for unfitted estimators with equal parameters."""
    try:
        return str(joblib.hash(estimator))
    except (PicklingError, TypeError, AttributeError):  # a lambda, for example
        return id(estimator), object()


def split_off_target(
    estimator: Any, X: Any, y: Any, target: Any, params: Mapping[str, Any]
) -> tuple[Any, Any]:
    """Return X without its target columns, and the targets as y.

    target : names of the targets; None for those of a Table. params : the other arguments of fit.

    Raises TypeError for other estimators, and ValueError if ``params`` would have to be shortened
    with the rows.
    """
    if not isinstance(estimator, TableEstimator):
        raise TypeError(
            f"target={target!r} needs TableClassifier or TableRegressor, but estimator is "
            f"{type(estimator).__name__}; pass y"
        )
    caller = type(estimator).__name__
    rows = rows_given(X, y, target, None, estimator.task, caller, estimator.na)
    if rows.left_out and params:
        raise ValueError(
            f"{rows.left_out} rows of X have no target, so {', '.join(params)} would no longer "
            "match the rows; leave these rows out of X and of the other arguments"
        )
    return rows.X, rows.y
