"""TableClassifier and TableRegressor: what fit and predict take, and what they give."""

from __future__ import annotations

import pickle
import warnings
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import check_estimator

from gpubp import DataError, MLPClassifier, MLPRegressor, TableClassifier, TableRegressor
from gpubp.models.finite_outputs import NonFiniteOutputError
from gpubp.models.table_rows import hold_out
from gpubp.tables.column import TextColumn
from gpubp.tables.encoding.strays import StrayCellWarning
from gpubp.tables.table import Table
from gpubp.training.history import Epoch
from tests.models.table_cases import (
    COLUMNS,
    KIND,
    LABELS,
    PLAIN,
    SMALL,
    A,
    B,
    N,
    Y,
    classifier,
    regressor,
    table,
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X = np.column_stack([A, B])

# scikit-learn's contract.


@pytest.mark.parametrize("kind", [TableClassifier, TableRegressor])
def test_check_estimator(kind: Any) -> None:
    weights = "the encoder's statistics are of the rows, as a StandardScaler's in a Pipeline are"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(
            # scikit-learn compares to 1e-7, which the sums of float32 do not always reach.
            kind(max_iter=60, hidden_layer_sizes=(32,), dtype="float64"),
            on_skip=None,
            on_fail=None,
            expected_failed_checks={"check_sample_weight_equivalence_on_dense_data": weights},
        )
    assert len(results) > 50
    assert {r["check_name"]: r["exception"] for r in results if r["status"] == "failed"} == {}


def test_tags() -> None:
    for model in (TableClassifier(), TableRegressor()):
        tags = model.__sklearn_tags__()
        assert tags.input_tags.string
        assert tags.input_tags.categorical
        assert tags.input_tags.allow_nan
        assert not tags.input_tags.sparse
        assert tags.target_tags.required
    assert TableClassifier().__sklearn_tags__().classifier_tags.multi_label


def test_cross_validation_pipelines_and_grids() -> None:
    pd = pytest.importorskip("pandas", reason="needs pandas")
    frame = pd.DataFrame(COLUMNS)
    scores = cross_val_score(TableClassifier(**SMALL | {"max_iter": 60}), frame, LABELS, cv=3)
    assert scores.min() > 0.6
    pipeline = make_pipeline(FunctionTransformer(), TableClassifier(**SMALL | {"max_iter": 60}))
    assert pipeline.fit(frame, LABELS).score(frame, LABELS) > 0.7
    grid = {"hidden_layer_sizes": [(3,), (6,)], "min_frequency": [1, 100]}
    search = GridSearchCV(TableRegressor(**SMALL), grid, cv=2).fit(frame, Y[:, 0])
    assert set(search.best_params_) == set(grid)
    widths = [
        TableRegressor(**SMALL, min_frequency=least).fit(frame, Y[:, 0]).network_.n_features_in_
        for least in grid["min_frequency"]
    ]
    assert widths[0] == 6 > widths[1]  # a, b, gaps of b and three kinds
    best = widths[grid["min_frequency"].index(search.best_params_["min_frequency"])]
    assert search.best_estimator_.network_.n_features_in_ == best


def test_clones_and_pickles() -> None:
    model = classifier(alpha=0.5, drop=("a",))
    assert clone(model).get_params() == model.get_params()
    again = pickle.loads(pickle.dumps(model))
    assert_array_equal(again.predict_proba(table()), model.predict_proba(table()))


@pytest.mark.parametrize("method", ["predict", "predict_proba", "encode", "evaluate"])
def test_before_fit(method: str) -> None:
    with pytest.raises(NotFittedError, match="TableClassifier instance is not fitted yet"):
        getattr(TableClassifier(), method)(table(y=LABELS))


# Training.


def test_the_network_sees_encoded_rows_and_scaled_targets() -> None:
    model = regressor(2, dtype="float64")
    Z = model.encode(table())
    assert Z.dtype == np.float64
    by_hand = MLPRegressor(hidden_layer_sizes=(5,), max_iter=4, random_state=0)
    chosen = model.network_.get_params()
    by_hand.set_params(**chosen | {"target_scaling": False})
    mean, scale = Y.mean(axis=0), Y.std(axis=0)
    by_hand.fit(Z, (Y - mean) / scale)
    assert_allclose(model.network_.coefs_[0], by_hand.coefs_[0], rtol=1e-9)
    assert_allclose(model.predict(table()), by_hand.predict(Z) * scale + mean, rtol=1e-9)


def test_encoded_rows_by_hand() -> None:
    Z = classifier(preset="plain").encode(table(), np.float64)
    known = ~np.isnan(B)
    b = np.where(known, B, np.median(B[known]))
    wanted = [(A - A.mean()) / A.std(), (b - B[known].mean()) / B[known].std(), ~known]
    wanted += [kind == KIND for kind in "uvw"]
    assert_allclose(Z, np.column_stack(wanted), rtol=1e-9, atol=1e-12)
    assert classifier().encode(table()).dtype == np.float32


def test_fit_table_returns_the_history_and_tells_of_each_epoch() -> None:
    epochs: list[Epoch] = []
    notes: list[str] = []
    labels = LABELS.copy()
    labels[7] = "NA"
    model = TableClassifier(**PLAIN)
    history = model.fit_table(table(y=labels), ["y"], on_epoch=epochs.append, note=notes.append)
    assert [epoch.number for epoch in epochs] == [1, 2, 3, 4]
    assert [epoch.loss for epoch in epochs] == history.losses == model.network_.loss_curve_
    assert history.stopped_by == "max_epochs"
    assert model.n_iter_ == 4
    assert notes[0] == "1 row has no target ('y') and is left out"
    assert "cpu" in notes[1]
    assert (model.n_rows_without_target_, model.target_names_) == (1, ("y",))
    assert_array_equal(model.classes_, ["high", "low", "mid"])


def test_fit_and_fit_table_are_one_training() -> None:
    pd = pytest.importorskip("pandas", reason="needs pandas")
    wanted = classifier(early_stopping=True)
    frame = pd.DataFrame(COLUMNS)
    whole = frame.assign(y=LABELS)
    models = [
        TableClassifier(**wanted.get_params()).fit(frame, LABELS),
        TableClassifier(**wanted.get_params()).fit(frame, whole.y),
        TableClassifier(**wanted.get_params()).fit(whole, target="y"),
        TableClassifier(**wanted.get_params()).fit(whole, target=["y"]),
        TableClassifier(**wanted.get_params()).fit(table(), list(LABELS)),
        TableClassifier(**wanted.get_params()).fit(table(y=LABELS)),
    ]
    for model in models:
        assert_array_equal(model.network_.coefs_[0], wanted.network_.coefs_[0], strict=True)
        assert_array_equal(model.predict(frame), wanted.predict(table()), strict=True)
        assert model.target_names_ == ("y",)
        assert_array_equal(model.feature_names_in_, ["a", "b", "kind"])
        assert model.n_features_in_ == 3


def test_the_recipe_fills_in_what_is_auto() -> None:
    model = TableClassifier(max_iter=3, random_state=0).fit(table(y=LABELS))
    network = model.network_.get_params()
    assert network["max_iter"] == 3
    assert "auto" not in {network[name] for name in ("hidden_layer_sizes", "solver", "scoring")}
    assert isinstance(network["batch_size"], int)
    assert model.batch_size == model.hidden_layer_sizes == "auto"
    own = TableClassifier(solver="sgd", max_iter=3, random_state=0).fit(table(y=LABELS))
    assert own.network_.solver == "sgd"


def test_no_warning_where_the_recipe_ends_training() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        TableClassifier(random_state=0).fit(table(y=LABELS))
    with pytest.warns(ConvergenceWarning, match=r"Maximum iterations \(2\) reached"):
        TableClassifier(max_iter=2, n_iter_no_change=10).fit(table(y=LABELS))


@pytest.mark.parametrize("dtype", ["float32", "float64", "auto"])
def test_the_dtype_of_training(dtype: str) -> None:
    model = classifier(dtype=dtype)
    wanted = "float64" if dtype == "float64" else "float32"
    assert model.network_.coefs_[0].dtype == wanted
    assert model.encode(table()).dtype == wanted


@pytest.mark.parametrize("loss", ["huber", "poisson", "squared_error", "quantile"])
@pytest.mark.parametrize("outputs", [1, 2])
def test_targets_are_scaled_for_losses_that_take_scaled_ones(loss: str, outputs: int) -> None:
    rows = table(y=np.round(10 + 3 * A), z=np.round(10 - 3 * A))
    parameters = SMALL | {"max_iter": 200, "learning_rate_init": 0.02}
    model = TableRegressor(loss=loss, **parameters)
    model.fit_table(rows, ["y", "z"][:outputs])
    scaled = loss in ("squared_error", "quantile") or (loss == "huber" and outputs == 1)
    assert (model.network_.target_mean_ is not None) == scaled
    assert model.target_scaling == "auto"
    assert model.evaluate(rows)["r2"] > 0.3
    assert regressor(target_scaling=False).network_.target_mean_ is None


def test_quantiles() -> None:
    model = TableRegressor(loss="quantile", quantile=(0.1, 0.9), **SMALL)
    model.fit_table(table(y=A), ["y"])
    found = model.predict_quantiles(table())
    assert found.shape == (N, 2)
    assert (found[:, 0] <= found[:, 1]).all()
    assert_array_equal(model.predict(table()), found[:, 0])
    assert not hasattr(TableRegressor(), "predict_quantiles")


def test_class_weights_have_the_labels_as_keys() -> None:
    plain, weighed = classifier(), classifier(class_weight={"low": 50.0, "high": 1, "mid": 1})
    low = list(plain.classes_).index("low")
    assert (
        weighed.predict_proba(table())[:, low].mean() > plain.predict_proba(table())[:, low].mean()
    )
    classifier(class_weight="balanced")


def test_sample_weights_follow_their_rows() -> None:
    labels = np.where(np.arange(N) % 10 == 0, "NA", LABELS)
    weights = np.where(LABELS == "low", 0.0, 1.0)
    columns = COLUMNS | {"y": labels}
    kept = labels != "NA"
    model = TableClassifier(**SMALL).fit(columns, target="y", sample_weight=weights)
    assert model.n_rows_without_target_ == N // 10
    by_hand = TableClassifier(**SMALL).fit(
        {name: cells[kept] for name, cells in COLUMNS.items()},
        labels[kept],
        sample_weight=weights[kept],
    )
    assert_array_equal(model.network_.coefs_[0], by_hand.network_.coefs_[0], strict=True)


def test_rows_held_out_are_as_by_hand() -> None:
    weights = np.where(LABELS == "low", 0.25, 1.0)
    parameters = PLAIN | {"early_stopping": True, "validation_fraction": 0.3}
    model = TableClassifier(**parameters).fit(table(), LABELS, sample_weight=weights)
    Z = model.encode(table())
    kept, out = hold_out(LABELS, 0.3, "classification", np.random.RandomState(0))
    by_hand = MLPClassifier(**model.network_.get_params()).fit(
        Z[kept],
        LABELS[kept],
        weights[kept],
        X_val=Z[out],
        y_val=LABELS[out],
        sample_weight_val=weights[out],
    )
    assert_array_equal(model.network_.coefs_[0], by_hand.coefs_[0], strict=True)
    assert model.network_.validation_scores_ == by_hand.validation_scores_


def test_a_warm_start_goes_on() -> None:
    model = TableClassifier(**SMALL, warm_start=True, learning_rate="constant", solver="adam")
    rows = table(y=LABELS)
    first = model.fit(rows).network_.coefs_[0].copy()
    encoder = model.encoder_
    model.fit(rows)
    assert len(model.network_.loss_curve_) == 8
    assert model.encoder_ is encoder
    assert not np.array_equal(model.network_.coefs_[0], first)


def test_a_fit_that_fails_leaves_the_model_of_before() -> None:
    model = classifier()
    before = model.predict_proba(table())
    with pytest.raises(DataError, match="has no column 'z'"):
        model.fit_table(table(y=LABELS), ["z"])
    with pytest.raises(ValueError, match="dropout"):
        model.set_params(dropout=(0.1, 0.2, 0.3)).fit(table(y=LABELS))
    assert_array_equal(model.predict_proba(table()), before)
    with pytest.raises(ValueError, match="dropout"):
        (new := TableClassifier(dropout=(0.1,) * 3)).fit(table(y=LABELS))
    assert not hasattr(new, "network_")


# Rows to validate on.


def test_validation_rows_have_each_class_in_proportion() -> None:
    labels = np.array(["a"] * 60 + ["b"] * 30 + ["c"] * 29 + ["d"])
    model = classifier(labels, early_stopping=True, validation_fraction=0.2)
    assert_array_equal(model.classes_, ["a", "b", "c", "d"])
    assert len(model.network_.validation_scores_) == 4


def test_given_validation_rows() -> None:
    given = {"X_val": table(), "y_val": LABELS}
    model = TableClassifier(**SMALL | {"early_stopping": "auto"}).fit(table(), LABELS, **given)
    assert len(model.network_.validation_scores_) == 4
    by_target = TableClassifier(**model.get_params())
    by_target.fit(table(y=LABELS), target="y", X_val=table(y=LABELS))
    assert by_target.network_.validation_scores_ == model.network_.validation_scores_
    with pytest.raises(ValueError, match="X_val and y_val require early_stopping=True"):
        TableClassifier(**SMALL).fit(table(), LABELS, **given)


def test_validation_rows_of_a_class_that_training_lacks() -> None:
    with pytest.raises(ValueError, match="classes not in"):
        TableClassifier(**SMALL | {"early_stopping": True}).fit(
            table(), LABELS, X_val=table(), y_val=np.where(LABELS == "low", "none", LABELS)
        )


@pytest.mark.parametrize("early_stopping", [True, False, "auto"])
@pytest.mark.parametrize("n", [1, 2])
def test_a_rare_class_trains(early_stopping: Any, n: int) -> None:
    labels = np.where(np.arange(N) < n, "rare", np.where(A > 0, "x", "y"))
    model = classifier(labels, early_stopping=early_stopping)
    assert_array_equal(model.classes_, ["rare", "x", "y"])
    two = np.where(np.arange(N) < n, "rare", "x")
    assert_array_equal(classifier(two, early_stopping=early_stopping).classes_, ["rare", "x"])


def test_too_few_rows_to_hold_out() -> None:
    model = TableRegressor(**SMALL | {"early_stopping": True, "validation_fraction": 0.1})
    with pytest.raises(ValueError, match="The validation set is too small"):
        model.fit(X[:6, :1], Y[:6, 0])


# What fit takes.


@pytest.mark.parametrize("convert", ["pandas", "polars", "pyarrow", "dict"])
def test_frames(convert: str) -> None:
    columns: Any = COLUMNS | {"y": LABELS}
    if convert == "pyarrow":
        columns = pytest.importorskip("pyarrow", reason="needs pyarrow").table(columns)
    elif convert != "dict":
        columns = pytest.importorskip(convert, reason=f"needs {convert}").DataFrame(columns)
    model = TableClassifier(**SMALL).fit(columns, target="y")
    assert_array_equal(model.predict_proba(columns), classifier().predict_proba(table()))


@pytest.mark.parametrize(
    "labels",
    [
        A > 0,
        (A > 0).tolist(),
        (A > 0).astype(object),
        np.where(A > 0, 1, 0),
        np.where(A > 0, 7.0, 2.0),
        np.where(A > 0, "1", "0"),
        np.where(A > 0, "01", "1").astype(object),
        LABELS.tolist(),
        LABELS.astype(object),
        (A > 0).astype(np.uint8)[:, None][:, 0],
    ],
)
def test_labels_keep_their_type(labels: Any) -> None:
    model = TableClassifier(**SMALL).fit(X, labels)
    wanted = np.unique(np.asarray(labels))
    assert_array_equal(model.classes_, wanted)
    found = model.predict(X)
    assert found.dtype == model.classes_.dtype
    assert set(found.tolist()) <= set(np.asarray(labels).tolist())


@pytest.mark.parametrize("kind", ["bool", "str", "category", "int", "float", "nullable"])
def test_labels_of_a_frame_keep_their_type(kind: str) -> None:
    pd = pytest.importorskip("pandas", reason="needs pandas")
    yes = A > 0
    y, classes = {
        "bool": (pd.Series(yes.astype(object)), [False, True]),
        "str": (pd.Series(np.where(yes, "1", "2")), ["1", "2"]),
        "category": (pd.Series(np.where(yes, "p", "q")).astype("category"), ["p", "q"]),
        "int": (pd.Series(np.where(yes, 3, 5)), [3, 5]),
        "float": (pd.Series(np.where(yes, 3.0, 5.0)), [3, 5]),
        "nullable": (pd.Series(np.where(yes, 3, 5)).astype("Int64"), [3, 5]),
    }[kind]
    assert_array_equal(TableClassifier(**SMALL).fit(X, y).classes_, classes)
    y[3] = None
    with pytest.raises(ValueError, match="contains NaN"):
        TableClassifier(**SMALL).fit(X, y)
    model = TableClassifier(**SMALL).fit(pd.DataFrame(COLUMNS).assign(y=y), target="y")
    assert_array_equal(model.classes_, np.array(classes), strict=True)
    assert model.n_rows_without_target_ == 1


def test_a_column_of_an_array_as_the_target() -> None:
    model = TableClassifier(**SMALL).fit(np.column_stack([X, LABELS]).astype(object), target="x2")
    assert_array_equal(model.classes_, ["high", "low", "mid"])
    assert_array_equal(model.feature_names_in_, ["x0", "x1"])
    assert model.predict(X).shape == (N,)


def test_several_targets() -> None:
    pd = pytest.importorskip("pandas", reason="needs pandas")
    frame = pd.DataFrame(COLUMNS | {"p": Y[:, 0], "q": Y[:, 1]})
    model = TableRegressor(**SMALL).fit(frame, target=["p", "q"])
    assert model.predict(frame).shape == (N, 2)
    assert model.target_names_ == ("p", "q")
    again = TableRegressor(**SMALL).fit(frame[["a", "b", "kind"]], frame[["p", "q"]])
    assert again.target_names_ == ("p", "q")
    assert_allclose(again.predict(frame), model.predict(frame), rtol=1e-5)
    assert TableRegressor(**SMALL).fit(X, Y).target_names_ == ("y0", "y1")
    assert TableRegressor(**SMALL).fit(X, frame.p).target_names_ == ("p",)


def test_several_labels_per_row() -> None:
    labels = np.column_stack([A > 0, A < 0.5, A > 1]).astype(int)
    model = TableClassifier(**SMALL | {"max_iter": 150, "early_stopping": True}).fit(X, labels)
    assert model.predict(X).shape == model.predict_proba(X).shape == (N, 3)
    assert_array_equal(model.predict(X), model.network_.predict(model.encode(X)))
    assert (model.predict(X) == labels).mean() > 0.8


def test_one_class() -> None:
    model = TableClassifier(**SMALL).fit(X, np.full(N, "only"))
    assert set(model.predict(X)) == {"only"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"y": LABELS, "target": "y"}, "y and target='y' were both given; give one of the two"),
        ({}, "TableClassifier requires y to be passed, but the target y is None; pass y, or the"),
        ({"y": LABELS[:-1]}, "inconsistent numbers of samples"),
        ({"target": "z"}, "X has no column 'z'"),
        ({"y": np.where(A > 0, "x", None)}, "Input y of TableClassifier contains NaN: a value"),
        ({"target": 3.5}, "target is 3.5; give the name of a column of X, or a list of them"),
        ({"target": ["y", 0.5]}, r"target is \['y', 0.5\]; give the name"),
        ({"y": np.where(A > 1, np.nan, 1.0)}, "Input y contains NaN"),
        ({"y": A}, "Unknown label type"),
        ({"target": "a"}, "Unknown label type"),
        ({"y": LABELS, "sample_weight": [1.0]}, r"sample_weight.shape == \(1,\)"),
    ],
)
def test_wrong_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TableClassifier(**SMALL).fit(COLUMNS, **arguments)


