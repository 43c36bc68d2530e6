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
FLOOR = "floor"  # listed as a peer, but only the matrix products of a step


@dataclass(frozen=True)
class Case:
    """One measurement, which runs in a process of its own.

    network : name of the network in the suite.
    sizes : units per layer, inputs first. batch : rows per step, or per call of predict.
    rows : rows of the data; with mode "inference" or "forward", rows to predict.
    mode : "training" and "inference" time whole calls with data on the host; "epochs" and "forward"
        use the device's clock, with data on the device.
    epochs : epochs of a fit; with mode "epochs", the least number of timed epochs.
    rate : learning rate. seconds : shortest time of a measurement.
    vary : the quantity that grows from case to case of this network, for plots; "" for none.
    population : number of networks that are trained, each from its own seed; steps are summed.
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
    population: int = 1

    @property
    def name(self) -> str:
        """The name, equal for all peers, such as "S 64-100-10 b200 adam float32 cpu"."""
        sizes = "-".join(map(str, self.sizes))
        if self.population > 1:
            sizes += f" x{self.population}"
        return f"{self.network} {sizes} b{self.batch} {self.how} {self.precision} {self.device}"

    @property
    def how(self) -> str:
        """Solver and mode in short, such as "adam", "adam epochs", "inference" or "forward"."""
        if not self.trains:
            return self.mode
        return self.solver if self.mode == "training" else f"{self.solver} {self.mode}"

    @property
    def trains(self) -> bool:
        """Whether training is timed; else predictions are."""
        return self.mode in ("training", "epochs")

    @property
    def key(self) -> tuple[str, str]:
        """Name and peer, which identify a case of a suite."""
        return self.name, self.peer

    @property
    def needs(self) -> tuple[str, ...]:
        """What decides whether the case can run here: if one case cannot, no such case can."""
        return self.peer, self.device, self.precision, self.mode

    @property
    def steps(self) -> int:
        """Steps of a fit of all networks or of an epoch, or calls of predict."""
        each = -(-self.rows // self.batch)
        return each * self.epochs * self.population if self.mode == "training" else each

    @property
    def rows_in_all(self) -> int:
        """Number of rows that a fit, an epoch or inference processes."""
        in_all = self.rows * self.epochs * self.population
        return in_all if self.mode == "training" else self.rows

    @property
    def workload(self) -> Workload:
        """The training and its data; for inference, it only produces the weights."""
        rows, batch = self.rows, self.batch
        if self.mode == "inference":  # over a block of whole batches, repeatedly
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
            population=self.population,
        )

    @property
    def phases(self) -> list[Phase]:
        """The least work of a step, by phases."""
        found = phases(replace(self.workload, batch=self.batch))
        return found if self.trains else [p for p in found if p.name.startswith("forward")]

    def on(self, device: str) -> Case:
        """Return the same case on another device."""
        return replace(self, device=device)

    def values(self) -> dict[str, Any]:
        """Return the fields as values for JSON."""
        return asdict(self) | {"sizes": list(self.sizes)}

    def to_json(self) -> str:
        """Return the case as one line of JSON."""
        return json.dumps(self.values())

    @staticmethod
    def from_values(values: dict[str, Any]) -> Case:
        """Return the case with the fields ``values``."""
        return Case(**values | {"sizes": tuple(values["sizes"])})
