"""Comparison of a trained network with simpler models on the test rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gpubp.cli.train_model import Problem, Trained

Metrics = dict[str, Any]


def no_comparison(trained: Trained) -> dict[str, Any]:
    """Return the dict of `compared` for a training without test rows."""
    from gpubp.models.verdict import NO_TEST

    return _found(trained, {}, [], [], NO_TEST)


def compared(trained: Trained, test: Problem, train: Metrics, own: Metrics) -> dict[str, Any]:
    """Return the comparison of the network with simpler models, as a dict.

    "baselines" are the simpler models by name, "classes" the scores of each class,
    "positive_class" the class of F1, "remarks" and "verdict" text for the user.

    test : the test rows. train, own : the network's scores on the training rows and on the test
    rows.
    """
    from gpubp.estimators.quantiles import level_of
    from gpubp.models.baselines import baselines, rows_for_linear
    from gpubp.models.table_estimators import TableClassifier
    from gpubp.models.verdict import class_remarks, is_better, overfit_remarks, verdict

    model, rows = trained.model, trained.rows
    y, y_test = rows.truth(), test.truth()
    known: dict[str, Any] = {}
    level = None
    if isinstance(model, TableClassifier):
        known = {"class_weight": model.class_weight, "positive": model.positive_class_}
        classes, outputs = model.classes_, model.predict_proba(test.table)
        by_class = model.per_class(test.table)
        about_classes = class_remarks(y_test, outputs, classes, model.class_weight)
    else:
        level = level_of(model.network_)
        known = {"targets": rows.targets, "level": level}
        classes, outputs = None, model.predict(test.table)
        by_class, about_classes = [], []
    seed = model.random_state
    few = rows_for_linear(rows.task, y, seed)
    X, X_test = model.encode(rows.table.take(few)), model.encode(test.table)
    known |= {"rows": few, "classes": classes, "seed": seed}
    others = baselines(rows.task, X, y, X_test, y_test, **known)
    text = verdict(rows.task, y_test, outputs, own, others, classes=classes, level=level)
    remarks = about_classes + overfit_remarks(train, own, len(test), _advice(trained))
    if not is_better(text):
        remarks.insert(0, text if text[0].isdigit() else f"the network is {text}")
    found = {
        other.name: {"model": other.text, "label": other.label, "scores": other.scores}
        for other in others
    }
    return _found(trained, found, by_class, remarks, text)


def _found(
    trained: Trained, others: dict[str, Any], classes: Any, remarks: list[str], verdict: str
) -> dict[str, Any]:
    return {
        "baselines": others,
        "classes": classes,
        "positive_class": getattr(trained.model, "positive_class_", None),
        "remarks": remarks,
        "verdict": verdict,
    }


def _advice(trained: Trained) -> str:
    """Return advice against overfitting, as a phrase."""
    network = trained.network
    smaller = "a smaller --hidden" if network._hidden_sizes() else "fewer columns"
    if network.solver == "lbfgs":
        return f"try {smaller} or a larger --alpha"
    if not network.early_stopping:
        return f"try --validation-size 0.2 or {smaller}"
    return f"try {'a larger ' if network.dropout else ''}--dropout or {smaller}"