@pytest.mark.parametrize(
    ("model", "targets", "message"),
    [
        (TableClassifier, {"y": np.full(N, "u")}, "the target has one class only, 'u'"),
        (TableClassifier, {"y": A}, "different labels in 120 rows"),
        (TableRegressor, {"y": LABELS}, "data row 3, column 'y': 'high' is not a number, which"),
        (TableRegressor, {"y": np.ones(N)}, "the target is 1.0 in every row"),
        (TableRegressor, {"y": np.full(N, np.nan)}, "'y' is missing in every row"),
    ],
)
def test_tables_that_cannot_be_learned_from(model: Any, targets: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        model(**SMALL).fit_table(table(**targets), ["y"])


def test_wide_tables_are_sparse() -> None:
    rng = np.random.default_rng(1)
    codes = rng.integers(300, size=4000).astype(np.int32)
    values = np.array([f"v{j:03}" for j in range(300)], object)
    y = TextColumn((codes % 2).astype(np.int32), np.array(["even", "odd"], object))
    rows = Table({"c": TextColumn(codes, values), "y": y}, 4000, "rows", ("y",))
    dense, sparse = (
        TableClassifier(
            sparse=way,
            min_frequency=1,
            max_categories=400,
            early_stopping=True,
            random_state=0,
            max_iter=20,
            hidden_layer_sizes=(8,),
        )
        for way in (False, True)
    )
    for model in (dense, sparse):
        model.fit_table(rows, ["y"])
        assert model.evaluate(rows)["accuracy"] > 0.95
    assert sparse.encode(rows).format == "csr"
    assert_allclose(sparse.predict_proba(rows), dense.predict_proba(rows), atol=1e-3)


# What predict takes.


def test_no_rows() -> None:
    none = table(y=LABELS).rows(0, 0)
    assert classifier().predict(none).tolist() == []
    assert classifier().predict_proba(none).shape == (0, 3)
    assert regressor(2).predict(none).shape == (0, 2)
    assert classifier().evaluate(none) == {}


def test_texts_that_mean_no_value() -> None:
    cells = np.where(np.arange(N) % 6 == 0, "none given", LABELS)
    model = TableClassifier(**SMALL, na=["none given"]).fit(COLUMNS | {"y": cells}, target="y")
    assert_array_equal(model.classes_, ["high", "low", "mid"])
    assert model.n_rows_without_target_ == N / 6
    assert model.evaluate(COLUMNS | {"y": cells})["accuracy"] >= 0
    assert model.unknown_labels(COLUMNS | {"y": cells}) == []


def test_shapes() -> None:
    assert classifier().predict(table()).shape == (N,)
    assert classifier().predict_proba(table()).shape == (N, 3)
    assert_allclose(
        classifier().predict_log_proba(table()), np.log(classifier().predict_proba(table()))
    )
    assert regressor(1).predict(table()).shape == (N,)
    assert regressor(2).predict(table()).shape == (N, 2)
    assert regressor(1).predict(table()).dtype == np.float64


def test_columns_in_any_order_and_more_of_them() -> None:
    model = regressor()
    shuffled = {"other": LABELS, "kind": KIND, "b": B, "a": A}
    assert_array_equal(model.predict(shuffled), model.predict(table()))
    missing = r"X lacks 2 columns 'a', 'b'|X lacks 2 columns"
    with pytest.raises(DataError, match=missing):
        model.predict({"kind": KIND})


def test_gaps_and_values_that_training_had_not() -> None:
    model = classifier()
    rows = {"a": np.full(3, np.nan), "b": np.full(3, np.nan), "kind": ["new", None, "u"]}
    assert np.isfinite(model.predict_proba(rows)).all()


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("abc", "X, data row 5, column 'a': 'abc' is not a number and counts as empty"),
        (np.inf, "X, data row 5, column 'a': inf is not a finite number and counts as empty"),
    ],
)
def test_a_wrong_cell_is_a_gap_and_many_are_an_error(cell: Any, message: str) -> None:
    cells = A.astype(object)
    cells[4] = cell
    model = classifier()
    with pytest.warns(StrayCellWarning, match=message):
        found = model.predict_proba(COLUMNS | {"a": cells})
    cells[4] = np.nan
    np.testing.assert_array_equal(found, model.predict_proba(COLUMNS | {"a": cells}))
    cells[4:] = cell
    with pytest.raises(DataError, match=r"data row 5, column 'a': .* \(\d+ of \d+ cells\); "):
        model.predict(COLUMNS | {"a": cells})


