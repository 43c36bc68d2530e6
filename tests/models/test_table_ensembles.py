"""Ensembles of table estimators, and their model files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone

from gpubp import DataError, MLPClassifier, ModelFileError, TableClassifier, load, save
from gpubp.explain.trained_model import of_model
from gpubp.storage.model_file import ModelRecord, read_model, write_model
from tests.models.table_cases import LABELS, SMALL, N, Y, classifier, regressor, table

UNCONVERGED = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
ENSEMBLE: dict[str, Any] = {"n_members": 3, "member_rows": "folds"}


@pytest.mark.parametrize("early_stopping", [False, True])
def test_members_share_the_encoder(early_stopping: bool) -> None:
    model = classifier(**ENSEMBLE, early_stopping=early_stopping, preset="plain")
    network = model.network_
    assert len(network.members_) == 3
    assert network.oob_decision_function_.shape == (N, 3)
    Z = model.encode(table())
    of = [member.predict_proba(Z) for member in network.members_]
    mean, deviation = model.predict_proba(table(), return_std=True)
    assert_allclose(mean, np.mean(of, axis=0), rtol=1e-5)
    assert_allclose(model.predict_proba(table()), mean, rtol=1e-5)
    assert_allclose(deviation, np.std(of, axis=0), rtol=1e-3, atol=1e-6)
    scores = {tuple(member.validation_scores_ or ()) for member in network.members_}
    assert len(scores) == (3 if early_stopping else 1)


def test_the_encoder_learns_from_all_rows() -> None:
    alone, together = classifier(), classifier(**ENSEMBLE, early_stopping=True)
    assert_array_equal(alone.encode(table()), together.encode(table()))


def test_a_regression_has_deviations_in_the_units_of_the_target() -> None:
    model = regressor(2, n_members=3)
    Z = model.encode(table())
    of = [member.predict(Z) for member in model.network_.members_]
    mean, deviation = model.predict(table(), return_std=True)
    assert mean.shape == deviation.shape == (N, 2)
    assert_allclose(mean, np.mean(of, axis=0), rtol=1e-6, atol=1e-6)
    assert_allclose(deviation, np.std(of, axis=0), rtol=1e-3, atol=1e-6)
    none = model.predict(table().take(np.arange(0)), return_std=True)
    assert [of.shape for of in none] == [(0, 2), (0, 2)]


def test_one_network_has_no_deviations() -> None:
    with pytest.raises(ValueError, match="return_std=True is for an ensemble"):
        regressor(n_members=None).predict(table(), return_std=True)


@pytest.mark.parametrize("how", ["all", "bootstrap", "folds"])
def test_saved_tables_are_the_same(how: str, tmp_path: Path) -> None:
    model = classifier(n_members=3, member_rows=how)
    save(model, tmp_path / "m.safetensors")
    again = load(tmp_path / "m.safetensors")
    assert_array_equal(again.predict_proba(table()), model.predict_proba(table()))
    found, wanted = again.network_.members_, model.network_.members_
    assert [m.random_state for m in found] == [m.random_state for m in wanted]
    assert (again.n_members, again.member_rows) == (3, how)
    assert clone(again).get_params() == clone(model).set_params(device="auto").get_params()


def test_fit_takes_validation_rows_for_all_members() -> None:
    model = TableClassifier(**SMALL | {"n_members": 2, "early_stopping": True})
    rows, held = table(y=LABELS), table(y=LABELS).take(np.arange(30))
    model.fit(rows, target="y", X_val=held)
    network = model.network_
    scores = [member.validation_scores_ for member in network.members_]
    assert all(len(of) == 4 for of in scores)
    assert model.about_["validation_rows"] == 30


def test_explain_shows_a_member() -> None:
    model = regressor(**ENSEMBLE, preset="plain")
    rows = table(y0=Y[:, 0])
    for member in (None, 2):
        example = of_model(model, rows, 4, member=member)
        wanted = model.network_.members_[member or 0]
        assert_allclose(example.network.views(example.theta).Ws[0], wanted.coefs_[0], rtol=1e-6)
        assert example.origin.model == f"TableRegressor, member {member or 0} of 3"
    with pytest.raises(DataError, match=r"member 3 was asked for, but .* members 0 to 2"):
        of_model(model, rows, 4, member=3)
    with pytest.raises(DataError, match="but the model is one network"):
        of_model(regressor(preset="plain"), rows, 4, member=0)


@UNCONVERGED
def test_explain_shows_a_member_of_an_estimator_of_arrays() -> None:
    columns = table(y=LABELS)
    X = np.stack([columns.column(name).values for name in ("a",)], 1)
    network = MLPClassifier(**{**SMALL, "n_members": 2}).fit(X, LABELS)
    two = replace(columns, columns={name: columns.columns[name] for name in ("a", "y")})
    example = of_model(network, two, 0, member=1)
    assert_array_equal(example.network.views(example.theta).Ws[0], network.coefs_[0][1])


def _damaged(change: Any, tmp_path: Path) -> Path:
    """The file of an ensemble whose header and tensors ``change`` has changed."""
    path = tmp_path / "m.safetensors"
    save(MLPClassifier(**{**SMALL, **ENSEMBLE}).fit(np.eye(30), np.arange(30) % 2), path)
    record = read_model(path)
    header, tensors = dict(record.header), dict(record.tensors)
    change(header["estimator"], tensors)
    write_model(path, ModelRecord(header, tensors))
    return path


CHANGES: list[tuple[Any, str]] = [
    (lambda header, tensors: header["members"].pop(), "2 members, but weights of shape"),
    (lambda header, tensors: header["members"][0].pop("seed"), "seed"),
    (lambda header, tensors: header["members"][0].update(other=1), "unknown key 'other'"),
    (lambda header, tensors: header.update(members=3), "members"),
    (lambda header, tensors: header["members"][1].update(losses=["a"]), "losses"),
    (lambda header, tensors: header.update(oob_score="high"), "oob_score"),
    (
        lambda header, tensors: tensors.update({"coefs.1": tensors["coefs.1"][:2]}),
        r"'coefs.1' has shape \(2, ",
    ),
    (
        lambda header, tensors: tensors.update({"intercepts.0": tensors["intercepts.0"][0]}),
        "'intercepts.0' has shape",
    ),
    (
        lambda header, tensors: tensors.update({"coefs.0": tensors["coefs.0"][:0]}),
        r"'intercepts.0' has shape \(3, 5\), but needs \(0, 5\)",
    ),
]


@pytest.mark.parametrize(("change", "message"), CHANGES)
@UNCONVERGED
def test_damaged_files_are_refused(change: Any, message: str, tmp_path: Path) -> None:
    path = _damaged(change, tmp_path)
    with pytest.raises(ModelFileError, match=message):
        load(path)


@UNCONVERGED
def test_a_file_without_members_is_of_weights_set_by_hand(tmp_path: Path) -> None:
    def without(header: dict[str, Any], tensors: Any) -> None:
        del header["members"]

    model = load(_damaged(without, tmp_path))
    assert len(model.members_) == 3
    assert not hasattr(model, "_member_seeds")
