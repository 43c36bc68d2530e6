"""How a trained network compares with simpler models on the test rows, class by class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gpubp.cli.train_model import Problem, Trained

NO_COMPARISON: dict[str, Any] = {"baselines": {}, "classes": [], "remarks": []}


def compared(trained: Trained, test: Problem) -> dict[str, Any]:
    """Return the "baselines" by name, the scores of "classes", and "remarks", of the test rows."""
    from gpubp.models.baselines import baselines, remarks, rows_for_linear
    from gpubp.models.table_estimators import TableClassifier

    model, rows = trained.model, trained.rows
    y, y_test = rows.truth(), test.truth()
    known: dict[str, Any] = {}
    if isinstance(model, TableClassifier):
        known = {"classes": model.classes_, "class_weight": model.class_weight}
        outputs = model.predict_proba(test.table)
        by_class = model.per_class(test.table)
    else:
        outputs, by_class = model.predict(test.table), []
    seed = model.random_state
    few = rows_for_linear(rows.task, y, seed)
    X, X_test = model.encode(rows.table.take(few)), model.encode(test.table)
    others = baselines(rows.task, X, y, X_test, y_test, rows=few, seed=seed, **known)
    return {
        "baselines": {
            other.name: {"model": other.text, "scores": other.scores} for other in others
        },
        "classes": by_class,
        "remarks": remarks(rows.task, y_test, outputs, others, **known),
    }