def test_a_number_that_is_too_large() -> None:
    cells = A.astype(object)
    cells[4] = 1e300
    with pytest.raises(DataError, match=r"X, data row 5, column 'a': 1e\+300 is too large"):
        classifier(preset="plain").predict(COLUMNS | {"a": cells})
    # Robust scaling clips it.
    assert np.isfinite(classifier().predict_proba(COLUMNS | {"a": cells})).all()


def test_outputs_that_are_not_finite_name_the_cell() -> None:
    model = regressor(preset="plain")
    model.network_.coefs_[0] = model.network_.coefs_[0] * 1e3
    far = A.copy()
    far[4] = 1e36
    message = (
        r"X, data row 5, column 'a': the network's output is not finite, as this cell is .*e\+36"
    )
    with pytest.raises(NonFiniteOutputError, match=message):
        model.predict(COLUMNS | {"a": far})
    model.network_.coefs_[0] = model.network_.coefs_[0] * 1e30
    model.network_.coefs_[1] = model.network_.coefs_[1] * 1e30
    message = (
        r"rows.csv, data row \d+: the network's output is not finite, as its weights reach .*e\+3"
    )
    with pytest.raises(NonFiniteOutputError, match=message):
        model.predict(table())


@pytest.mark.parametrize("model", [classifier, regressor])
def test_clipping_does_not_hide_outputs_that_are_not_finite(model: Any) -> None:
    diverged = model()
    network = diverged.network_
    network.coefs_ = [W * np.float32(1e30) for W in network.coefs_]
    with pytest.raises(NonFiniteOutputError, match=r"rows.csv, data row \d+: .* weights reach"):
        diverged.predict(table())


