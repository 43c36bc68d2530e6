"""Table estimators with scaling="robust"."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import gpubp
from gpubp import ModelFileError, TableClassifier, TableRegressor
from gpubp.models import table_record
from gpubp.models.description import describe
from gpubp.storage.model_file import read_model, write_model
from tests.models.table_cases import LABELS, PLAIN, SMALL, N, Y

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

TAILS = np.random.default_rng(3).standard_cauchy(N)
COLUMNS = {"t": np.where(np.arange(N) % 9, TAILS, np.nan), "u": np.arange(N) % 11.0}
MODELS = [(TableClassifier, LABELS), (TableRegressor, Y[:, 0])]


@pytest.mark.parametrize(("kind", "y"), MODELS)
def test_a_model_is_fitted_saved_and_loaded(kind: Any, y: Any, tmp_path: Path) -> None:
    model = kind(**SMALL, scaling="robust").fit(COLUMNS, y)
    names = model.encoder_.get_feature_names_out().tolist()
    assert names == ["t", "t tails", "t is missing", "u"]
    X = model.encode(COLUMNS)
    assert np.abs(X[:, [0, 3]].std(axis=0) - 1).max() < 0.1
    gpubp.save(model, tmp_path / "m")
    again = gpubp.load(tmp_path / "m")
    assert again.scaling == again.encoder_.scaling == "robust"
    assert again.encoder_.encodings_ == model.encoder_.encodings_
    assert_array_equal(again.predict(COLUMNS), model.predict(COLUMNS))
    columns = describe(tmp_path / "m")["columns"]
    assert [column["encoding"] for column in columns] == [
        "robust, clipped, + tails, + 1 if empty",
        "robust, clipped",
    ]


def test_a_file_from_before_there_was_scaling_loads(tmp_path: Path) -> None:
    model = TableClassifier(**PLAIN).fit(COLUMNS, LABELS)
    gpubp.save(model, tmp_path / "m")
    record = read_model(tmp_path / "m")
    assert record.header["table"]["parameters"].pop("scaling") == "auto"
    assert record.header["table"]["parameters"].pop("preset") == "plain"
    assert record.header["table"]["parameters"].pop("time_limit") is None
    assert "scaling" not in record.header["table"]["encoder"]
    write_model(tmp_path / "old", record)
    again = gpubp.load(tmp_path / "old")
    assert (again.preset, again.scaling, again.time_limit) == ("plain", "standard", None)
    assert_array_equal(again.predict_proba(COLUMNS), model.predict_proba(COLUMNS))


def test_an_earlier_gpubp_refuses_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gpubp.save(TableClassifier(**SMALL, scaling="robust").fit(COLUMNS, LABELS), tmp_path / "m")
    record = read_model(tmp_path / "m")
    known = table_record.parameters_from

    def of_earlier(kind: type[Any], header: dict[str, Any]) -> dict[str, Any]:
        table_record.only_keys(header, set(kind().get_params(deep=False)) - {"scaling"})
        return known(kind, header)

    monkeypatch.setattr(table_record, "parameters_from", of_earlier)
    with pytest.raises(ModelFileError, match=r"unknown key 'scaling'.*upgrade gpubp"):
        gpubp.load(tmp_path / "m")
    # The encoding has keys of its own, in case a caller knows the parameter only.
    assert record.header["table"]["encoder"]["scaling"] == "robust"
    assert "encoder.robust" in record.tensors


@pytest.mark.parametrize(("kind", "y"), MODELS)
def test_a_scaling_that_is_none(kind: Any, y: Any) -> None:
    with pytest.raises(ValueError, match=r"scaling is 'rob'; give 'standard' or 'robust'"):
        kind(**SMALL, scaling="rob").fit(COLUMNS, y)
