"""The target of a table estimator: as a column of X, or as y, in numbers or in text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import cross_val_score

import gpubp
from gpubp import TableClassifier, TableRegressor
from gpubp.tables.table import DataError
from tests.models.table_cases import SMALL

pd = pytest.importorskip("pandas", reason="needs pandas")

RNG = np.random.default_rng(0)
N = 60
A = RNG.normal(size=N).round(3)
Y = (50_000 + 1000 * np.arange(N)).astype(float)
MONEY = [f"${y:,.0f}" for y in Y]  # "$50,000", ...
KIND = np.where(A > 0, "high", "low")


def _regressor() -> TableRegressor:
    return TableRegressor(**SMALL)


def test_text_that_is_numbers_is_read_alike_everywhere() -> None:
    X = pd.DataFrame({"a": A, "b": A**2})
    by_number = _regressor().fit(X, Y)
    for y in (MONEY, np.array(MONEY, object), pd.Series(MONEY)):
        model = _regressor().fit(X, y)
        assert_array_equal(model.predict(X), by_number.predict(X))
        assert model.score(X, y) == by_number.score(X, Y) == r2_score(Y, model.predict(X))
        assert model.evaluate(X, np.asarray(y))["r2"] == pytest.approx(model.score(X, y))
    by_name = _regressor().fit(X.assign(y=MONEY), target="y")
    assert_array_equal(by_name.predict(X), by_number.predict(X))
    text, numbers = (cross_val_score(_regressor(), X, y, cv=3) for y in (MONEY, Y))
    assert_array_equal(text, numbers)
    several = _regressor().fit(X, np.array([MONEY, MONEY]).T)
    assert several.predict(X).shape == (N, 2)


def test_the_columns_of_x_show_the_decimal_sign_of_y() -> None:
    cells = [f"{a:.2f}".replace(".", ",") for a in A]
    y = [f"{k + 10},{k + 100}" for k in range(N)]  # "10,100" could be either
    model = _regressor().fit({"a": cells}, y)
    assert model.predict({"a": cells}).max() < 1000
    truth = [float(text.replace(",", ".")) for text in y]
    assert model.score({"a": cells}, y) == r2_score(truth, model.predict({"a": cells}))
    by_name = _regressor().fit({"a": cells, "y": y}, target="y")
    assert by_name.score({"a": cells, "y": y}) == model.score({"a": cells}, y)


def test_text_that_is_no_number_is_refused() -> None:
    with pytest.raises(DataError, match="y, data row 3, column 'y': 'dear' is not a number"):
        _regressor().fit({"a": A}, [*MONEY[:2], "dear", *MONEY[3:]])
    with pytest.raises(DataError, match="y, data row 1, column 'y': 'dear' is not a number"):
        _regressor().fit({"a": A}, Y).score({"a": A}, ["dear"] * N)


def test_the_score_takes_the_target_column() -> None:
    frame = pd.DataFrame({"a": A, "y": MONEY, "kind": KIND})
    model = _regressor().fit(frame, target="y")
    assert model.score(frame) == r2_score(Y, model.predict(frame))
    weights = np.arange(N)
    assert model.score(frame, sample_weight=weights) == r2_score(
        Y, model.predict(frame), sample_weight=weights
    )
    classifier = TableClassifier(**SMALL).fit(frame, target="kind")
    assert classifier.score(frame) == accuracy_score(KIND, classifier.predict(frame))
    frame.loc[3:9, "kind"] = None
    known = frame[frame["kind"].notna()]
    expected = np.average(classifier.predict(known) == known["kind"], weights=weights[known.index])
    assert_allclose(classifier.score(frame, sample_weight=weights), expected)
    with pytest.raises(DataError, match="has no column 'kind'"):
        classifier.score(frame.drop(columns="kind"))


def test_evaluate_takes_y() -> None:
    frame = pd.DataFrame({"a": A, "kind": KIND, "y": Y})
    model = TableClassifier(**SMALL).fit(frame, target="kind")
    scores = model.evaluate(frame)
    assert model.evaluate(frame, frame["kind"]) == scores
    assert model.evaluate(frame[["a", "y"]], KIND) == scores
    assert model.per_class(frame[["a", "y"]], KIND) == model.per_class(frame)
    assert model.evaluate(frame, KIND[::-1]) != scores
    with pytest.raises(ValueError, match="y has 3 rows, but X has 60; pass one per row"):
        model.evaluate(frame, KIND[:3])


def test_numbers_taken_as_classes_are_warned_of() -> None:
    with pytest.warns(UserWarning, match="60 classes in 60 rows: use TableRegressor for numbers"):
        TableClassifier(**SMALL).fit({"a": A, "y": MONEY}, target="y")


@pytest.mark.parametrize("y", [KIND, Y, A > 0, np.where(A > 0, 3, 7)])
def test_a_target_that_is_left_in_x_is_warned_of(y: Any) -> None:
    frame = pd.DataFrame({"a": A, "churn": y, "other": np.roll(y, 1)})
    model = TableRegressor(**SMALL) if y.dtype.kind == "f" else TableClassifier(**SMALL)
    message = r"^column 'churn' of X equals y: leave it out, or call fit\(X, target='churn'\)$"
    with pytest.warns(UserWarning, match=message) as caught:
        model.fit(frame, frame["churn"])
    assert len(caught) == 1
    assert caught[0].filename == __file__


def test_names_that_are_integers() -> None:
    frame = pd.DataFrame({0: A, 1: KIND, 2: MONEY})
    for target in (1, "1", np.int64(1), [1]):
        model = TableClassifier(**SMALL).fit(frame, target=target)
        assert model.target_names_ == ("1",)
        assert model.classes_.tolist() == ["high", "low"]
    assert _regressor().fit({0: A, 2: MONEY}, target=2).target_names_ == ("2",)


def test_a_file_is_read_first(tmp_path: Path) -> None:
    text = "".join(f"{a},{kind},{2 * a}\n" for a, kind in zip(A, KIND, strict=True))
    (tmp_path / "train.csv").write_text(f"a,churn,b\n{text}", encoding="utf-8")
    table = gpubp.read_table(tmp_path / "train.csv")  # the target is not its last column
    model = TableClassifier(**SMALL).fit(table, target="churn")
    assert model.classes_.tolist() == ["high", "low"]
    assert model.score(table) <= 1


@pytest.mark.parametrize(("kind", "y"), [(TableClassifier, KIND), (TableRegressor, A[::-1])])
def test_a_score_without_the_target_asks_for_y(kind: Any, y: Any) -> None:
    model = kind(**SMALL).fit({"a": A}, y)
    for weights in (None, np.ones(len(A))):
        with pytest.raises(DataError, match=r"X has no column 'y'; .*in Python pass it as y"):
            model.score({"a": A}, sample_weight=weights)
    with pytest.raises(DataError, match="pass it as y"):
        model.evaluate({"a": A})


@pytest.mark.parametrize("values", [pd.Series(KIND), np.array(KIND)])
def test_a_target_of_values_asks_for_y(values: Any) -> None:
    message = r"^target is of 60 values in a (Series|ndarray); .* of X, or pass the values as y$"
    with pytest.raises(ValueError, match=message):
        TableClassifier().fit({"a": A}, target=values)


def test_rows_as_dicts_are_refused() -> None:
    rows = [{"a": 1.0, "churn": "yes"}, {"a": 2.0, "churn": "no"}]
    for data in ((rows, ["yes", "no"]), (rows,)):
        with pytest.raises(DataError, match="X is a list of dicts, one per row; pass a dict of"):
            TableClassifier().fit(*data, target=None if len(data) == 2 else "churn")


def test_a_path_is_no_frame() -> None:
    for path in ("train.csv", Path("train.csv")):
        message = r"X is 'train.csv'; read the file first, as gpubp.read_table\('train.csv'\)"
        with pytest.raises(DataError, match=message):
            TableClassifier().fit(path, target="churn")
        with pytest.raises(DataError, match=message):
            TableClassifier().fit(path, KIND)


@pytest.mark.parametrize(
    ("given", "meant"),
    [("hidden", "hidden_layer_sizes"), ("lr", "learning_rate_init"), ("epochs", "max_iter")],
)
def test_names_of_parameters_elsewhere(given: str, meant: str) -> None:
    with pytest.raises(TypeError, match=f"argument {given!r}. Did you mean {meant!r}?"):
        TableClassifier(**{given: 3})
