"""Checkpoints of fit: what they hold, when they are saved, and what they refuse."""

from __future__ import annotations

import os
import shutil
import signal
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.metrics import accuracy_score, f1_score, make_scorer

import gpubp
from gpubp import Checkpoint, CheckpointError, MLPClassifier, MLPRegressor, TableClassifier
from gpubp.backprop.network import Network
from gpubp.estimators import checkpoint_run
from gpubp.estimators.checkpoint import Interval, interval_of
from gpubp.estimators.checkpoint_file import (
    SavedTraining,
    is_damaged,
    read_checkpoint,
    write_checkpoint,
)
from gpubp.estimators.training_identity import differences, jsonable
from gpubp.training.epoch_plan import OptimizerState
from gpubp.training.fit import Fitted
from gpubp.training.history import History, Minimum
from gpubp.training.training_state import TrainingState

RNG = np.random.default_rng(0)
X = RNG.normal(size=(120, 5))
LABELS = (X[:, 0] * X[:, 1] > 0).astype(int)
NETWORK: dict[str, Any] = {"hidden_layer_sizes": (8,), "max_iter": 12, "random_state": 3}
Fit = Callable[..., Any]
STOPPING = {"early_stopping": True, "tol": 0.05, "n_iter_no_change": 2}
FITS: dict[str, tuple[type, dict[str, Any], np.ndarray]] = {
    "classifier": (MLPClassifier, {}, LABELS),
    "regressor": (MLPRegressor, {"early_stopping": True, "target_scaling": True}, X[:, 0]),
    "float64": (MLPClassifier, {"dtype": "float64", "learning_rate": "cosine"}, LABELS),
    "members": (MLPClassifier, {"n_members": 3, "member_rows": "bootstrap"}, LABELS),
    "folds": (MLPRegressor, {"n_members": 3, "member_rows": "folds"}, X[:, :2]),
    "members that stop": (MLPClassifier, {"n_members": 4, **STOPPING}, LABELS),
    "table": (TableClassifier, {"preset": "plain", "threads": 1}, LABELS),
}


