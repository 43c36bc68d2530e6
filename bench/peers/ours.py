"""gpubp itself: a Trainer, as the estimators use it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import chain, count
from typing import Any, cast

import numpy as np

from gpubp.backend import Backend, BackendUnavailableError, get_backend
from gpubp.batches import Batches, HashedOrder
from gpubp.bench.peers.learners import EstimatorLearner
from gpubp.bench.peers.protocol import Learner, Session
from gpubp.bench.results import SkippedError
from gpubp.bench.timing import Clock, HostClock, cupy_clock
from gpubp.bench.workloads import Workload
from gpubp.kernels.gemm import Precision
from gpubp.losses import LOSSES
from gpubp.optimizers import Adam
from gpubp.trainer import OptimizerState, Trainer

name = "gpubp"


def available(device: str) -> str | None:
    """Return why gpubp cannot run on ``device``; None if it can."""
    try:
        get_backend(device)
    except BackendUnavailableError as error:
        return str(error)
    return None


def backend_for(device: str, precision: str, compiled: bool = False) -> Backend:
    """Return the backend that computes matrix products in ``precision``."""
    return get_backend(device, precision=cast(Precision, precision), compiled=compiled)


def clock_of(backend: Backend) -> Clock:
    """Return the clock of the stream that ``backend.in_use`` makes the current one."""
    return HostClock() if backend.name == "cpu" else cupy_clock()


@contextmanager
def prepare(workload: Workload, device: str, *, compiled: bool = False) -> Iterator[Session]:
    """Yield ``workload`` on ``device``."""
    backend = backend_for(device, workload.precision, compiled)
    network = workload.network
    used = backend.in_use(None, workload.batch * network.n_parameters)
    with used, np.errstate(all="ignore"):
        trainer = Trainer(
            backend,
            network,
            LOSSES["softmax_cross_entropy"],
            Adam(epsilon=workload.epsilon),
            workload.initial_theta(),
            Batches(backend, *workload.data(), workload.batch),
            state=OptimizerState(workload.rate),
        )
        # The orders that all peers start with; from then on hashed ones, made on the device.
        hashed = (HashedOrder(workload.seed, epoch) for epoch in count())
        yield _Session(trainer, chain(workload.orders(), hashed))


@contextmanager
def learner(workload: Workload, device: str, *, compiled: bool = False) -> Iterator[Learner]:
    """Yield MLPClassifier or MLPRegressor for ``workload`` on ``device``."""
    from gpubp import MLPClassifier, MLPRegressor

    kind = MLPClassifier if workload.loss == "cross_entropy" else MLPRegressor
    options: dict[str, Any] = {"device": device, "dtype": str(workload.dtype)}
    options["compiled"] = compiled
    if workload.precision not in ("float32", "float64"):
        if device == "cpu":
            raise SkippedError(f"there is no {workload.precision} on {device}")
        options["precision"] = workload.precision
    yield EstimatorLearner(partial(kind, **options), workload)


class _Session:
    remark = ""

    def __init__(self, trainer: Trainer, orders: Iterator[np.ndarray | HashedOrder]) -> None:
        self._trainer, self._orders, self._loss = trainer, orders, np.nan
        self.clock = clock_of(trainer.backend)
        self.synchronize = trainer.backend.synchronize

    def epoch(self) -> None:
        # Every epoch ends with its loss on the host: what the product does is what is timed.
        self._loss = self._trainer.epoch(next(self._orders))

    def loss(self) -> float:
        return self._loss
