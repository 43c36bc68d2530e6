"""`gpubp train --from`: the training goes on from a model on the rows of another table."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import gpubp
from gpubp.__main__ import main
from tests.cli.running import FAST, LABELS, ROOT, Run, X, Y, features, one_line, write_csv

KIND = np.array(["u", "v", "w"])[np.arange(40) % 3]
TUNED = ("--preset", "tuned", "--hidden", "6", "--epochs", "3")
ON = ("--from", "m.st", "-o", "n.st", "--preset", "auto")  # auto is the preset of the model


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model m.st, and new rows, of each task."""
    folder = tmp_path_factory.mktemp("made")
    old, new = (str(folder / f"{name}.csv") for name in ("old", "new"))
    for task, options in (("classes", FAST), ("numbers", TUNED)):
        (folder / task).mkdir()
        if task == "classes":
            write_csv(old, **features(), kind=KIND, y=LABELS)
            more = {"zip": KIND, "y": LABELS}
            write_csv(new, kind=KIND[::-1], **features(X[::-1] * 1.1), **more)
        else:
            write_csv(old, **features(), y=Y)
            write_csv(new, **features(X * 1.2), y=3 * Y)
        assert main(["train", old, *options, "--quiet", "-o", str(folder / task / "m.st")]) == 0
        shutil.copy(new, folder / task / "new.csv")
    return folder


@pytest.fixture
def new(run: Run, made: Path) -> Run:
    """Run in a folder with new rows in new.csv and a classifier m.st of other rows."""
    shutil.copytree(made / "classes", ".", dirs_exist_ok=True)
    return run


@pytest.fixture
def numbers(run: Run, made: Path) -> Run:
    """The same for a regression, with the tuned preset."""
    shutil.copytree(made / "numbers", ".", dirs_exist_ok=True)
    return run


def weights(path: str) -> np.ndarray:
    network = gpubp.load(path).network_
    return np.concatenate([W.ravel() for W in network.coefs_])


def test_training_goes_on_from_the_weights(new: Run) -> None:
    result = new("train", "new.csv", *ON, "--lr", "1e-12", "--epochs", "1")
    assert_allclose(weights("n.st"), weights("m.st"), rtol=1e-3, atol=1e-6)
    for line in (
        "classification: as in m.st, target 'y'",
        "new.csv has a column that m.st does not know, 'zip'; it is ignored",
        "starting from the weights of m.st, trained for 3 epochs",
    ):
        assert line in " ".join(result.out.split())
    old, found = gpubp.load("m.st"), gpubp.load("n.st")
    assert found.encoder_.to_header() == old.encoder_.to_header()
    new("train", "new.csv", *ON, "--epochs", "1")
    assert np.abs(weights("n.st") - weights("m.st")).max() > 1e-3


def test_the_same_as_in_python(new: Run) -> None:
    new("train", "new.csv", *ON, "--test-size", "0")
    model = gpubp.load("m.st").set_params(warm_start=True)
    vars(model.network_).pop("_history")
    table = gpubp.read_table("new.csv")
    model.fit_table(table, ["y"])
    assert_array_equal(
        np.concatenate([W.ravel() for W in model.network_.coefs_]), weights("n.st"), strict=True
    )


def test_options_of_the_first_training_stay_and_new_ones_replace_them(run: Run) -> None:
    first = ("--epochs", "3", "--batch-size", "8", "--dropout", "0.2", "--seed", "5")
    run("train", "iris", "--hidden", "6", *first, "--time-limit", "1h", "-o", "m.st")
    again = ("--epochs", "2", "--validation-size", "0.3", "--class-weight", "balanced")
    run("train", "iris", *ON, *again, "--threads", "1")
    found = gpubp.load("n.st").network_.get_params()
    wanted = {"max_iter": 2, "batch_size": 8, "dropout": 0.2, "validation_fraction": 0.3}
    wanted |= {"class_weight": "balanced", "random_state": 0, "threads": 1, "warm_start": False}
    assert {name: found[name] for name in wanted} == wanted
    assert "time_limit" not in gpubp.load("n.st").about_


def test_another_solver_brings_its_own_numbers(run: Run) -> None:
    run("train", "iris", *FAST, "--solver", "sgd", "--momentum", "0.5", "--lr", "0.2", "-o", "m.st")
    run("train", "iris", *ON, "--momentum", "0.6")
    found = gpubp.load("n.st").network_
    assert (found.solver, found.momentum, found.learning_rate_init) == ("sgd", 0.6, 0.2)
    run("train", "iris", *ON, "--solver", "adam")
    found = gpubp.load("n.st").network_
    assert (found.solver, found.momentum, found.learning_rate_init) == ("adam", 0.9, 0.001)


