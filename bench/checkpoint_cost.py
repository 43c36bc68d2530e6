"""The time and size of a checkpoint: `python -m gpubp.bench.checkpoint_cost`.

Checkpoints are written as during a training with Adam and validation, by the default interval of
60 s. The time includes the wait until the file is on the disk.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path
from time import perf_counter

import numpy as np

from gpubp.backprop.network import Network
from gpubp.estimators.checkpoint_file import SavedTraining, write_checkpoint
from gpubp.training.epoch_plan import OptimizerState
from gpubp.training.history import History
from gpubp.training.training_state import TrainingState

INTERVAL = 60.0  # seconds
ROUNDS, EPOCHS = 7, 300
CASES = (
    ((64, 100, 10), 1),
    ((57, 256, 256, 256, 10), 4),
    ((784, 1024, 1024, 10), 1),
    ((784, 4096, 4096, 10), 1),
)


def state_of(sizes: tuple[int, ...]) -> TrainingState:
    """Return the state of a network in training whose last epoch was neither of the best."""
    network = Network(sizes, ("relu",) * (len(sizes) - 2))
    rng, size = np.random.default_rng(0), network.theta_size(np.dtype(np.float32))
    theta, kept, best, m, v = rng.normal(size=(5, size)).astype(np.float32)
    curve = rng.uniform(size=EPOCHS).tolist()
    history = History(curve, curve, curve, epochs=EPOCHS)
    return TrainingState(theta, kept, best, OptimizerState(1e-3, 1000, (m, v)), history, 0.1)


def main() -> None:
    """Print the median time and the size of a checkpoint of each case."""
    for sizes, members in CASES:
        saved = SavedTraining({}, states={k: state_of(sizes) for k in range(members)})
        parameters = sum(of.theta.size for of in saved.states.values())
        with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
            path, seconds = Path(folder) / "checkpoint", []
            for _ in range(ROUNDS):
                began = perf_counter()
                write_checkpoint(path, saved)
                seconds.append(perf_counter() - began)
            size = path.stat().st_size
        median = statistics.median(seconds)
        print(
            f"{'-'.join(map(str, sizes))}, {members} members, {parameters:,} parameters: "
            f"{size / 1e6:.1f} MB, {1e3 * median:.1f} ms, {100 * median / INTERVAL:.3f} % of 60 s"
        )


if __name__ == "__main__":
    main()
