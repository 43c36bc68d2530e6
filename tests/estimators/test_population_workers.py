"""Fits whose networks are trained by workers: processes of this machine, or stand-ins for them."""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import CancelledError
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from typing import Any

import joblib
import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy.sparse import csr_array

from gpubp import MLPClassifier, MLPRegressor
from gpubp.backends.select import BackendUnavailableError
from gpubp.backprop.losses import LABEL_WEIGHTED, LOSSES, make_loss
from gpubp.estimators import fit_estimators, packed_tasks, population_workers
from gpubp.estimators.fit_estimators import Fit, Outcome, fit_together
from gpubp.estimators.packed_tasks import Failure, packed, shared_arrays, train_packed
from gpubp.estimators.population_workers import Workers, active_workers
from gpubp.training.deadline import Deadline
from gpubp.training.history import Epoch, History
from gpubp.training.population_tasks import BackendChoice, Task
from tests.cuda_stand_in.kernels import skip_without_compiler
from tests.estimators.cases import BASE, CLASSES, PROBLEMS, WEIGHTS, X, with_callbacks
from tests.training.test_population import member

RATES = (0.003, 0.01, 0.05)


def models(kind: type = MLPClassifier, **parameters: Any) -> list[Any]:
    given = {**BASE, "max_iter": 5, **parameters}
    return [kind(**{**given, "learning_rate_init": rate}) for rate in RATES]


def fitted(of: Sequence[Any], X: Any = X, y: Any = CLASSES, **options: Any) -> dict[int, Outcome]:
    """Fit ``of`` together; return the outcomes."""
    outcomes: dict[int, Outcome] = {}
    assert not fit_together([Fit(each, X, y, **options) for each in of], outcomes.__setitem__)
    return outcomes


def assert_same(some: Sequence[Any], others: Sequence[Any]) -> None:
    for one, other in zip(some, others, strict=True):
        for name in ("coefs_", "intercepts_"):
            for a, b in zip(getattr(one, name), getattr(other, name), strict=True):
                assert_array_equal(a, b, strict=True)
        assert one.loss_curve_ == other.loss_curve_
        assert one.validation_scores_ == other.validation_scores_


class Stand(Workers):
    """Two workers in this process. Their inputs and outputs are pickled as those of others."""

    def __init__(self) -> None:
        super().__init__(None, 2)
        self.trained: list[list[int]] = []
        self.closed = 0

    def results(self, choice: Any, threads: Any, tasks: Any) -> Generator[Any, None, None]:
        assert threads == self.threads(None)
        try:
            for k in reversed(range(len(tasks))):  # in any order
                self.trained.append(tasks[k].places)
                sent = pickle.loads(pickle.dumps((choice, threads, tasks[k].pickled)))
                given = [pickle.loads(pickle.dumps(of)) for of in tasks[k].given]
                yield k, pickle.loads(pickle.dumps(self.outcome(k, *sent, *given)))
        finally:
            self.closed += 1

    def outcome(self, k: int, *task: Any) -> Any:
        return train_packed(*task)


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Let `fit_together` use these workers; return them. Fits that start over fail the test."""

    def use(workers: Workers, *, starts_over: bool = False) -> Workers:
        if not starts_over:
            monkeypatch.setattr(
                fit_estimators, "_train_one_by_one", lambda *_: pytest.fail("a fit started over")
            )
        monkeypatch.setattr(fit_estimators, "active_workers", lambda note: workers)
        return workers

    return use


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of networks of each population that is trained in this process."""
    found: list[int] = []
    train = population_workers.train_population

    def counting(backend: Any, members: Any, *others: Any, **options: Any) -> bool:
        found.append(len(members))
        return train(backend, members, *others, **options)

    monkeypatch.setattr(population_workers, "train_population", counting)
    return found


