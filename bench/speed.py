"""How fast gpubp itself trains and predicts."""

from __future__ import annotations

from gpubp.bench import inference, throughput
from gpubp.bench.results import Row, Rows


def rows(device: str) -> Rows:
    """Return what measures each row, by name."""
    trained = throughput.rows(device)
    ours = {name: measure for name, measure in trained.items() if name.startswith(f"{Row.peer}/")}
    return ours | dict(inference.rows(device))
