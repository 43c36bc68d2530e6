"""Measuring processes for the tests of the runner: one measures nothing, one has bad peers."""

from __future__ import annotations

import json
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

QUICK = (sys.executable, "-S", __file__, "quick")  # without site packages: starts at once
REAL = (sys.executable, __file__, "real")


def quick(case: dict[str, Any], threads: str) -> None:
    """Print a row at once: seconds by the clock, so that no two rows are the same."""
    sizes = "-".join(map(str, case["sizes"]))
    short = {"training": case["solver"], "epochs": f"{case['solver']} epochs"}
    how = short.get(case["mode"], case["mode"])
    name = f"{case['network']} {sizes} b{case['batch']} {how} {case['precision']} {case['device']}"
    with Path("order.txt").open("a", encoding="utf-8") as file:
        file.write(f"{case['network']} {case['peer']} {threads}\n")
    time.sleep({"slow": 0.15}.get(case["network"], 0))
    row: dict[str, Any] = {
        "case": name,
        "peer": case["peer"],
        "timing": None,
        "losses": [1.0, 0.5],
        "figures": {"peak_bytes": 1e6, "other_cores": 0.0},
        "rounds": [(2.0 if case["peer"] == "sklearn_mlp" else 1.0) + time.time() % 1e-2],
    }
    if case["peer"] == "jax_scan":
        row |= {"status": "skipped", "reason": "jax is not installed", "rounds": []}
    if case["peer"] == "floor":
        row |= {"losses": [], "figures": {"bytes_us": 1.0}}
    if case["network"] == "breaks" and Path("order.txt").read_text().count("breaks gpubp") > 1:
        sys.exit("it broke")
    print(json.dumps(row))


def _fail(workload: Any, device: str) -> Any:
    raise MemoryError("no room for 5 TB")


def _exit(workload: Any, device: str) -> Any:
    print("some words of a library")
    sys.stderr.write("the last words\n")
    sys.exit(3)


def _sleep(workload: Any, device: str) -> Any:
    time.sleep(60)


def real(arguments: list[str]) -> None:
    """Measure as ever, but with peers that fail."""
    from gpubp.bench import measurement

    for name, start in (("torch_eager", _fail), ("torch_compile", _exit), ("jax_scan", _sleep)):

        @contextmanager
        def learner(workload: Any, device: str, start: Any = start) -> Any:
            yield start(workload, device)

        measurement.PEERS[name] = SimpleNamespace(available=lambda device: None, learner=learner)
    measurement.main(*arguments)


if __name__ == "__main__":
    if sys.argv[1] == "quick":
        quick(json.loads(sys.argv[2]), sys.argv[3])
    else:
        real(sys.argv[2:])
