"""gpubp itself: an estimator for whole calls, a trainer for steps on a device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import chain, count
from typing import Any, cast

import numpy as np

from gpubp.backends.protocol import Array, Backend
from gpubp.backends.select import BackendUnavailableError, Compiled, get_backend
from gpubp.backprop.losses import LOSSES, Loss
from gpubp.bench.peers.learners import EstimatorLearner
from gpubp.bench.peers.protocol import Learner, Peer, Session
from gpubp.bench.results import SkippedError
from gpubp.bench.timing import Clock, HostClock, cupy_clock
from gpubp.bench.workloads import MOMENTUM, Workload
from gpubp.kernels.cublas.gemm import Precision
from gpubp.training.batches import HashedOrder
from gpubp.training.data import TrainingData
from gpubp.training.fit import Start, make_trainer
from gpubp.training.inference import infer_into
from gpubp.training.recipe import Recipe
from gpubp.training.trainer import Trainer


class Gpubp(Peer):
    """gpubp as its user installs it."""

    name = "gpubp"
    compiled: Compiled = "auto"

    def available(self, device: str) -> str | None:
        try:
            get_backend(device, compiled=self.compiled)
        except BackendUnavailableError as error:
            return str(error)
        return None

    @contextmanager
    def session(self, workload: Workload, device: str) -> Iterator[Session]:
        precision = precision_of(workload, device)
        backend = get_backend(device, precision=precision, compiled=self.compiled)
        used = backend.in_use(None, workload.batch * workload.network.n_parameters)
        with used, np.errstate(all="ignore"):
            yield _Session(backend, workload)

    @contextmanager
    def learner(self, workload: Workload, device: str) -> Iterator[Learner]:
        from gpubp import MLPClassifier, MLPRegressor

        kind = MLPClassifier if workload.loss == "cross_entropy" else MLPRegressor
        new = partial(
            kind,
            device=device,
            dtype=str(workload.dtype),
            precision=precision_of(workload, device),
            compiled=self.compiled,
        )
        yield EstimatorLearner(new, workload)


def precision_of(workload: Workload, device: str) -> Precision:
    """Return the precision of the factors of float32 products."""
    if workload.precision == "float64" or workload.precision == "float32":
        return "float32"
    if device == "cpu":
        raise SkippedError(f"there is no {workload.precision} on {device}")
    return workload.precision


def clock_of(backend: Backend) -> Clock:
    """Return the clock of the stream that ``backend.in_use`` makes the current one."""
    return HostClock() if backend.name == "cpu" else cupy_clock()


def loss_of(workload: Workload) -> Loss:
    """Return the workload's loss."""
    if workload.loss == "squared_error":
        return LOSSES["squared_error"]
    one_logit = workload.sizes[-1] == 1
    return LOSSES["sigmoid_cross_entropy" if one_logit else "softmax_cross_entropy"]


def new_trainer(backend: Backend, workload: Workload) -> Trainer:
    """Return the training of ``workload`` from its initial weights; nothing else makes one here."""
    start = Start(workload.initial_theta(), np.random.RandomState(0))
    return make_trainer(
        backend,
        workload.network,
        loss_of(workload),
        training_data(workload),
        recipe_of(backend, workload),
        start,
    )


def training_data(workload: Workload) -> TrainingData:
    """Return the workload's data as gpubp trains on them."""
    X, y = workload.data()
    if loss_of(workload).targets != "index":
        y = y.reshape(len(y), -1).astype(X.dtype, copy=False)
    return TrainingData(X, y, y, None)


def recipe_of(backend: Backend, workload: Workload, **more: Any) -> Recipe:
    """Return the workload's recipe. more : its other fields."""
    adam = workload.solver == "adam"
    return Recipe(
        batch_size=workload.batch,
        solver=workload.solver,
        solver_numbers={"epsilon": workload.epsilon} if adam else {"momentum": MOMENTUM},
        learning_rate=workload.rate,
        precision="float64"
        if workload.precision == "float64"
        else cast(Precision, backend.precision),
        **more,
    )


class _Session(Session):
    def __init__(self, backend: Backend, workload: Workload) -> None:
        self._backend, self._workload, self._loss = backend, workload, np.nan
        self.clock = clock_of(backend)
        self.restart()

    def restart(self) -> None:
        self._trainer = new_trainer(self._backend, self._workload)
        # The orders that all peers start with; from then on hashed ones, made on the device.
        hashed = (HashedOrder(self._workload.seed, epoch) for epoch in count())
        self._orders = chain(self._workload.orders(), hashed)

    def epoch(self) -> None:
        # Every epoch ends with its loss on the host: what the product does is what is timed.
        self._loss = self._trainer.epoch(next(self._orders))

    def loss(self) -> float:
        return self._loss

    def place(self, X: np.ndarray) -> Array:
        return self._backend.asarray(X)

    def forward(self, X: Array) -> Array:
        work, trainer = self._workload, self._trainer
        outputs = self._backend.empty((len(X), work.sizes[-1]), work.dtype)
        infer_into(outputs, self._backend, work.network, trainer.loss, trainer.parameters, X)
        return outputs

    def to_host(self, outputs: Array) -> np.ndarray:
        return self._backend.to_numpy(outputs)

    def synchronize(self) -> None:
        self._backend.synchronize()
