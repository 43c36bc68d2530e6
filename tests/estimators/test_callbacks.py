"""Callbacks of scikit-learn: one task an epoch, and what they are told of it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from gpubp import MLPClassifier, MLPRegressor, load, save
from gpubp.estimators.callbacks import FitTasks
from gpubp.estimators.fit_estimators import fit_estimator
from gpubp.estimators.mlp import BaseMLP
from tests.estimators.cases import NO_CALLBACKS

callback = pytest.importorskip("sklearn.callback", reason=NO_CALLBACKS)
ProgressBar, ScoringMonitor = callback.ProgressBar, callback.ScoringMonitor

pytestmark = pytest.mark.filterwarnings(
    f"ignore::{ConvergenceWarning.__module__}.ConvergenceWarning"
)
RNG = np.random.RandomState(0)
X = RNG.normal(size=(60, 4))
LABELS = np.array(["a", "b", "c"])[X[:, :3].argmax(axis=1)]
Y = X @ [1.0, -2.0, 0.5, 0.0]
WEIGHTS = RNG.uniform(0.5, 2, 60)
DATA: dict[type, np.ndarray] = {MLPClassifier: LABELS, MLPRegressor: Y}
OPTIONS: dict[str, Any] = {
    "hidden_layer_sizes": (6,),
    "batch_size": 16,
    "learning_rate_init": 0.02,
    "max_iter": 4,
    "random_state": 0,
    "device": "cpu",
}


class Recorder:
    """Writes down what it is told; ``ask`` may look at a fitted estimator, and ask to stop."""

    max_propagation_depth = None

    def __init__(self, ask: Callable[[Any], bool | None] | None = None) -> None:
        self.log: list[str] = []
        self.rows: list[Any] = []
        self.ask = ask

    def setup(self, estimator: Any, context: Any) -> None:
        self.log.append("setup")

    def teardown(self, estimator: Any, context: Any) -> None:
        self.log.append("teardown")

    def on_fit_task_begin(self, estimator: Any, context: Any) -> None:
        self.log.append(f"begin {context.task_name} {context.task_id} of {context.max_subtasks}")

    def on_fit_task_end(
        self,
        estimator: Any,
        context: Any,
        *,
        X: Any = None,
        y: Any = None,
        metadata: Any = None,
        fitted_estimator: Any = None,
    ) -> bool | None:
        self.log.append(f"end {context.task_name} {context.task_id}")
        self.rows.append((X, y, metadata))
        if context.task_name == "fit" or fitted_estimator is None or self.ask is None:
            return None
        return self.ask(fitted_estimator)


class Counter:
    """Asks for nothing but that it goes on."""

    def __init__(self) -> None:
        self.epochs = 0

    def setup(self, estimator: Any, context: Any) -> None: ...
    def teardown(self, estimator: Any, context: Any) -> None: ...
    def on_fit_task_begin(self, estimator: Any, context: Any) -> None: ...
    def on_fit_task_end(self, estimator: Any, context: Any) -> None:
        self.epochs += context.task_name == "epoch"


def epochs(number: int, name: str = "epoch") -> list[str]:
    return [f"{what} {name} {k}{of}" for k in range(number) for what, of in BOTH]


BOTH = (("begin", " of 0"), ("end", ""))


@pytest.fixture(params=["cpu", "cuda"])
def device(request: pytest.FixtureRequest) -> str:
    if request.param == "cuda":
        request.getfixturevalue("host_cupy")
    return str(request.param)


@pytest.mark.parametrize("kind", DATA)
@pytest.mark.parametrize(("solver", "name"), [("adam", "epoch"), ("lbfgs", "lbfgs-iter")])
def test_a_fit_is_a_task_with_one_in_it_an_epoch(kind: type, solver: str, name: str) -> None:
    told = Recorder()
    model = kind(**OPTIONS, solver=solver).set_callbacks(told).fit(X, DATA[kind])
    assert model.n_iter_ == 4
    assert told.log == ["setup", "begin fit 0 of 4", *epochs(4, name), "end fit 0", "teardown"]


def test_a_fit_that_stops_has_fewer_tasks() -> None:
    told = Recorder()
    options = OPTIONS | {"max_iter": 50, "tol": 1e9, "n_iter_no_change": 2}
    model = MLPClassifier(**options).set_callbacks(told).fit(X, LABELS)
    assert (model.stopped_by_, model.n_iter_) == ("no_improvement", 4)
    assert told.log[1:-1] == ["begin fit 0 of 50", *epochs(4), "end fit 0"]


def test_an_iteration_that_comes_to_nothing_is_ended_without_weights() -> None:
    fitted: list[Any] = []
    told = Recorder(fitted.append)
    options = OPTIONS | {"max_iter": 50, "tol": 10.0}
    model = MLPRegressor(**options, solver="lbfgs").set_callbacks(told).fit(X, Y)
    assert model.stopped_by_ == "convergence"
    assert len(fitted) == model.n_iter_ < 50
    assert told.log[2:-2] == epochs(model.n_iter_ + 1, "lbfgs-iter")


@pytest.mark.parametrize("kind", DATA)
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_each_task_ends_with_the_weights_of_its_epoch(device: str, kind: type, solver: str) -> None:
    options = OPTIONS | {"device": device, "dtype": "float64", "solver": solver}
    scoring = "neg_log_loss" if kind is MLPClassifier else "r2"
    monitor, seen = ScoringMonitor(scoring=scoring), []
    watched = kind(**options).set_callbacks(monitor, Recorder(seen.append)).fit(X, DATA[kind])
    scores = [row[scoring] for row in monitor.get_logs().data]
    for k, fitted in enumerate(seen, start=1):
        alone = kind(**options | {"max_iter": k}).fit(X, DATA[kind])
        for name in ("coefs_", "intercepts_"):
            for got, wanted in zip(getattr(fitted, name), getattr(alone, name), strict=True):
                assert_array_equal(got, wanted)
        assert (fitted.n_iter_, fitted.loss_, fitted.device_) == (k, alone.loss_, alone.device_)
        assert_array_equal(fitted.predict(X), alone.predict(X))
    assert len(seen) == 4
    assert len(set(scores)) == 4  # of the fit, and of its epochs, the last of which is as the fit
    assert scores[0] == scores[-1]
    assert_array_equal(watched.coefs_[0], alone.coefs_[0])


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_a_callback_may_stop_the_training(solver: str) -> None:
    told = Recorder(lambda fitted: fitted.n_iter_ == 2)
    model = MLPClassifier(**OPTIONS, solver=solver).set_callbacks(told)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # of max_iter too: this was on purpose
        model.fit(X, LABELS)
    assert (model.stopped_by_, model.n_iter_) == ("callback", 2)
    name = "epoch" if solver == "adam" else "lbfgs-iter"
    assert told.log[2:] == [*epochs(2, name), "end fit 0", "teardown"]
    alone = MLPClassifier(**OPTIONS | {"max_iter": 2, "solver": solver}).fit(X, LABELS)
    assert_array_equal(model.coefs_[0], alone.coefs_[0])


def test_a_stopped_model_is_saved_and_loaded(tmp_path: Path) -> None:
    model = MLPClassifier(**OPTIONS).set_callbacks(Recorder(lambda fitted: True)).fit(X, LABELS)
    save(model, tmp_path / "stopped.safetensors")
    assert load(tmp_path / "stopped.safetensors").stopped_by_ == "callback"


def test_fitted_estimators_are_saved_and_go_on_as_if_training_had_ended(tmp_path: Path) -> None:
    seen: list[Any] = []

    def keep(fitted: Any) -> None:
        save(fitted, tmp_path / f"{fitted.n_iter_}.safetensors")
        seen.append(fitted)

    MLPClassifier(**OPTIONS).set_callbacks(Recorder(keep)).fit(X, LABELS)
    alone = MLPClassifier(**OPTIONS | {"max_iter": 2}).fit(X, LABELS)
    assert seen[1].loss_curve_ == alone.loss_curve_  # though training went on
    kept = load(tmp_path / "2.safetensors")
    assert_array_equal(kept.predict_proba(X), alone.predict_proba(X))
    for model in (seen[1].set_callbacks(), alone):
        model.set_params(shuffle=False).partial_fit(X, LABELS)
    assert_array_equal(seen[1].coefs_[0], alone.coefs_[0])


def test_rows_held_out_are_not_those_of_the_training() -> None:
    told = Recorder()
    model = MLPClassifier(**OPTIONS, early_stopping=True).set_callbacks(told)
    model.fit(X, LABELS, sample_weight=WEIGHTS)
    (rows, labels, metadata) = told.rows[0]
    assert rows.shape == (54, 4)
    kept = [int(np.flatnonzero((row == X).all(axis=1))[0]) for row in rows]
    assert len(set(kept)) == 54
    assert_array_equal(labels, LABELS[kept])
    assert_array_equal(metadata["sample_weight"], WEIGHTS[kept])
    told.rows.clear()
    model.fit(X, LABELS, X_val=X[:9], y_val=LABELS[:9])
    assert [len(rows) for rows, _, _ in told.rows] == [60] * 5
    assert told.rows[0][2] is None


def test_best_weights_are_put_back_after_a_callback_stopped() -> None:
    seen: list[Any] = []

    def ask(fitted: Any) -> bool:
        seen.append(fitted)
        scores = fitted.validation_scores_
        return scores[-1] < max(scores)

    options = OPTIONS | {"early_stopping": True, "learning_rate_init": 0.3, "max_iter": 40}
    model = MLPClassifier(**options).set_callbacks(Recorder(ask)).fit(X, LABELS)
    assert model.stopped_by_ == "callback"
    assert_array_equal(model.coefs_[0], seen[model.best_epoch_ - 1].coefs_[0])
    assert not np.array_equal(model.coefs_[0], seen[-1].coefs_[0])


@pytest.mark.parametrize(
    "form", [scipy.sparse.csc_matrix, scipy.sparse.coo_array, np.ndarray.tolist]
)
@pytest.mark.parametrize("early_stopping", [False, True])
def test_all_that_fit_takes_reaches_callbacks(form: Any, early_stopping: bool) -> None:
    monitor = ScoringMonitor(scoring="accuracy")
    model = MLPClassifier(**OPTIONS, early_stopping=early_stopping).set_callbacks(monitor)
    model.fit(form(X), LABELS.tolist())
    assert len(monitor.get_logs().data) == 5


def test_a_data_frame_reaches_callbacks_with_its_names() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=list("abcd"))
    for early_stopping in (False, True):
        monitor = ScoringMonitor(scoring="accuracy")  # an array would warn of missing names
        model = MLPClassifier(**OPTIONS, early_stopping=early_stopping).set_callbacks(monitor)
        model.fit(frame, pandas.Series(LABELS))
        assert len(monitor.get_logs().data) == 5


def test_rows_on_a_device_are_brought_to_the_host_for_those_who_ask(host_cupy: Any) -> None:
    import cupy

    with cupy.cuda.Device(0), cupy.cuda.Stream(non_blocking=True):
        rows, labels = cupy.asarray(X), cupy.asarray(np.unique(LABELS, return_inverse=True)[1])
        told = Recorder()
        options = OPTIONS | {"device": "cuda", "early_stopping": True}
        MLPClassifier(**options).set_callbacks(told).fit(rows, labels)
    (kept, targets, _) = told.rows[0]
    assert type(kept) is type(targets) is np.ndarray
    assert (kept.shape, targets.shape) == ((54, 4), (54,))


def test_each_partial_fit_is_a_fit_of_one_epoch() -> None:
    told = Recorder()
    model = MLPClassifier(**OPTIONS).set_callbacks(told)
    for _ in range(2):
        model.partial_fit(X, LABELS, classes=["a", "b", "c"])
    one = ["setup", "begin fit 0 of 1", *epochs(1), "end fit 0", "teardown"]
    assert told.log == one * 2


def test_callbacks_change_no_number() -> None:
    plain = MLPRegressor(**OPTIONS, early_stopping=True, dropout=0.2).fit(X, Y)
    watched = clone(plain).set_callbacks(ScoringMonitor(scoring="r2"), Counter()).fit(X, Y)
    assert watched.loss_curve_ == plain.loss_curve_
    assert_array_equal(watched.coefs_[0], plain.coefs_[0])


@pytest.mark.parametrize("wrap", [lambda m: m, lambda m: make_pipeline(StandardScaler(), m)])
def test_without_callbacks_nothing_is_done_for_them(
    monkeypatch: pytest.MonkeyPatch, wrap: Callable[[Any], Any]
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise AssertionError("there are no callbacks")

    monkeypatch.setattr(BaseMLP, "_init_callback_context", fail)
    monkeypatch.setattr(FitTasks, "__init__", fail)
    wrap(MLPClassifier(**OPTIONS)).fit(X, LABELS)
    model = MLPClassifier(**OPTIONS).set_callbacks(Counter()).set_callbacks()
    model.fit(X, LABELS).partial_fit(X, LABELS)


def test_weights_are_brought_to_the_host_for_those_who_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    fitted = FitTasks._fitted_attributes

    def count(self: FitTasks) -> dict[str, Any]:
        made.append(1)
        return fitted(self)

    monkeypatch.setattr(FitTasks, "_fitted_attributes", count)
    counter = Counter()
    model = MLPClassifier(**OPTIONS).set_callbacks(counter).fit(X, LABELS)
    assert (counter.epochs, len(made)) == (4, 0)
    model.set_callbacks(counter, Recorder(), ScoringMonitor(scoring="accuracy")).fit(X, LABELS)
    assert (counter.epochs, len(made)) == (8, 4)


def test_callbacks_of_searches_and_pipelines_reach_the_epochs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    told, monitor = Recorder(), ScoringMonitor(scoring="accuracy")
    network = MLPClassifier(**OPTIONS).set_callbacks(monitor)
    search = GridSearchCV(make_pipeline(StandardScaler(), network), GRID, cv=2)
    search.set_callbacks(told, ProgressBar(max_propagation_depth=None)).fit(X, LABELS)
    assert told.log[0] == "setup"
    assert told.log.count("teardown") == told.log.count("setup") == 1
    fits = 2 * 2 + 1
    assert sum(line.startswith("begin epoch") for line in told.log) == fits * 4
    rows = monitor.get_logs().data
    assert len(rows) == fits * 5
    assert len({row["parent_task_id_path"] for row in rows if row["task_name"] == "epoch"}) == fits
    assert "MLPClassifier" in capsys.readouterr().out
    assert not any(name.startswith("_callback") for name in vars(search.best_estimator_[-1]))


GRID = {"mlpclassifier__alpha": [1e-4, 1e-2]}


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_callbacks_are_torn_down_after_an_error(error: type[BaseException]) -> None:
    def fail(_: Any) -> None:
        raise error

    told = Recorder(fail)
    model = MLPClassifier(**OPTIONS).set_callbacks(told)
    if error is KeyboardInterrupt:
        with pytest.warns(UserWarning, match="interrupted by user"):
            model.fit(X, LABELS)
        assert (model.stopped_by_, model.n_iter_) == ("interrupt", 1)
        assert told.log[-2:] == ["end fit 0", "teardown"]
    else:
        with pytest.raises(error):
            model.fit(X, LABELS)
    assert told.log.count("teardown") == 1
    assert not hasattr(model, "_callback_fit_ctx")


def test_training_for_a_table_model_tears_down_too() -> None:
    told = Recorder()
    fit_estimator(MLPClassifier(**OPTIONS).set_callbacks(told), X, LABELS)
    assert told.log[-1] == "teardown"


def test_what_is_no_callback_is_refused() -> None:
    with pytest.raises(TypeError, match="FitCallback protocol"):
        MLPClassifier().set_callbacks(print)