def test_scikit_learns_output_setting_changes_nothing() -> None:
    pytest.importorskip("pandas", reason="needs pandas")
    import sklearn

    with sklearn.config_context(transform_output="pandas"):
        model = classifier()
        assert isinstance(model.encode(table()), np.ndarray)
    assert_array_equal(model.predict(table()), classifier().predict(table()))


def test_a_network_alone_takes_the_encoded_rows() -> None:
    model = classifier()
    network: MLPClassifier = model.network_
    assert_array_equal(network.predict(model.encode(table())), model.predict(table()))


# Scores.


def test_scores_of_classes_by_hand() -> None:
    model = classifier()
    P = model.predict_proba(table()).astype(float)
    labels = LABELS.copy()
    labels[:30] = "NA"
    known = P[30:] / P[30:].sum(axis=1, keepdims=True)
    places = np.searchsorted(model.classes_, LABELS[30:])
    scores = model.evaluate(table(y=labels))
    assert scores["accuracy"] == (known.argmax(axis=1) == places).mean()
    assert_allclose(scores["log_loss"], -np.log(known[np.arange(90), places]).mean(), rtol=1e-6)
    under_another_name = model.evaluate(table(y=LABELS[::-1], truth=labels), ["truth"])
    assert under_another_name == scores == model.evaluate(table(truth=labels), "truth")


