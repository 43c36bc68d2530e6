"""What the page of a model shows, as one record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from gpubp.models.diagnostics import Diagnostics
from gpubp.models.learning_curves import LearningCurve
from gpubp.version import __version__

SCHEMA = 1
MOST_CATEGORIES = 20  # of a column, in the JSON
# Keys of the description of a model that the result of the training has too.
_OF_RESULT = {"scores", "baselines", "class_scores", "positive_class", "remarks", "verdict", "data"}

Rows = Literal["test", "training", "table"]


@dataclass(frozen=True)
class Evaluated:
    """The rows that a model was scored on, and its scores.

    kind : "test" rows, "training" rows, because none were kept for a test, or those of another
    "table". source : name of the table. scores : by metric. classes : those of each class.
    baselines : simpler models on the same rows, by name. training : scores on the training rows,
    if these are others.
    """

    kind: Rows
    rows: int
    source: str
    scores: Mapping[str, Any]
    classes: Sequence[Mapping[str, Any]] = ()
    baselines: Mapping[str, Mapping[str, Any]] | None = None
    training: Mapping[str, Any] | None = None

    @property
    def noun(self) -> str:
        """The rows in words: "test rows", "training rows" or "rows of new.csv"."""
        return f"rows of {self.source}" if self.kind == "table" else f"{self.kind} rows"


@dataclass(frozen=True)
class ModelReport:
    """What the page of a model shows.

    command : repeats it, for a shell. written : date and time. model : of `description_of`.
    versions : of the libraries that trained it. result : as --json prints it.
    """

    command: str
    written: str
    model: Mapping[str, Any]
    versions: Mapping[str, str]
    result: Mapping[str, Any]
    evaluated: Evaluated
    diagnostics: Diagnostics
    curves: Sequence[LearningCurve]

    @property
    def unit(self) -> str:
        """The steps of the training in words."""
        return "iteration" if self.model["recipe"]["solver"] == "lbfgs" else "epoch"

    @property
    def target(self) -> str:
        """The names of the targets."""
        return ", ".join(self.model["targets"])

    def values(self) -> dict[str, Any]:
        """Return the report for JSON."""
        model = {name: of for name, of in self.model.items() if name not in _OF_RESULT}
        if "verdict" not in self.result:  # of `gpubp evaluate`: the file has those of the training
            model = dict(self.model)
        columns = [
            column | {"categories": (column["categories"] or [])[:MOST_CATEGORIES]}
            for column in self.model["columns"] or ()
        ]
        return {
            "schema": SCHEMA,
            "command": self.command,
            "gpubp": __version__,
            "written": self.written,
            "result": dict(self.result),
            "model": model | {"columns": columns},
            "versions": dict(self.versions),
            "curves": [asdict(curve) for curve in self.curves],
            "diagnostics": self.diagnostics.values(),
        }
