"""What is about to be trained, as plain values: the first line of a history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gpubp.estimators.classifier import MLPClassifier
from gpubp.estimators.regressor import MLPRegressor
from gpubp.version import __version__


def about_training(
    network: MLPClassifier | MLPRegressor,
    data: Mapping[str, Any],
    task: str,
    targets: Sequence[str],
    inputs: int,
) -> dict[str, Any]:
    """Return what is about to be trained, as values for JSON.

    network : not yet fitted. data : source and numbers of the rows. task : "classification" or
    "regression". targets : names of the targets. inputs : of the network.
    """
    batch = network.batch_size
    return {
        "gpubp": __version__,
        "data": dict(data),
        "task": task,
        "targets": list(targets),
        "inputs": inputs,
        "hidden": [int(size) for size in network._hidden_sizes()],
        "members": network.n_members,
        "unit": "iteration" if network.solver == "lbfgs" else "epoch",
        "epochs": int(network.max_iter),
        "solver": network.solver,
        "batch_size": batch if isinstance(batch, str) else int(batch),
        "seed": network.random_state,
    }