def test_scores_with_labels_that_training_had_not() -> None:
    model = classifier()
    labels = LABELS.astype("<U9")
    labels[3:6] = "elsewhere"
    scores = model.evaluate(table(y=labels))
    assert scores["accuracy"] == (model.predict(table()) == labels).mean()
    assert "log_loss" not in scores
    assert model.unknown_labels(table(y=labels)) == ["elsewhere"]
    rows = model.per_class(table(y=labels))
    assert [row["label"] for row in rows] == ["high", "low", "mid", "elsewhere"]
    assert rows[3]["rows"] == 3
    assert rows[3]["recall"] == 0
    with pytest.raises(
        DataError, match="data row 4, column 'y': 'elsewhere' is not a label of the model"
    ):
        model.known_labels(table(y=labels))
    with pytest.raises(DataError, match="data row 1, column 'y': the label is missing"):
        model.known_labels(table(y=np.where(np.arange(N) == 0, "", LABELS)))
    assert_array_equal(model.known_labels(table(y=LABELS)), LABELS)
    assert_array_equal(model.known_labels(table(other=LABELS), "other"), LABELS)


def test_labels_of_another_kind() -> None:
    with pytest.raises(
        DataError,
        match=r"has labels such as .*, but the model was trained on .* as 'high'",
    ):
        classifier().evaluate(table(y=A))


