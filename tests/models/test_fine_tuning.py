"""Table estimators whose training goes on: with warm_start, and from a model file."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import gpubp
from gpubp import DataError, TableClassifier, TableRegressor
from gpubp.models.fine_tuning import start_anew
from gpubp.models.time_limit import within
from tests.models.table_cases import LABELS, A, N, Y, table

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
QUICK: dict[str, Any] = {"hidden_layer_sizes": (5,), "max_iter": 3, "random_state": 0}
KINDS: dict[str, Any] = {"classes": TableClassifier, "numbers": TableRegressor}


def rows(kind: str, scale: float = 1.0) -> Any:
    return table(y=LABELS if kind == "classes" else scale * Y[:, 0])


def model_of(kind: str, **parameters: Any) -> Any:
    model = KINDS[kind](**QUICK | parameters)
    model.fit_table(rows(kind), ["y"])
    return model


def theta(model: Any) -> np.ndarray:
    network = model.network_
    return np.concatenate([np.ravel(p) for p in (*network.coefs_, *network.intercepts_)])


@pytest.mark.parametrize("kind", KINDS)
def test_a_warm_start_keeps_preset_and_encoder(kind: str) -> None:
    model = model_of(kind)
    encoder, before = model.encoder_, theta(model)
    model.set_params(warm_start=True).fit(rows(kind))
    assert model.encoder_ is encoder
    assert model.about_["preset"] == "tuned"
    assert model.network_.n_members == 4
    assert len(model.network_.loss_curve_) == 6
    assert not np.array_equal(theta(model), before)


def test_a_preset_stays_where_auto_would_be_another() -> None:
    model = model_of("numbers").set_params(warm_start=True, learning_rate_init=0.01)
    model.fit(rows("numbers"))
    assert model.about_["preset"] == "tuned"
    assert model.network_.learning_rate_init == 0.01
    assert model.network_.weights_init == "he_normal"


def test_the_shape_stays_on_a_table_of_another_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """The recipe has three layers, and one network, for larger tables."""
    model = TableClassifier(max_iter=1, random_state=0).fit(rows("classes"))
    assert model.network_.hidden_layer_sizes == (256,)
    monkeypatch.setattr("gpubp.models.tuned_recipe.SMALL", 100)
    monkeypatch.setattr("gpubp.models.tuned_recipe.MOST_CELLS", 100)
    monkeypatch.setattr("gpubp.models.tuned_recipe.MOST_PERIODIC", 1)
    stage = model.network_.input_stage
    model.set_params(warm_start=True).fit(rows("classes"))
    network = model.network_
    assert (network.hidden_layer_sizes, network.n_members) == ((256,), 4)
    assert network.input_stage == stage == {"periodic": (0, 1)}
    assert network.weight_decay == 0.1  # as for larger tables


def test_classes_may_be_missing_but_not_be_new() -> None:
    model = model_of("classes")
    classes, before = model.classes_, deepcopy(model)
    fewer = np.where(LABELS == "mid", "low", LABELS)
    start_anew(model)
    model.fit_table(table(y=fewer), ["y"])
    assert_array_equal(model.classes_, classes, strict=True)
    assert model.predict_proba(rows("classes")).shape == (N, 3)
    assert model.about_["class_rows"] == [sum(LABELS == "high"), sum(LABELS != "high"), 0]
    start_anew(before)
    wanted = theta(before)
    with pytest.raises(DataError, match=r"rows.csv.* 'new' is not a label of the model, which"):
        before.fit_table(table(y=np.where(A > 1, "new", LABELS)), ["y"])
    assert_array_equal(theta(before), wanted)
    with pytest.raises(ValueError, match="`y` has classes not in"):
        before.fit(rows("classes"), np.where(A > 1, "new", LABELS))


def test_labels_are_those_of_the_model_whatever_their_type() -> None:
    """Rows of 1 and 2 are numbers; those of the first table, with an x, are text."""
    texts = np.array(["1", "2", "x"])[np.arange(N) % 3]
    model = TableClassifier(**QUICK)
    model.fit_table(table(y=texts), ["y"])
    start_anew(model)
    model.fit_table(table(y=np.arange(N) % 2 + 1), ["y"])
    assert model.about_["class_rows"] == [60, 60, 0]
    assert model.classes_.tolist() == ["1", "2", "x"]


def test_the_positive_class_stays() -> None:
    rare = np.where(A > 1, "yes", "no")
    model = TableClassifier(**QUICK)
    model.fit_table(table(y=rare), ["y"])
    start_anew(model)
    model.fit_table(table(y=np.where(A > -1, "yes", "no")), ["y"])
    assert model.positive_class_ == "yes"


def test_predictions_take_the_range_of_both_tables() -> None:
    model = model_of("numbers")
    network = model.network_
    mean, low, high = network.target_mean_, network.target_low_, network.target_high_
    start_anew(model, max_iter=20)
    model.fit_table(rows("numbers", 2.0), ["y"])
    network = model.network_
    assert network.target_mean_ == mean
    assert (network.target_low_, network.target_high_) == (low, 2 * Y[:, 0].max())
    assert high < model.predict(rows("numbers")).max() <= 2 * Y[:, 0].max()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("members", [None, 2])
def test_a_start_from_a_file_begins_a_new_history(
    kind: str, members: int | None, tmp_path: Path
) -> None:
    """The start is the weights alone, so a saved model is trained like one in memory."""
    model = model_of(kind, n_members=members)
    gpubp.save(model, tmp_path / "model")
    loaded = gpubp.load(tmp_path / "model", device="cpu")
    before = deepcopy(vars(loaded.network_))
    for each in (model, loaded):
        start_anew(each, max_iter=2)
        each.fit_table(rows(kind), ["y"])
        assert len(each.network_.loss_curve_) == each.network_.n_iter_ == 2
    assert_array_equal(theta(loaded), theta(model), strict=True)
    assert before["_history"].epochs == 3
    gpubp.save(loaded, tmp_path / "again")
    again = gpubp.load(tmp_path / "again", device="cpu")
    assert_array_equal(again.predict(rows(kind)), loaded.predict(rows(kind)))


def test_the_weights_are_the_start() -> None:
    model = model_of("numbers", n_members=2)
    before = theta(model)
    start_anew(model, learning_rate_init=1e-12, max_iter=1)
    model.fit_table(rows("numbers"), ["y"])
    np.testing.assert_allclose(theta(model), before, rtol=1e-3, atol=1e-5)


def test_an_interrupted_ensemble_goes_on_with_the_members_it_has() -> None:
    model = model_of("numbers", n_members=3)
    network = model.network_
    network.coefs_ = [W[:2] for W in network.coefs_]
    network.intercepts_ = [b[:2] for b in network.intercepts_]
    network._stage_vector = network._stage_vector[:2]
    start_anew(model)
    model.fit_table(rows("numbers"), ["y"])
    assert len(model.network_.members_) == model.n_members == 2


def test_a_time_limit_leaves_the_members() -> None:
    model = model_of("numbers")
    network, Z = model.network_, model.encode(rows("numbers"))
    wanted = within(network, Z, Y[:, 0], 1e-3)
    assert wanted["n_members"] is None
    assert within(network.set_params(warm_start=True), Z, Y[:, 0], 1e-3) == {"max_iter": 1}