@pytest.fixture(autouse=True)
def no_warnings() -> Any:
    """Ignore warnings of trainings that are interrupted or do not converge."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def fit(name: str, checkpoint: Any = None, **changed: Any) -> Any:
    kind, parameters, y = FITS[name]
    return kind(**NETWORK | parameters | changed).fit(X, y, checkpoint=checkpoint)


def check_same(got: Any, expected: Any) -> None:
    """Check that two fitted estimators have the same bits and curves."""
    got, expected = (getattr(each, "network_", each) for each in (got, expected))
    nets = [[each, *(each.members_ if each.n_members else ())] for each in (got, expected)]
    for one, other in zip(*nets, strict=True):
        for ours, theirs in zip(one.coefs_, other.coefs_, strict=True):
            assert_array_equal(ours, theirs)
        assert one.loss_curve_ == other.loss_curve_
    assert got.n_iter_ == expected.n_iter_
    for attribute in ("oob_score_", "oob_prediction_", "oob_decision_function_"):
        if hasattr(expected, attribute):
            assert_array_equal(getattr(got, attribute), getattr(expected, attribute))


@pytest.mark.parametrize("name", FITS)
def test_fits_that_are_interrupted_again_and_again(tmp_path: Path, name: str) -> None:
    expected = fit(name)
    path, runs = tmp_path / "state", 0

    def interrupt(saved: Path) -> None:
        signal.raise_signal(signal.SIGINT)

    while True:
        # The last checkpoint of an interrupted fit is saved by the interrupt itself.
        got = fit(name, Checkpoint(path, every="1epochs", on_save=interrupt))
        runs += 1
        network = getattr(got, "network_", got)
        if network.stopped_by_ != "interrupt":
            break
        assert path.exists()
    check_same(got, expected)
    assert runs > 2
    assert not path.exists()


def test_a_path_is_a_checkpoint(tmp_path: Path) -> None:
    check_same(fit("classifier", tmp_path / "state"), fit("classifier"))
    check_same(fit("classifier", str(tmp_path / "state")), fit("classifier"))
    assert not list(tmp_path.iterdir())


def kept(tmp_path: Path) -> Path:
    """Return a checkpoint of the classifier that nobody removes."""
    path = tmp_path / "kept"
    every = Checkpoint(
        tmp_path / "state", every="5epochs", on_save=lambda saved: shutil.copy(saved, path)
    )
    fit("classifier", every)
    return path


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"alpha": 0.5}, "alpha was 0.0001, now 0.5"),
        ({"max_iter": 13}, "max_iter was 12, now 13"),
        ({"random_state": 4}, "random_state was 3, now 4"),
    ],
)
def test_another_training_is_refused_or_begins_anew(
    tmp_path: Path, changed: dict[str, Any], said: str
) -> None:
    path = kept(tmp_path)
    with pytest.raises(CheckpointError, match=said):
        fit("classifier", Checkpoint(tmp_path / "state", resume=path), **changed)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        got = fit("classifier", Checkpoint(path), **changed)
    assert any(said in str(each.message) for each in caught)
    check_same(got, fit("classifier", **changed))


def test_parameters_that_change_no_number_may_differ(tmp_path: Path) -> None:
    to = Checkpoint(tmp_path / "state", resume=kept(tmp_path))
    check_same(fit("classifier", to, verbose=False, threads=2), fit("classifier"))


def test_a_checkpoint_that_is_asked_for_has_to_be_there(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such file"):
        fit("classifier", Checkpoint(tmp_path / "state", resume=tmp_path / "none"))


@pytest.mark.parametrize("seed", [None, np.random.RandomState(0)])
def test_a_fit_that_cannot_be_repeated(tmp_path: Path, seed: Any) -> None:
    with pytest.raises(ValueError, match="set it to a number, such as 0"):
        fit("classifier", tmp_path / "state", random_state=seed)


def test_lbfgs_has_no_checkpoints(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="got solver='lbfgs'; leave out checkpoint"):
        fit("classifier", tmp_path / "state", solver="lbfgs")


def test_a_second_signal_takes_effect_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pause, calls = checkpoint_run.CheckpointRun.pause, []

    def twice(self: Any, *args: Any) -> None:
        calls.append(args)
        if len(calls) == 2:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            calls.append("not reached")
        pause(self, *args)

    monkeypatch.setattr(checkpoint_run.CheckpointRun, "pause", twice)
    got = fit("classifier", Checkpoint(tmp_path / "state", every="1h"))
    assert got.stopped_by_ == "interrupt"
    assert "not reached" not in calls


def test_a_handler_of_the_caller_may_go_on(tmp_path: Path) -> None:
    came: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: came.append(number))
    saved: list[Path] = []

    def send(path: Path) -> None:
        saved.append(path)
        if len(saved) == 1:
            signal.raise_signal(signal.SIGTERM)

    try:
        got = fit("classifier", Checkpoint(tmp_path / "state", every="3epochs", on_save=send))
    finally:
        signal.signal(signal.SIGTERM, before)
    assert came == [signal.SIGTERM]
    check_same(got, fit("classifier"))


def test_checkpoints_take_at_most_a_hundredth_of_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(checkpoint_run, "perf_counter", lambda: now[0])
    run = checkpoint_run.CheckpointRun(Checkpoint(tmp_path / "state", every="10s"), None)
    run._taken = 0.5
    now[0] = 49.0
    assert not run._is_due()
    now[0] = 50.0
    assert run._is_due()
    run._taken = 0.01
    now[0] = 9.0
    assert not run._is_due()
    now[0] = 10.0
    assert run._is_due()


@pytest.mark.parametrize(
    ("every", "interval"),
    [
        (2.5, Interval(2.5, None)),
        ("90s", Interval(90.0, None)),
        ("1.5 h", Interval(5400.0, None)),
        ("5epochs", Interval(None, 5)),
        ("1 epoch", Interval(None, 1)),
    ],
)
def test_intervals(every: Any, interval: Interval) -> None:
    assert interval_of(every) == interval


@pytest.mark.parametrize(
    "every",
    [0, -1, True, None, "", "5", "0s", "1.5epochs", "epochs", "nan s", "9" * 400 + "epochs"],
)
def test_wrong_intervals(every: Any) -> None:
    with pytest.raises(ValueError, match="such as 60s, 5m or 1h, or a number of epochs"):
        interval_of(every)


def test_a_file_holds_every_number(tmp_path: Path) -> None:
    theta = RNG.normal(size=16).astype(np.float32)
    history = History(
        [0.1 + 0.2, np.inf], [np.nan, -np.inf], [1.0], best_score=-np.inf, stale=2, epochs=2
    )
    optimizer = OptimizerState(1e-3, 17, (theta + 1, theta + 2))
    sums = (np.array([0.1, 0.2]), np.empty(0))
    states = {
        1: TrainingState(theta, theta + 3, theta, optimizer, history, np.inf, 5, sums, True),
        3: TrainingState(theta, theta, None, optimizer, replace(history), 0.25),
    }
    done = replace(history, minimum=Minimum(1.0, 2, 3, 4, "why"))
    network = Network((2, 3, 1), ("relu",))
    ended = {0: Fitted(network, theta, optimizer, done, "cpu", "numpy", "float32", {"calls": 9})}
    given = SavedTraining({"a": 1}, {"--b": None}, {"c": [1]}, states, ended, {"device": "cpu"})
    write_checkpoint(tmp_path / "file", given)
    got = read_checkpoint(tmp_path / "file", network)
    np.testing.assert_equal(vars(got)["identity"], given.identity)
    assert (got.settings, got.notes, got.where) == (given.settings, given.notes, given.where)
    assert list(got.states) == [1, 3]
    for k, state in states.items():
        np.testing.assert_equal(_values(got.states[k]), _values(state))
    np.testing.assert_equal(_values(got.ended[0]), _values(ended[0]))


def _values(of: Any) -> Any:
    if hasattr(of, "__dataclass_fields__"):
        return {name: _values(getattr(of, name)) for name in of.__dataclass_fields__}
    return tuple(map(_values, of)) if isinstance(of, tuple) else of


def test_differences_in_words() -> None:
    before = {"a": 1, "b": "x", "the validation rows": "12", "gone": 3}
    now = {"a": 2, "b": None, "the validation rows": "34"}
    assert differences(before, now) == (
        "a was 1, now 2; b was x, now not given; the validation rows differ; "
        "gone was 3, now not given"
    )
    many = {str(k): k for k in range(9)}
    assert differences({}, many).endswith("3 was not given, now 3; and 5 others")
    assert differences(now, now) == ""


def model_file(path: Path) -> None:
    gpubp.save(fit("classifier"), path)


@pytest.mark.parametrize("resume", ["auto", "never"])
@pytest.mark.parametrize(
    ("write", "said"),
    [
        (lambda path: path.write_text("x,y\n1,2\n"), "is not a checkpoint of gpubp"),
        (model_file, "is a model"),
    ],
    ids=["table", "model"],
)
def test_no_file_but_a_checkpoint_is_replaced(
    tmp_path: Path, write: Callable[[Path], Any], said: str, resume: str
) -> None:
    path = tmp_path / "file"
    write(path)
    before = path.read_bytes()
    with pytest.raises(CheckpointError, match=f"{said}.*give another path"):
        fit("classifier", Checkpoint(path, resume=resume))
    assert path.read_bytes() == before


@pytest.mark.parametrize("data", [b"", b"\0" * 50, 40], ids=["empty", "zeros", "cut"])
def test_a_damaged_checkpoint_is_put_aside(tmp_path: Path, data: bytes | int) -> None:
    path, older = tmp_path / "file", tmp_path / "file.old"
    if isinstance(data, int):
        write_checkpoint(path, SavedTraining({}))
        data = path.read_bytes()[:data]
    path.write_bytes(data)
    older.write_text("of the user")
    with pytest.warns(UserWarning, match=r"file is damaged.* begins anew.* kept as .*file\.old2"):
        fitted = fit("classifier", path)
    check_same(fitted, fit("classifier"))
    assert (tmp_path / "file.old2").read_bytes() == data
    assert older.read_text() == "of the user"
    with pytest.raises(CheckpointError, match=r"file\.old2 is damaged.* give another one"):
        fit("classifier", Checkpoint(path, resume=f"{path}.old2"))


@pytest.mark.parametrize("data", [b"\x40\1\0\0\0", b"\x40\1\0\0\0\0\0\0{", b"\0" * 99])
def test_files_that_are_damaged(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "file").write_bytes(data)
    assert is_damaged(tmp_path / "file")


@pytest.mark.parametrize(
    "data", [b"x", b"a,b\n1,2\n", b'{"a": 1}', b'\x40\1\0\0\0\0\0\0{"w": {}}', b"\0\0\0\0\0\0\0\0x"]
)
def test_files_that_are_of_others(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "file").write_bytes(data)
    assert not is_damaged(tmp_path / "file")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("none/state", "does not exist; create it or choose another path"),
        ("", "it is a directory; add a file name"),
        ("pipe", "is not a file, so it can hold no checkpoint"),
    ],
)
def test_a_path_for_no_file_is_refused_before_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    with pytest.raises(CheckpointError, match=said):
        fit("classifier", path)
    assert Path("pipe").is_fifo()


def test_a_link_to_another_disk(tmp_path: Path) -> None:
    link, file = tmp_path / "link", tmp_path / "file"
    link.symlink_to(file)
    seen: list[bool] = []

    def saved(path: Path) -> None:
        seen.append(file.is_file() and link.is_symlink())

    fit("classifier", Checkpoint(link, every="3epochs", on_save=saved))
    assert seen
    assert all(seen)
    assert not list(tmp_path.iterdir())  # nor a link that leads nowhere


@pytest.mark.parametrize("name", ["classifier", "members", "table"])
def test_a_signal_in_the_last_epoch_is_not_lost(tmp_path: Path, name: str) -> None:
    came: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: came.append(number))
    pause, calls = checkpoint_run.CheckpointRun.pause, []

    def last(self: Any, *args: Any) -> None:
        pause(self, *args)
        calls.append(args)
        if len(calls) == NETWORK["max_iter"] - 1:  # the last one: the signal finds no other
            signal.raise_signal(signal.SIGTERM)

    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(checkpoint_run.CheckpointRun, "pause", last)
            got = fit(name, tmp_path / "state")
    finally:
        signal.signal(signal.SIGTERM, before)
    assert came == [signal.SIGTERM]
    check_same(got, fit(name))


def test_one_checkpoint_for_two_tables(tmp_path: Path) -> None:
    both = Checkpoint(tmp_path / "state")
    fit("table", both)
    fit("table", both, max_iter=5)
    assert both.settings == {}


class Odd:
    """A parameter without a JSON form."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __repr__(self) -> str:
        return f"<Odd {self.value} at {hex(id(self))}>"


def test_objects_of_one_class_may_differ() -> None:
    assert jsonable(Odd(1)) == jsonable(Odd(1)) == "<Odd 1>"
    assert jsonable(Odd(1)) != jsonable(Odd(2))
    scorers = [jsonable(make_scorer(of)) for of in (accuracy_score, f1_score)]
    assert scorers[0] != scorers[1]
    assert jsonable(accuracy_score) == "sklearn.metrics._classification.accuracy_score"