CASES: dict[str, tuple[type, dict[str, Any], Any, Any]] = {
    "classes": (MLPClassifier, {}, X, CLASSES),
    "sparse": (MLPClassifier, {}, csr_array(X), CLASSES),
    "compiled": (MLPClassifier, {"compiled": True, "early_stopping": True}, X, CLASSES),
    "score of its own": (MLPClassifier, {"early_stopping": True}, X, CLASSES),
    "loss as score": (MLPClassifier, {"early_stopping": True, "scoring": "loss"}, X, CLASSES),
    "scorer": (MLPClassifier, {"early_stopping": True, "scoring": "f1_macro"}, X, CLASSES),
    "function": (
        MLPClassifier,
        {"early_stopping": True, "scoring": lambda model, X, y: model.score(X, y)},
        *(X, CLASSES),
    ),
    "multi-label": (MLPClassifier, {"dropout": 0.2}, X, PROBLEMS["multi-label"][1]),
    "huber": (MLPRegressor, {"loss": "huber", "huber_delta": 0.3}, X, PROBLEMS["regression"][1]),
    "lbfgs": (MLPRegressor, {"solver": "lbfgs"}, X, PROBLEMS["regression"][1]),
    "loss of one's own": (
        MLPRegressor,
        {"loss": lambda Z, Y: (((Z - Y) ** 4).sum(axis=1), 4 * (Z - Y) ** 3)},
        *(X, PROBLEMS["regression"][1]),
    ),
    "members": (MLPClassifier, {"n_members": 3, "early_stopping": True}, X, CLASSES),
}


@pytest.mark.parametrize("large", [1, 1 << 16])
@pytest.mark.parametrize("case", CASES)
def test_workers_train_the_same_networks(
    case: str, large: int, use: Any, here: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packed_tasks, "LARGE", large)
    kind, parameters, rows, y = CASES[case]
    if case == "compiled":
        skip_without_compiler()
    if large > 1 and case == "members":
        parameters = {**parameters, "member_rows": "bootstrap"}
    local, remote = models(kind, **parameters), models(kind, **parameters)
    fitted(local, rows, y)
    stand = use(Stand())
    outcomes = fitted(remote, rows, y)
    assert all(isinstance(of, History) for of in outcomes.values()), outcomes
    assert len(stand.trained) > 1
    assert here == []
    if parameters.get("n_members"):
        local, remote = ([m for of in each for m in of.members_] for each in (local, remote))
    if parameters.get("solver") == "lbfgs":
        for one, other in zip(local, remote, strict=True):
            assert_array_equal(one.coefs_[0], other.coefs_[0], strict=True)
    else:
        assert_same(remote, local)


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_validation_rows_and_weights_are_sent(weights: Any, use: Any) -> None:
    local, remote = models(early_stopping=True), models(early_stopping=True)
    given = X[::3], CLASSES[::3], None
    fitted(local, sample_weight=weights, given=given)
    use(Stand())
    fitted(remote, sample_weight=weights, given=given)
    assert_same(remote, local)


def test_networks_that_share_a_generator_get_their_own(use: Any) -> None:
    """The global generator is copied to the tasks, which all would draw the same from it."""
    use(Stand())

    def orders() -> list[Any]:
        np.random.seed(1)
        same = [MLPClassifier(**{**BASE, "random_state": None}, dropout=0.5) for _ in range(3)]
        fitted(same)
        return same

    first, again = orders(), orders()
    assert_same(first, again)
    assert len({each.loss_ for each in first}) == 3


def test_equal_arrays_are_sent_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed_tasks, "LARGE", 500)
    members = [member(k % 2, held=True) for k in range(4)]
    tasks = list(packed(members, [Task([0, 1], False), Task([2], True), Task([3], True)]))
    assert [task.places for task in tasks] == [[0, 1], [2], [3]]
    shared = shared_arrays(tasks)
    whole = members[0].data.X.whole
    assert sum(of.shape == whole.shape for of in shared) == 1
    kept = [id(of) for task in tasks for of in task.given if of.shape == whole.shape]
    assert len(kept) == 3
    assert len(set(kept)) == 1
    assert all(whole.tobytes() not in task.pickled for task in tasks)