def test_the_default_preset_goes_on(numbers: Run) -> None:
    events = numbers("train", "new.csv", *ON, "--json").events
    assert events[-1]["started_from"] == {"model": "m.st", "epochs": 3}
    assert events[-1]["preset"] == "tuned"
    assert events[-1]["ensemble"]["members"] == 4
    assert {event["epoch"] for event in events if event["event"] == "epoch"} == {1, 2, 3}
    network = gpubp.load("n.st").network_
    assert len(network.loss_curve_) == 3
    assert network.target_high_ > 2 * Y.max()
    assert network.target_low_ <= gpubp.load("m.st").network_.target_low_


def test_inspect_names_the_start_and_adds_up_epochs(numbers: Run) -> None:
    numbers("train", "new.csv", *ON)
    out = numbers("train", "new.csv", "--from", "n.st", "-o", "n.st", "--preset", "auto")
    assert "n.st replaces a model of " in out.err
    lines = numbers("inspect", "n.st").out.splitlines()
    assert "start       the weights of n.st, after 6 epochs" in lines
    described = numbers("inspect", "n.st", "--json").events[0]
    assert described["started_from"] == {"model": "n.st", "epochs": 6}
    assert numbers("inspect", "m.st", "--json").events[0]["started_from"] is None
    assert "start " not in numbers("inspect", "m.st").out
    numbers("predict", "n.st", "new.csv")


def test_classes_that_the_rows_lack_stay(new: Run) -> None:
    write_csv("new.csv", **features(), kind=KIND, y=np.where(LABELS == "no", "no", "yes"))
    result = new("train", "new.csv", *ON)
    text = "no training row is of 'may, be', which m.st knows, so the network may forget this class"
    assert text in " ".join(result.out.split())
    assert gpubp.load("n.st").classes_.tolist() == ["may, be", "no", "yes"]
    assert "may, be" in new("predict", "n.st", "new.csv", "--proba").out.splitlines()[0]


def test_categories_keep_their_spelling(run: Run) -> None:
    """The categories 1.10 and 1.1 differ, also in a table where all of them are numbers."""
    code = np.array(["1.10", "1.1", "x"])[np.arange(40) % 3]
    write_csv("old.csv", **features(), code=code, y=Y)
    run("train", "old.csv", *FAST, "-o", "m.st")
    found = []
    for other in ("1.10", "1.1"):
        write_csv("new.csv", **features(), code=np.where(code == "x", "1.1", other), y=Y)
        run("train", "new.csv", *ON, "--quiet")
        found.append(weights("n.st"))
    assert not np.array_equal(*found)


def test_options_in_a_file_may_be_those_of_the_first_training(run: Run) -> None:
    write_csv("old.csv", **features(), kind=KIND, y=Y)
    Path("run.toml").write_text('drop = ["a"]\ntarget = "y"\nhidden = [6]\nepochs = 2\n')
    run("train", "old.csv", "--config", "run.toml", "-o", "m.st")
    run("train", "old.csv", "--config", "run.toml", *ON)
    assert gpubp.load("n.st").about_["started_from"] == {"model": "m.st", "epochs": 2}


CONTRADICTIONS: list[tuple[tuple[str, ...], str]] = [
    (("--hidden", "7,2"), "--hidden 7,2 contradicts m.st, which has 6; leave the option out, or"),
    (("--hidden", "none"), "--hidden none contradicts m.st, which has 6"),
    (("--activation", "tanh"), "--activation tanh contradicts m.st, which has relu"),
    (("--dtype", "float64"), "--dtype float64 contradicts m.st, which has float32"),
    (("--scaling", "robust"), "--scaling robust contradicts m.st, which has standard"),
    (("--preset", "tuned"), "--preset tuned contradicts m.st, which has plain"),
    (("--members", "3"), "--members 3 contradicts m.st, which has 1"),
    (("--member-rows", "folds"), "--member-rows folds is for an ensemble, but m.st is one network"),
    (("--target", "zip"), "--target zip contradicts m.st, which has y"),
    (("--task", "regression"), "--task regression contradicts m.st, which has classification"),
    (("--loss", "huber"), "--loss is for regression, but this is a classification"),
    (("--drop", "a"), "--drop names 'a', but m.st was trained without --drop, and its columns"),
    (("--features", "a,b"), "--features names 'a', 'b', but m.st was trained without --features"),
    (("--categorical", "a"), "--categorical names 'a', but m.st was trained without --categorical"),
    (("--class-weight", "new=2"), "--class-weight has 'new', which is not a label of the target"),
]