def test_scores_of_numbers_by_hand() -> None:
    model = regressor(2)
    residuals = Y - model.predict(table())
    truth = {"y0": Y[:, 0], "y1": Y[:, 1]}
    scores = model.evaluate(table(**truth))
    assert_allclose(scores["mae"], np.abs(residuals).mean(), rtol=1e-12)
    assert_allclose(scores["rmse"], np.sqrt((residuals**2).mean(axis=0)).mean(), rtol=1e-12)
    assert_allclose(
        scores["r2"], (1 - (residuals**2).mean(axis=0) / Y.var(axis=0)).mean(), rtol=1e-12
    )
    assert_allclose(scores["per_output"][1]["mae"], np.abs(residuals[:, 1]).mean(), rtol=1e-12)
    gaps = truth | {"y1": np.where(np.arange(N) < 20, np.nan, Y[:, 1])}
    assert_allclose(model.evaluate(table(**gaps))["mae"], np.abs(residuals[20:]).mean())
    with pytest.raises(
        DataError, match="1 targets were given, but the model has 2; give columns for y0, y1"
    ):
        model.evaluate(table(**truth), ["y0"])
    with pytest.raises(DataError, match="lacks 2 columns 'y0', 'y1'"):
        model.evaluate(table())
    with pytest.raises(DataError, match="is not a number, which a regression needs"):
        model.evaluate(table(y0=Y[:, 0], y1=LABELS))