@pytest.mark.parametrize("name", [*LOSSES, LABEL_WEIGHTED.name, "parameters", "changed"])
def test_losses_of_gpubp_are_sent_by_name(name: str) -> None:
    changed = replace(LOSSES["huber"], clips=True)
    special = {"parameters": make_loss("huber", delta=0.1), "changed": changed}
    loss = special.get(name) or {**LOSSES, LABEL_WEIGHTED.name: LABEL_WEIGHTED}[name]
    (task,) = packed([member(0, loss=loss)], [Task([0], False)])
    ((copy,), _) = packed_tasks._Unpickler(task.pickled, task.given).load()
    assert copy.loss == loss
    assert (copy.loss is loss) == (name not in special)
    assert (copy.loss.step is loss.step) == (name != "changed")


def test_a_time_limit_is_sent_with_the_seconds_that_are_left(use: Any) -> None:
    long = models(max_iter=10**6, n_iter_no_change=10**6)
    use(Stand())
    fitted(long, on_epoch=Deadline(0.3).on_epoch)
    assert {each.n_iter_ < 10**6 for each in long} == {True}


def test_fits_with_listeners_are_trained_here(use: Any, here: list[int], capsys: Any) -> None:
    seen: list[int] = []

    def on_epoch(epoch: Epoch) -> bool:
        seen.append(epoch.number)
        return False

    stand = use(Stand())
    fitted(models(), on_epoch=on_epoch)
    assert sorted(seen) == sorted([*range(1, 6)] * 3)
    fitted(models(verbose=True))
    assert capsys.readouterr().out.count("Iteration 5") == 3
    assert (stand.trained, here) == ([], [3, 3])


@with_callbacks
def test_fits_with_callbacks_are_trained_here(use: Any, here: list[int]) -> None:
    from sklearn.callback import ProgressBar

    followed = models()
    for each in followed[:2]:
        each.set_callbacks(ProgressBar())
    stand = use(Stand())
    fitted(followed)
    assert (sum(map(len, stand.trained)), here) == (1, [2])


class Lost(Stand):
    """Workers that are lost with their first task, so many times."""

    def __init__(self, error: Exception, times: int) -> None:
        super().__init__()
        self.error, self.times = error, times

    def results(self, *task: Any) -> Generator[Any, None, None]:
        if self.times:
            self.times -= 1
            raise self.error
        yield from super().results(*task)


class KilledWorker(Exception):
    """Has the name of the error of distributed."""


LOSSES_OF_WORKERS = [CancelledError("a"), BrokenProcessPool("b"), OSError("c"), KilledWorker("d")]


@pytest.mark.parametrize("error", LOSSES_OF_WORKERS, ids=lambda error: type(error).__name__)
def test_tasks_of_lost_workers_are_sent_again(error: Exception, use: Any, here: list[int]) -> None:
    local, remote = models(), models()
    fitted(local)
    use(Lost(error, 2))
    fitted(remote)
    assert_same(remote, local)
    assert here == []


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError("gone"), "the workers were lost (OSError: gone)"),
        (ModuleNotFoundError("no gpubp"), "cannot train (ModuleNotFoundError: no gpubp)"),
    ],
)
def test_without_workers_the_rest_is_trained_here(
    error: Exception, reason: str, use: Any, here: list[int]
) -> None:
    local, remote = models(), models()
    fitted(local)
    use(Lost(error, 3))
    rest = "; the networks that are left are trained in this process"
    with pytest.warns(UserWarning, match=re.escape(reason + rest)) as warned:
        fitted(remote)
    assert len(warned) == 1
    assert_same(remote, local)
    assert here == [3]


def test_workers_without_the_backend(use: Any, here: list[int]) -> None:
    class Without(Stand):
        def outcome(self, k: int, *task: Any) -> Any:
            return Failure(BackendUnavailableError("no compiler"))

    stand = use(Without())
    with pytest.warns(UserWarning, match="cannot train .no compiler."):
        fitted(models())
    assert here == [3]
    assert stand.closed == 1