@pytest.mark.parametrize(("options", "message"), CONTRADICTIONS, ids=lambda of: str(of)[:30])
def test_options_that_contradict_the_model(
    new: Run, options: tuple[str, ...], message: str
) -> None:
    before = Path("m.st").read_bytes()
    preset = () if "--preset" in options else ("--preset", "auto")
    result = new("train", "new.csv", "--from", "m.st", "-o", "m.st", *preset, *options, code=2)
    assert message in one_line(result)
    assert Path("m.st").read_bytes() == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ("--solver", "sgd"),
            "--solver sgd contradicts m.st, which has preset tuned and so solver",
        ),
        (("--preset", "plain"), "--preset plain contradicts m.st, which has tuned"),
        (("--loss", "huber"), "--loss huber contradicts m.st, which has squared_error"),
        (("--members", "1"), "--members 1 contradicts m.st, which has 4"),
        (("--class-weight", "balanced"), "--class-weight is for classification"),
        (("--members", "4", "--member-rows", "folds"), ""),
        (("--loss", "squared_error", "--scaling", "robust", "--hidden", "6"), ""),
    ],
)
def test_options_of_a_tuned_regression(
    numbers: Run, options: tuple[str, ...], message: str
) -> None:
    preset = () if "--preset" in options else ("--preset", "auto")
    command = ("train", "new.csv", "--from", "m.st", "-o", "n.st", *preset, *options)
    if message:
        assert message in one_line(numbers(*command, code=2))
    else:
        numbers(*command)


def test_a_quantile_of_another_level_is_refused(run: Run) -> None:
    write_csv("old.csv", **features(), y=Y)
    run("train", "old.csv", *FAST, "--loss", "quantile", "--quantile", "0.9", "-o", "m.st")
    found = run("train", "old.csv", *ON, "--loss", "quantile", "--quantile", "0.8", code=2)
    assert "--quantile 0.8 contradicts m.st, which has 0.9" in one_line(found)
    run("train", "old.csv", *ON)
    assert gpubp.load("n.st").network_.quantile == 0.9


def columns(**changed: Any) -> dict[str, Any]:
    return features() | {"kind": KIND, "y": LABELS} | changed


TABLES: dict[str, tuple[dict[str, Any], str]] = {
    "missing": (
        {name: cells for name, cells in columns().items() if name != "b"},
        "new.csv has no column 'b'; it has 'a', 'c', 'kind', 'y'; m.st was trained with this",
    ),
    "two missing": (
        {name: cells for name, cells in columns().items() if name not in "bc"},
        "lacks 2 columns 'b', 'c'; it has 'a', 'kind', 'y'; m.st was trained with these columns",
    ),
    "no target": (
        {name: cells for name, cells in columns().items() if name != "y"},
        "new.csv has no column 'y'",
    ),
    "text for numbers": (columns(a=["much"] * 40), "column 'a': 'much' is not a number ("),
    "new label": (
        columns(y=np.where(X[:, 0] > 0, "no", "never")),
        "'never' is not a label of the model, which knows 'may, be', 'no', 'yes'",
    ),
    "one label": (columns(y=["no"] * 40), "the target has one class only, 'no'"),
}


@pytest.mark.parametrize("case", TABLES)
def test_tables_that_do_not_fit_the_model(new: Run, case: str) -> None:
    cells, message = TABLES[case]
    write_csv("new.csv", **cells)
    assert message in one_line(new("train", "new.csv", *ON, code=1))
    assert not Path("n.st").exists()


def test_files_without_a_table_model(run: Run) -> None:
    write_csv("new.csv", **features(), y=Y)
    gpubp.save(gpubp.MLPRegressor(max_iter=400, random_state=0, tol=1.0).fit(X, Y), "m.st")
    assert "m.st holds an estimator of arrays" in one_line(run("train", "new.csv", *ON, code=1))
    Path("m.st").write_text("nothing")
    assert "m.st" in one_line(run("train", "new.csv", *ON, code=1))
    Path("m.st").unlink()
    assert "m.st" in one_line(run("train", "new.csv", *ON, code=1))


def test_a_file_of_an_earlier_version(run: Run) -> None:
    """It has no preset, and no encoder of today's kind."""
    shutil.copy(ROOT / "tests" / "data" / "iris.safetensors", "m.st")
    run("train", "iris", *ON, "--epochs", "2")
    found = gpubp.load("n.st")
    assert found.about_["preset"] == found.preset == "plain"
    assert found.network_.n_members is None
    assert found.network_.learning_rate != "warm_cosine"


def test_a_multi_label_model_is_refused(run: Run) -> None:
    rows = {name: cells.tolist() for name, cells in features().items()}
    labels = np.stack([X[:, 0] > 0, X[:, 1] > 1000], axis=1).astype(int)
    options: dict[str, Any] = {"hidden_layer_sizes": (3,), "preset": "plain", "batch_size": 8}
    gpubp.save(gpubp.TableClassifier(**options).fit(rows, labels), "m.st")
    write_csv("new.csv", **features(), y=Y)
    assert "m.st is a multi-label model" in one_line(run("train", "new.csv", *ON, code=2))


def test_an_interrupt_of_all_epochs_saves_nothing(
    new: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("gpubp.models.table_training.fit_estimator", interrupted)
    assert main(["train", "new.csv", *ON]) == 130
    assert not Path("n.st").exists()
