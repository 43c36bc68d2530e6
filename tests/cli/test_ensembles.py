"""Ensembles on the command line: --members, --member-rows, --member and --std."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from gpubp import load
from tests.cli.running import FAST, Run, features, one_line, write_csv

FOLDS = ("--members", "3", "--member-rows", "folds")


@pytest.fixture
def ensemble(run: Run) -> str:
    """The file of an ensemble of folds."""
    run("train", "iris", *FAST, *FOLDS, "-o", "m.safetensors")
    return "m.safetensors"


def test_train_prints_the_score_of_left_out_rows(run: Run) -> None:
    result = run("train", "iris", *FAST, *FOLDS, "-o", "m.safetensors")
    score = load("m.safetensors").network_.oob_score_
    text = " ".join(result.out.split())
    assert "network 4-6-3, 51 parameters, float32" in text
    assert f"3 members, each without one of 3 folds; out-of-fold accuracy {score:.4f}" in text
    # One line per epoch, of the member that finishes it first.
    lines = [line for line in result.out.splitlines() if line.startswith("member")]
    assert [line.split()[3] for line in lines] == ["1/3", "2/3", "3/3"]


@pytest.mark.parametrize(
    ("rows", "text"),
    [("all", "each on all rows"), ("bootstrap", "each on a bootstrap; out-of-bag R² ")],
)
def test_other_rows_of_members(run: Run, rows: str, text: str) -> None:
    options = ("--members", "4", "--member-rows", rows, "-o", "m.safetensors")
    result = run("train", "diabetes", *FAST, *options)
    assert f"4 members, {text}" in " ".join(result.out.split())


def test_json_has_the_ensemble(run: Run) -> None:
    events = run("train", "iris", *FAST, *FOLDS, "-o", "m.safetensors", "--json").events
    members = [event["member"] for event in events if event["event"] == "epoch"]
    assert sorted(members) == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    score = load("m.safetensors").network_.oob_score_
    wanted = {"members": 3, "member_rows": "folds", "validation": None, "oob_score": score}
    assert events[-1]["ensemble"] == wanted
    assert events[-1]["best_epoch"] is None
    described = run("inspect", "m.safetensors", "--json").events[0]
    assert described["ensemble"] == wanted
    assert described["network"]["layers"] == [4, 6, 3]
    assert described["network"]["parameters"] == 51


def test_one_network_has_no_ensemble(run: Run) -> None:
    events = run("train", "iris", *FAST, "-o", "m.safetensors", "--json").events
    assert events[-1]["ensemble"] is None
    assert not any("member" in event for event in events)


def test_inspect_names_the_members(run: Run, ensemble: str) -> None:
    text = " ".join(run("inspect", ensemble).out.split())
    assert "ensemble 3 members, each without one of 3 folds; out-of-fold accuracy 0." in text
    assert "member_rows folds, n_members 3" in text


@pytest.mark.parametrize(("options", "member"), [((), 0), (("--member", "2"), 2)])
def test_explain_shows_one_member(
    run: Run, ensemble: str, options: tuple[str, ...], member: int
) -> None:
    result = run("explain", ensemble, "iris", "--row", "60", "--json", *options)
    found = result.events[0]
    assert found["origin"]["model"] == f"{ensemble} (TableClassifier, member {member} of 3)"
    network = load(ensemble).network_.members_[member]
    assert_allclose(found["steps"][0]["layers"][0]["W"], network.coefs_[0], rtol=1e-6)
    assert "member" in run("explain", ensemble, "iris", *options).out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("explain", "m.safetensors", "iris", "--member", "3"), "give a member from 0 to 2"),
        (("explain", "one.safetensors", "iris", "--member", "0"), "one.safetensors is one network"),
        (("explain", "--member", "0"), "--member is for the MODEL of an ensemble"),
        (("predict", "one.safetensors", "iris", "--std", "--proba"), "this model is one network"),
        (("predict", "m.safetensors", "iris", "--std"), "--std of labels goes with --proba"),
        (("train", "iris", "--members", "0"), "--members"),
        (("train", "iris", "--members", "1.5"), "--members"),
        (("train", "iris", "--members", "many"), "--members"),
        (("train", "iris", "--members", "3", "--member-rows", "some"), "--member-rows"),
        (("train", "iris", "--member-rows", "folds"), "give its number of networks"),
        (("train", "iris", "--members", "1", "--member-rows", "folds"), "needs 2 members or more"),
        (("train", "iris", "--members", "121", "--member-rows", "folds"), "only 120 training rows"),
        (("train", "iris", "--n-estimators", "3"), "did you mean --members?"),
    ],
)
def test_wrong_usage(run: Run, ensemble: str, arguments: tuple[str, ...], message: str) -> None:
    run("train", "iris", *FAST, "-o", "one.safetensors")
    assert message in one_line(run(*arguments, code=2))


def test_folds_that_leave_too_few_of_a_class_are_refused(run: Run) -> None:
    write_csv("t.csv", **features(), y=["no"] * 37 + ["yes"] * 3)
    options = ("--members", "2", "--member-rows", "folds", "--validation-size", "0.2")
    result = run("train", "t.csv", *FAST, *options, "--test-size", "0", code=2)
    assert "--member-rows folds does not fit the target: The least populated" in one_line(result)


def test_predict_writes_deviations_of_numbers(run: Run) -> None:
    run("train", "diabetes", *FAST, *FOLDS, "-o", "m.safetensors")
    result = run("predict", "m.safetensors", "diabetes", "--std")
    model = load("m.safetensors")
    assert list(result.rows[0]) == ["prediction", "std"]
    of = [member.predict(model.encode(_diabetes())) for member in model.network_.members_]
    assert_allclose(result.column(), np.mean(of, axis=0), rtol=1e-5)
    assert_allclose(result.column("std"), np.std(of, axis=0), rtol=1e-3)


def _diabetes() -> dict[str, np.ndarray]:
    from sklearn.datasets import load_diabetes

    data = load_diabetes()
    return dict(zip(data.feature_names, data.data.T, strict=True))


def test_predict_writes_deviations_of_probabilities(run: Run, ensemble: str) -> None:
    result = run("predict", ensemble, "iris", "--proba", "--std")
    labels = ("setosa", "versicolor", "virginica")
    names = [f"{kind}_{label}" for kind in ("proba", "std") for label in labels]
    assert list(result.rows[0]) == ["prediction", *names]
    assert sum(result.column(f"proba_{label}") for label in labels) == pytest.approx(np.ones(150))
    assert all((result.column(f"std_{label}") > 0).any() for label in labels)