def test_an_error_of_a_task_leaves_the_others(use: Any, here: list[int]) -> None:
    """Its fits are trained again here, one by one."""
    local, remote = models(), models()
    fitted(local)

    class Failing(Stand):
        def outcome(self, k: int, *task: Any) -> Any:
            return Failure(MemoryError("none")) if k == 1 else train_packed(*task)

    stand = use(Failing(), starts_over=True)
    outcomes = fitted(remote)
    assert len(stand.trained) == 3
    assert len(outcomes) == 3
    assert_same(remote, local)
    assert here == []


def test_an_error_that_cannot_be_pickled_is_named() -> None:
    class Own(Exception):
        def __reduce__(self) -> Any:
            raise TypeError

    def score(outputs: np.ndarray, loss: float) -> float:
        raise Own("why")

    of = member(0, held=True)
    assert of.held is not None
    of = replace(of, held=of.held._replace(score=score))
    (task,) = packed([of], [Task([0], False)])
    outcome = train_packed(BackendChoice("cpu", "numpy", "float32"), 1, task.pickled, *task.given)
    assert isinstance(outcome, Failure)
    assert str(outcome.error) == "Own: why"


def test_a_network_that_cannot_be_pickled_is_trained_here(use: Any, here: list[int]) -> None:
    def values() -> Iterator[int]:
        yield 1

    generator = values()

    def scoring(model: Any, X: Any, y: Any) -> float:
        assert generator is not None
        return float(model.score(X, y))

    use(Stand())
    with pytest.warns(UserWarning, match="a network cannot be sent to another process"):
        fitted(models(early_stopping=True, scoring=scoring))
    assert here == [3]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interrupt_stops_the_other_tasks(error: type[BaseException], use: Any) -> None:
    ended: list[int] = []

    def on_end(k: int, outcome: Outcome) -> None:
        ended.append(k)
        if len(ended) == 2:
            raise error

    stand = use(Stand())
    call = lambda: fit_together([Fit(of, X, CLASSES) for of in models()], on_end)  # noqa: E731
    if error is KeyboardInterrupt:
        assert call()
    else:
        with pytest.raises(RuntimeError):
            call()
    assert (len(ended), stand.closed, len(stand.trained)) == (2, 1, 2)


def test_an_interrupt_of_a_worker_is_one_of_the_search(use: Any) -> None:
    class Interrupted(Stand):
        def outcome(self, k: int, *task: Any) -> Any:
            return [None] if k == 1 else train_packed(*task)

    use(Interrupted())
    ended: list[int] = []
    fits = [Fit(of, X, CLASSES) for of in models()]
    assert fit_together(fits, lambda k, outcome: ended.append(k))
    assert len(ended) == 1


def test_which_backends_of_joblib_are_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert active_workers(pytest.fail) is None
        for name, n_jobs in (("loky", 1), ("threading", 3), ("sequential", 2)):
            with joblib.parallel_config(name, n_jobs=n_jobs):
                assert active_workers(pytest.fail) is None
        with joblib.parallel_config("loky", n_jobs=3):
            found = active_workers(pytest.fail)
    assert found is not None
    assert found.count == 3
    monkeypatch.setattr(population_workers, "usable_cores", lambda: 5)
    assert (found.threads(None), found.threads(7)) == (1, 7)
    monkeypatch.setattr(population_workers, "usable_cores", lambda: 6)
    assert found.threads(None) is None  # joblib's limit, of 2, holds in each process
    monkeypatch.setenv("GPUBP_THREADS", "4")
    assert found.threads(None) == 4


def test_no_workers_within_a_worker() -> None:
    with joblib.parallel_config("loky", n_jobs=2):
        joblib.parallel.get_active_backend()[0].nesting_level = 1
        assert active_workers(pytest.fail) is None
