"""A case of a suite: one network, trained or run by one peer in one way."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from gpubp.bench.workloads import (
    DISTINCT_VALUES,
    Loss,
    Phase,
    Precision,
    Solver,
    Workload,
    phases,
)

Mode = Literal["training", "inference", "epochs", "forward"]
Vary = Literal["batch", "width", "depth", "rows", ""]
FORWARD_BLOCK = 1024  # distinct rows of a forward pass
FLOOR = "floor"  # the peer that is none: the matrix products alone


@dataclass(frozen=True)
class Case:
    """What is measured in a process.

    network : its name in the suite. rows : of the data, or of those that inference is for.
    mode : "training" and "inference" are whole calls with the host's data; "epochs" and "forward"
        are timed by the device's clock, with data that lie there.
    epochs : of a fit, or at least so many are timed. seconds : a timing takes at least so long.
    vary : what grows from case to case of this network, for plots.
    """

    network: str
    sizes: tuple[int, ...]
    batch: int
    rows: int
    peer: str
    device: str = "cpu"
    precision: Precision = "float32"
    solver: Solver = "adam"
    loss: Loss = "cross_entropy"
    dataset: str = ""
    mode: Mode = "training"
    epochs: int = 10
    rate: float = 1e-3
    seed: int = 0
    seconds: float = 0.5
    vary: Vary = ""

    @property
    def name(self) -> str:
        """What its peers have in common, such as "S 64-100-10 b200 adam float32 cpu"."""
        sizes = "-".join(map(str, self.sizes))
        return f"{self.network} {sizes} b{self.batch} {self.how} {self.precision} {self.device}"

    @property
    def how(self) -> str:
        """Mode and solver in short: "adam", "adam epochs", "inference", "forward"."""
        if not self.trains:
            return self.mode
        return self.solver if self.mode == "training" else f"{self.solver} {self.mode}"

    @property
    def trains(self) -> bool:
        """Whether training is timed, and not predictions."""
        return self.mode in ("training", "epochs")

    @property
    def key(self) -> tuple[str, str]:
        """What no other case of a suite has: name and peer."""
        return self.name, self.peer

    @property
    def steps(self) -> int:
        """Steps of a fit or an epoch, or calls of predict."""
        each = -(-self.rows // self.batch)
        return each * self.epochs if self.mode == "training" else each

    @property
    def rows_in_all(self) -> int:
        """Rows that a fit, an epoch, or inference goes through."""
        return self.rows * self.epochs if self.mode == "training" else self.rows

    @property
    def workload(self) -> Workload:
        """The training, with its data; that of inference is for the weights alone."""
        rows, batch = self.rows, self.batch
        if self.mode == "inference":  # over a block of whole batches, again and again
            most = min(rows, DISTINCT_VALUES // self.sizes[0])
            rows = max(1, most // batch) * batch
        elif self.mode == "forward":
            rows = batch = min(batch, FORWARD_BLOCK)
        return Workload(
            self.sizes,
            batch,
            rows,
            self.precision,
            rate=self.rate,
            seed=self.seed,
            solver=self.solver,
            loss=self.loss,
            dataset=self.dataset,
        )

    @property
    def phases(self) -> list[Phase]:
        """What a step has to do at least."""
        found = phases(replace(self.workload, batch=self.batch))
        return found if self.trains else [p for p in found if p.name.startswith("forward")]

    def on(self, device: str) -> Case:
        """Return the same case on another device."""
        return replace(self, device=device)

    def values(self) -> dict[str, Any]:
        """Return its fields, as JSON has them."""
        return asdict(self) | {"sizes": list(self.sizes)}

    def to_json(self) -> str:
        """Return the case as one line of JSON."""
        return json.dumps(self.values())

    @staticmethod
    def from_values(values: dict[str, Any]) -> Case:
        """Return the case of these fields."""
        return Case(**values | {"sizes": tuple(values["sizes"])})
