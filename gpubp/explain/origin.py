"""The table that the rows of an example come from, and their values in its units."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

STANDARDISED, ROBUST = "standardised", "robust, clipped"


@dataclass(frozen=True, eq=False)
class Origin:
    """The table and the trained model of an example, and how the network's numbers were scaled.

    table : its name; "" for a built-in example. row : number of the example's first row in the
    table, from 0. model : name and class of the trained model; "" for none.
    X : (n, d_0), the inputs before scaling; None if they are not scaled.
    scaling : how the inputs are scaled, in words.
    mean, scale : (d_L,), so that a target of the table is ``mean + scale * y`` for the network's
    target y; None if the targets are not standardised.
    """

    table: str = ""
    row: int = 0
    model: str = ""
    X: np.ndarray | None = None
    mean: np.ndarray | None = None
    scale: np.ndarray | None = None
    scaling: str = STANDARDISED

    @property
    def scales_targets(self) -> bool:
        """Whether targets and predictions are standardised."""
        return self.mean is not None

    @property
    def scaled(self) -> dict[str, str]:
        """The scaled quantities, such as "target and prediction", by how they are scaled."""
        inputs, targets = self.X is not None, self.scales_targets
        if inputs and targets and self.scaling == STANDARDISED:
            return {STANDARDISED: "inputs, target and prediction"}
        found = {self.scaling: "inputs"} if inputs else {}
        return found | ({STANDARDISED: "target and prediction"} if targets else {})

    @property
    def facts(self) -> list[str]:
        """The model and the row in words; [] for a built-in example."""
        row = f"row {self.row} of {self.table}"
        return [*([f"model {self.model}"] if self.model else []), *([row] if self.table else [])]

    def input(self, row: int, i: int) -> float:
        """Return an input of a row of the example in the units of the table."""
        assert self.X is not None
        return float(self.X[row, i])

    def output(self, value: float, j: int) -> float:
        """Return a target or prediction of output ``j`` in the units of the table."""
        if self.mean is None or self.scale is None:
            return value
        return float(self.mean[j] + self.scale[j] * value)

    def distance(self, value: float, j: int) -> float:
        """Return a difference of two values of output ``j`` in the units of the table."""
        return value if self.scale is None else float(self.scale[j] * value)
