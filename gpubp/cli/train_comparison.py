"""How a trained network compares with simpler models on the test rows, class by class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gpubp.cli.train_model import Problem, Trained

NO_COMPARISON: dict[str, Any] = {"baselines": {}, "classes": [], "remarks": []}


def compared(trained: Trained, test: Problem) -> dict[str, Any]:
    """Return the "baselines" by name, the scores of "classes", and "remarks", of the test rows."""
    from gpubp.models.baselines import baselines, remarks
    from gpubp.models.scores import per_class

    model, rows = trained.model, trained.rows
    classes = None if rows.labels is None else model.classes_
    weights = None if classes is None else model.class_weight
    X, X_test = (model.encoder_.transform(of.table) for of in (rows, test))
    y, y_test = rows.truth(), test.truth()
    others = baselines(
        rows.task,
        X,
        y,
        X_test,
        y_test,
        classes=classes,
        class_weight=weights,
        seed=trained.network.random_state,
    )
    outputs = model.predict(test.table) if classes is None else model.predict_proba(test.table)
    said = remarks(rows.task, y_test, outputs, others, classes=classes, class_weight=weights)
    table = []
    if classes is not None:
        table = per_class(classes, y_test, classes[outputs.argmax(axis=1)])
    return {
        "baselines": {other.name: {"model": other.text, "scores": other.scores} for other in others},
        "classes": table,
        "remarks": said,
    }
