from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.datasets import load_diabetes
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPClassifier as SklearnClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import gpubp
from gpubp import (
    DataError,
    MLPClassifier,
    MLPRegressor,
    ModelFileError,
    TableClassifier,
    TableRegressor,
)
from gpubp.storage.model_file import ModelRecord, read_model, write_model
from tests.models.table_cases import COLUMNS, LABELS, Y, full_table, table, table_model

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:X does not have valid feature names"),
]

DATA = Path(__file__).parents[1] / "data"
RNG = np.random.default_rng(0)
X = RNG.normal(size=(24, 3))
THREE = np.arange(24) % 3
X_OF_STAGE = np.column_stack([X[:, :2], THREE])
STAGE = {"periodic": (0,), "tables": {2: 3}}
SMALL: dict[str, Any] = {"hidden_layer_sizes": (4, 3), "max_iter": 3, "random_state": 0}
SHOWN = (
    "loss_",
    "best_loss_",
    "loss_curve_",
    "validation_scores_",
    "best_validation_score_",
    "validation_loss_curve_",
    "n_iter_",
    "t_",
    "n_features_in_",
    "n_layers_",
    "n_outputs_",
    "out_activation_",
    "device_",
    "stopped_by_",
)

TARGETS: dict[str, tuple[type, Any]] = {
    "binary": (MLPClassifier, THREE == 0),
    "integers": (MLPClassifier, THREE - 1),
    "two integers": (MLPClassifier, np.minimum(THREE, 1)),
    "small integers": (MLPClassifier, (THREE + 7).astype(np.int8)),
    "unsigned": (MLPClassifier, THREE.astype(np.uint64)),
    "floats": (MLPClassifier, THREE + 1.0),
    "text": (MLPClassifier, np.array(["ja", "nein", "vielleicht ✓"])[THREE]),
    "objects": (MLPClassifier, np.array(["a", "bb", "c"], dtype=object)[THREE]),
    "one class": (MLPClassifier, np.full(24, 5)),
    "two labels": (MLPClassifier, np.stack([THREE == 0, THREE == 1], axis=1).astype(int)),
    "labels": (MLPClassifier, np.eye(3, dtype=int)[THREE] | np.eye(3, dtype=int)[THREE - 1]),
    "regression": (MLPRegressor, X @ [1.0, -2.0, 3.0] + 5),
    "three outputs": (MLPRegressor, X @ RNG.normal(size=(3, 3))),
}


def _round_trip(model: Any, path: Path, **options: Any) -> Any:
    gpubp.save(model, path)
    return gpubp.load(path, **options)


def _same_model(loaded: Any, model: Any, rows: Any = X) -> None:
    assert type(loaded) is type(model)
    assert loaded.get_params() == model.get_params()
    for a, b in zip(
        loaded.coefs_ + loaded.intercepts_, model.coefs_ + model.intercepts_, strict=True
    ):
        assert_array_equal(a, b, strict=True)
    for name in SHOWN:
        assert_array_equal(getattr(loaded, name), getattr(model, name), err_msg=name)
    assert_array_equal(loaded.predict(rows), model.predict(rows))
    if isinstance(model, MLPClassifier):
        assert_array_equal(loaded.predict_proba(rows), model.predict_proba(rows), strict=True)
        assert_array_equal(loaded.classes_, model.classes_)


# What is loaded is what was saved.


@pytest.mark.parametrize("kind", TARGETS)
def test_round_trip(kind: str, tmp_path: Path) -> None:
    estimator, y = TARGETS[kind]
    model = estimator(**SMALL).fit(X, y)
    loaded = _round_trip(model, tmp_path / "model")
    _same_model(loaded, model)
    assert loaded.score(X, y) == model.score(X, y)


@pytest.mark.parametrize(
    "parameters",
    [
        {"hidden_layer_sizes": 5},
        {"hidden_layer_sizes": ()},
        {"dtype": "float32", "activation": "gelu", "solver": "sgd", "momentum": 0.5},
        {"early_stopping": True, "validation_fraction": 0.25},
        {"n_iter_no_change": np.inf},
        {"max_iter": np.int64(2), "alpha": np.float64(0.5), "shuffle": np.bool_(True)},
        {"solver": "sgd", "learning_rate": "adaptive", "tol": 10.0, "n_iter_no_change": 1},
        {"threads": 1, "batch_size": 7, "verbose": 0, "warm_start": True},
    ],
    ids=str,
)
def test_parameters_survive(parameters: dict[str, Any], tmp_path: Path) -> None:
    model = MLPClassifier(**{**SMALL, **parameters}).fit(X, THREE)
    loaded = _round_trip(model, tmp_path / "model")
    _same_model(loaded, model)
    assert_array_equal(clone(loaded).fit(X, THREE).coefs_[0], model.coefs_[0])


def test_a_random_generator_is_left_out(tmp_path: Path) -> None:
    model = MLPClassifier(**{**SMALL, "random_state": np.random.RandomState(3)}).fit(X, THREE)
    assert _round_trip(model, tmp_path / "model").random_state is None


def test_feature_names(tmp_path: Path) -> None:
    model = MLPRegressor(**SMALL).fit(X, X[:, 0])
    assert not hasattr(_round_trip(model, tmp_path / "model"), "feature_names_in_")
    model.feature_names_in_ = np.array(["a", "b", "Größe"], dtype=object)
    loaded = _round_trip(model, tmp_path / "model")
    assert_array_equal(loaded.feature_names_in_, model.feature_names_in_, strict=True)


@pytest.mark.parametrize("kind", ["binary", "text", "labels", "regression"])
def test_partial_fit_before_and_after(kind: str, tmp_path: Path) -> None:
    estimator, y = TARGETS[kind]
    model = estimator(**SMALL)
    classes = {"labels": range(3), "regression": None}.get(kind, np.unique(y))
    model.partial_fit(X, y, **({"classes": classes} if classes is not None else {}))
    model.partial_fit(X, y)
    loaded = _round_trip(model, tmp_path / "model")
    _same_model(loaded, model)
    before = loaded.coefs_[0].copy()
    loaded.partial_fit(X, y)
    assert len(loaded.loss_curve_) == 3
    assert loaded.t_ == 72
    assert not np.array_equal(loaded.coefs_[0], before)


def test_warm_start_goes_on_after_loading(tmp_path: Path) -> None:
    model = MLPClassifier(**SMALL, warm_start=True).fit(X, THREE)
    loaded = _round_trip(model, tmp_path / "model")
    loaded.fit(X, THREE)
    model.fit(X, THREE)
    assert_array_equal(loaded.coefs_[0], model.coefs_[0], strict=True)
    assert loaded.loss_curve_ == model.loss_curve_
    assert len(loaded.loss_curve_) == 6


def test_weights_changed_by_hand_are_saved(tmp_path: Path) -> None:
    model = MLPRegressor(**SMALL).fit(X, X[:, 0])
    model.coefs_[0] = np.asfortranarray(model.coefs_[0] * 2)
    _same_model(_round_trip(model, tmp_path / "model"), model)


def test_one_model_gives_one_file(tmp_path: Path) -> None:
    for name in ("a", "b"):
        gpubp.save(MLPClassifier(**SMALL).fit(X, THREE), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    gpubp.save(gpubp.load(tmp_path / "a"), tmp_path / "c")
    assert (tmp_path / "c").read_bytes() == (tmp_path / "a").read_bytes()


def test_the_device_is_chosen_when_loading(tmp_path: Path) -> None:
    model = MLPClassifier(**SMALL, device="cpu").fit(X, THREE)
    assert _round_trip(model, tmp_path / "model").device == "auto"
    assert _round_trip(model, tmp_path / "model", device="cpu").device == "cpu"
    with pytest.raises(ValueError, match=r"device must be 'auto', .*, got 'gpu'"):
        gpubp.load(tmp_path / "model", device="gpu")


def test_validation_scores_that_are_no_numbers(tmp_path: Path) -> None:
    model = MLPRegressor(**SMALL, early_stopping=True, validation_fraction=0.25).fit(X, X[:, 0])
    model._history.scores[0] = model._history.validation_losses[1] = np.nan
    loaded = _round_trip(model, tmp_path / "model")
    assert_array_equal(loaded.validation_scores_, model.validation_scores_)
    assert_array_equal(loaded.validation_loss_curve_, model.validation_loss_curve_)
    assert len(loaded.validation_loss_curve_) == 3
    assert loaded.best_validation_score_ == np.nanmax(model.validation_scores_)


def test_files_from_before_there_were_validation_losses_and_engines(tmp_path: Path) -> None:
    model = MLPRegressor(**SMALL, early_stopping=True, validation_fraction=0.25).fit(X, X[:, 0])
    gpubp.save(model, tmp_path / "model")
    record = read_model(tmp_path / "model")
    del record.header["estimator"]["history"]["validation_losses"]
    del record.header["estimator"]["history"]["engine"]
    record.header["estimator"]["parameters"]["compiled"] = None
    write_model(tmp_path / "model", record)
    loaded = gpubp.load(tmp_path / "model")
    assert loaded.validation_loss_curve_ == []
    assert (loaded.engine_, loaded.compiled) == ("numpy", "auto")
    assert_array_equal(loaded.predict(X), model.predict(X))


@pytest.mark.parametrize("kind", ["classes", "numbers"])
def test_table_estimators(kind: str, tmp_path: Path) -> None:
    model = table_model(kind)
    model.about_["scores"] = {"test": {"r2": 0.5}}
    loaded = _round_trip(model, tmp_path / "model")
    assert type(loaded) is type(model)
    assert loaded.get_params() == model.get_params()
    assert loaded.network_.get_params() == model.network_.get_params()
    assert loaded.encoder_.get_params() == model.encoder_.get_params()
    assert loaded.encoder_.summary() == model.encoder_.summary()
    assert loaded.about_ == model.about_
    assert loaded.target_names_ == model.target_names_
    assert loaded.n_rows_without_target_ == model.n_rows_without_target_ == 1
    assert_array_equal(loaded.predict(full_table()), model.predict(full_table()), strict=True)
    assert_array_equal(loaded.feature_names_in_, model.feature_names_in_)
    if kind == "classes":
        assert_array_equal(loaded.predict_proba(full_table()), model.predict_proba(full_table()))
        assert_array_equal(loaded.classes_, model.classes_, strict=True)
    gpubp.save(loaded, tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "model").read_bytes()
    gpubp.save(table_model(kind), tmp_path / "twin")
    gpubp.save(table_model(kind), tmp_path / "twins")
    assert (tmp_path / "twin").read_bytes() == (tmp_path / "twins").read_bytes()
    refitted = clone(loaded).fit(full_table(), Y if kind == "numbers" else LABELS)
    assert refitted.predict(full_table()).shape == model.predict(full_table()).shape


def test_a_table_estimator_of_an_array(tmp_path: Path) -> None:
    cells = np.column_stack([COLUMNS["kind"], COLUMNS["a"].astype(str)]).astype(object)
    model = TableClassifier(**SMALL, na=("-9",)).fit(cells, THREE[:1].repeat(120) + (Y[:, 1] > 0))
    loaded = _round_trip(model, tmp_path / "model")
    assert not hasattr(loaded, "feature_names_in_")
    assert_array_equal(loaded.predict_proba(cells), model.predict_proba(cells))
    assert loaded.encoder_.na == ("-9",)


@pytest.mark.parametrize(
    ("estimator", "y", "parameters"),
    [
        (TableClassifier, Y[:, :1] > [3e6, 3.01e6, 2.99e6], {}),
        (TableClassifier, Y[:, 0] > 3e6, {"scoring": "roc_auc", "early_stopping": True}),
        (TableClassifier, np.full(120, 5), {}),
        (TableClassifier, LABELS, {"class_weight": {"low": 2.0, "mid": 1, "high": 0.5}}),
        (TableRegressor, Y, {"loss": "quantile", "quantile": (0.1, 0.9)}),
        (TableRegressor, Y[:, 0], {"loss": "poisson", "random_state": np.random.RandomState(0)}),
        (TableRegressor, Y[:, 0], {"sparse": True, "features": ["kind", "a"], "dtype": "float64"}),
    ],
)
def test_targets_of_all_kinds(
    estimator: Any, y: Any, parameters: dict[str, Any], tmp_path: Path
) -> None:
    model = estimator(**SMALL | parameters).fit(table(), y.astype(int) if y.ndim > 1 else y)
    loaded = _round_trip(model, tmp_path / "model")
    assert_array_equal(loaded.predict(table()), model.predict(table()), strict=True)
    assert loaded.target_names_ == model.target_names_
    if parameters.get("loss") == "quantile":
        assert_array_equal(loaded.predict_quantiles(table()), model.predict_quantiles(table()))


def test_the_device_of_a_table_estimator(tmp_path: Path) -> None:
    model = table_model("classes")
    loaded = _round_trip(model, tmp_path / "model", device="cpu")
    assert loaded.device == loaded.network_.device == "cpu"
    assert _round_trip(model, tmp_path / "model").network_.device == "auto"


# What cannot be saved is refused, and the file that was there stays.


def test_unfitted(tmp_path: Path) -> None:
    with pytest.raises(NotFittedError, match="not fitted yet"):
        gpubp.save(MLPClassifier(), tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_an_unfitted_table_estimator(tmp_path: Path) -> None:
    with pytest.raises(NotFittedError, match="TableClassifier instance is not fitted yet"):
        gpubp.save(TableClassifier(), tmp_path / "model")


@pytest.mark.parametrize("wrong", [None, {"coefs_": []}, MLPClassifier, np.zeros(3)])
def test_wrong_type(wrong: Any, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"save takes an MLPClassifier, MLPRegressor, Table.*, got"):
        gpubp.save(wrong, tmp_path / "model")


def _nan_weight(model: Any) -> None:
    model.coefs_[0][1, 2] = np.nan


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_nan_weight, "NaN"),
        (lambda model: model.set_params(hidden_layer_sizes=(9,)), "'coefs.0' has shape"),
        (lambda model: model.set_params(alpha=-1), "'alpha' parameter"),
        (lambda model: model.intercepts_.pop(), "do not fit together"),
        (lambda model: setattr(model, "classes_", np.array([0, 1, 2**64 - 1], "u8")), "labels"),
        (lambda model: setattr(model, "classes_", np.array([0.0, 0.5, 1.0])), "labels"),
        (lambda model: setattr(model, "classes_", np.array(["a", "b\0", "c"], "O")), "labels"),
        (lambda model: setattr(model, "classes_", np.array([0, "b", None], "O")), "labels"),
        (lambda model: setattr(model, "classes_", np.array([b"a", b"b", b"c"])), "labels"),
    ],
)
def test_what_would_not_load_is_not_saved(
    change: Callable[[Any], None], message: str, tmp_path: Path
) -> None:
    model = MLPClassifier(**SMALL).fit(X, THREE)
    gpubp.save(model, tmp_path / "model")
    good = (tmp_path / "model").read_bytes()
    change(model)
    with pytest.raises(ModelFileError, match=message):
        gpubp.save(model, tmp_path / "model")
    assert (tmp_path / "model").read_bytes() == good


def test_a_class_of_ones_own_is_refused(tmp_path: Path) -> None:
    class Mine(MLPClassifier):
        pass

    with pytest.raises(ModelFileError, match="'Mine'"):
        gpubp.save(Mine(**SMALL).fit(X, THREE), tmp_path / "model")


def test_a_table_estimator_of_ones_own_is_refused(tmp_path: Path) -> None:
    class Mine(TableRegressor):
        pass

    with pytest.raises(ModelFileError, match="'Mine'"):
        gpubp.save(Mine(**SMALL).fit(table(), Y), tmp_path / "model")


def test_unwritable_path(tmp_path: Path) -> None:
    model = MLPClassifier(**SMALL).fit(X, THREE)
    with pytest.raises(ModelFileError, match="does not exist; create it"):
        gpubp.save(model, tmp_path / "missing" / "model")


# A file that was tampered with gives ModelFileError, or a model that works.


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One file of each kind that a header can have."""
    folder = tmp_path_factory.mktemp("models")
    for kind in ("text", "labels", "floats", "three outputs"):
        estimator, y = TARGETS[kind]
        model = estimator(**SMALL).fit(X, y)
        model.feature_names_in_ = np.array(["a", "b", "c"], dtype=object)
        gpubp.save(model, folder / kind)
    model = MLPRegressor(**SMALL, early_stopping=True, validation_fraction=0.25).fit(X, X[:, 0])
    gpubp.save(model, folder / "early stopping")
    model = MLPRegressor(**SMALL, n_members=2, input_stage=STAGE, clip_predictions=True)
    gpubp.save(model.fit(X_OF_STAGE, X[:, 0]), folder / "stage")
    for kind in ("classes", "numbers"):
        gpubp.save(table_model(kind), folder / f"table {kind}")
    for name in ("iris", "two_targets"):  # which have their columns in a "schema"
        (folder / name).write_bytes((DATA / f"{name}.safetensors").read_bytes())
    return {file.name: file for file in folder.iterdir()}


KINDS = (
    "text",
    "labels",
    "floats",
    "three outputs",
    "early stopping",
    "stage",
    "table classes",
    "table numbers",
    "iris",
    "two_targets",
)
# What each file predicts for.
ROWS = dict.fromkeys(KINDS, X) | {
    "table classes": full_table(),
    "table numbers": full_table(),
    "iris": np.ones((24, 4)),
    "stage": X_OF_STAGE,
}


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a JSON value, as the keys that lead there."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in items:
        yield (*path, key)
        if isinstance(item, dict | list):
            yield from _places(item, (*path, key))


def _parent(header: Any, place: tuple[Any, ...]) -> Any:
    for key in place[:-1]:
        header = header[key]
    return header


def _loads(path: Path, record: ModelRecord, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the record loads; then it must predict, and else the error must name the file."""
    read_again = ModelRecord(json.loads(json.dumps(record.header)), record.tensors)
    monkeypatch.setattr("gpubp.models.save_load.read_model", lambda path: read_again)
    message = str(path)
    try:
        model = gpubp.load(path)
    except ModelFileError as error:
        message = str(error)
        model = None
    assert message.startswith(str(path))
    assert "\n" not in message
    assert model is None or _predicts(model, ROWS[path.name])
    return model is not None


def _predicts(model: Any, rows: Any) -> bool:
    """Whether a model gives something for each row, or says why not."""
    try:
        return len(model.predict(rows)) == len(rows)
    except DataError:  # such as of a column that the table has not
        return True
    except ValueError as error:  # cells of another column are no levels
        return "input_stage" in str(error) or "level" in str(error)


@pytest.mark.parametrize("kind", KINDS)
def test_a_header_with_a_key_missing(
    kind: str, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    record = read_model(files[kind])
    loads = set()
    for place in _places(record.header):
        header = copy.deepcopy(record.header)
        del _parent(header, place)[place[-1]]
        if _loads(files[kind], ModelRecord(header, record.tensors), monkeypatch):
            loads.add(place)
    # A parameter that is missing has its default, so that older files load.
    defaults = {place for place in loads if place[:-1] == ("estimator", "parameters")}
    curves = {
        place for place in loads if place[2:3] in (("losses",), ("scores",), ("validation_losses",))
    }
    defaults |= {place for place in loads if place[:2] == ("table", "parameters")}
    defaults |= {place for place in loads if place[:2] == ("table", "about")}
    defaults |= {place for place in loads if place[-2:-1] in (("remarks",), ("strays",))}
    # The sixth column is one that is not encoded.
    allowed = {("estimator", "feature_names"), ("table", "encoder", "columns", 5)}
    allowed.add(("estimator", "history", "engine"))
    if kind == "stage":  # a file without members is one of weights that were set by hand
        allowed |= {("estimator", "members"), ("estimator", "target_range")}
        allowed |= {("estimator", "members", k, "validation_losses") for k in range(2)}
        allowed |= {place for place in loads if place[1] == "members" and len(place) > 4}
    assert loads - defaults - curves <= allowed
    assert ("estimator", "parameters", "hidden_layer_sizes") not in loads


WRONG = [None, True, -1, 0, 10**30, 0.5, 1e300, "", "x", "inf", [], {}, [None], [0], [[3]]]
WRONG += [["a", "a", "b"], {"a": 1}, [0, 1, 1e300], [0, 0.5, 1], [[0], [1], [2]], "\ud7ff"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_header_with_a_wrong_value(
    kind: str, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    record = read_model(files[kind])
    refused = 0
    for place in _places(record.header):
        own = {"text", "stage"} if "input_stage" in place else {"text"}
        if "parameters" in place and kind not in own and "loss" not in place:
            continue  # the same in every file
        if "history" in place and kind != "early stopping":
            continue
        for value in WRONG:
            header = copy.deepcopy(record.header)
            _parent(header, place)[place[-1]] = value
            changed = ModelRecord(header, record.tensors)
            refused += not _loads(files[kind], changed, monkeypatch)
    assert refused > 50


@pytest.mark.parametrize(
    ("kind", "place", "value", "message"),
    [
        ("text", "estimator.class", "os.system", "'class' is 'os.system', but this gpubp knows"),
        ("text", "estimator.class", "MLPRegressor", "unknown key 'labels'"),
        ("text", "estimator.history.stopped_by", "boredom", "'stopped_by' is 'boredom'"),
        ("text", "estimator.history.epochs", True, "must be of type int"),
        ("text", "estimator.labels.values", ["nein", "ja", "x"], "labels"),
        ("text", "estimator.labels.values", ["ja", "ja", "nein"], "labels"),
        ("text", "estimator.labels.values", ["ja", "nein"], "labels"),
        ("text", "estimator.labels.values", ["ja", "nein", 3], "labels"),
        ("text", "estimator.labels.multilabel", True, "labels"),
        ("labels", "estimator.labels.values", [0, 1, 3], "labels"),
        ("text", "estimator.feature_names", ["a", "b"], "2 feature names for 3 features"),
        ("text", "estimator.parameters.hidden_layer_sizes", [4, 4], "'coefs.1' has shape"),
        ("text", "estimator.parameters.activation", "no_such_one", "'activation' parameter"),
        ("text", "estimator.parameters.colour", 1, "unknown key 'colour'"),
        ("text", "colour", 1, "unknown key 'colour'"),
        ("table classes", "table.class", "os.system", "'class' is 'os.system', but this gpubp"),
        ("table classes", "table.class", "TableRegressor", "'task' is 'classification', but"),
        ("table classes", "table.targets", ["y", "z"], "of 2 targets from .* does not fit"),
        ("table classes", "table.targets", [3], "item 0 of 'targets'"),
        ("table classes", "table.parameters.colour", 1, "unknown key 'colour'"),
        ("table classes", "table.parameters.alpha", -1, "'alpha' parameter"),
        ("table classes", "table.parameters.na", 3, "'na' is 3, but must be a list of texts"),
        ("table classes", "table.encoder", {}, "missing from the header"),
        ("table numbers", "table.targets", ["y0"], "a regression of 1 targets from"),
        ("iris", "schema.task", "regression", "a regression of 1 targets from 4 encoded columns"),
        ("iris", "schema.features", ["a", "b"], "4 columns for 2 features"),
        ("iris", "schema.features", ["a", "b", "c", "a"], "with distinct names"),
        ("two_targets", "schema.task", "classification", "does not fit the MLPRegressor"),
        ("two_targets", "schema.targets", ["p", "y1", "z"], "does not fit the MLPRegressor"),
    ],
)
def test_the_message_says_what_is_wrong(
    kind: str, place: str, value: Any, message: str, files: dict[str, Path], tmp_path: Path
) -> None:
    record = read_model(files[kind])
    keys = tuple(place.split("."))
    _parent(record.header, keys)[keys[-1]] = value
    write_model(tmp_path / "model", record)
    with pytest.raises(ModelFileError, match=message):
        gpubp.load(tmp_path / "model")


def test_columns_of_another_estimator(files: dict[str, Path], tmp_path: Path) -> None:
    for kind, other, key in (("table classes", "table numbers", "table"), ("iris", "text", "")):
        ours, theirs = read_model(files[kind]), read_model(files[other])
        header = ours.header | {"estimator": theirs.header["estimator"]}
        tensors = {k: v for k, v in ours.tensors.items() if "." in k and k[0] not in "ci"}
        write_model(tmp_path / "model", ModelRecord(header, theirs.tensors | tensors))
        with pytest.raises(ModelFileError, match=f"does not fit the MLP|unknown key|{key}"):
            gpubp.load(tmp_path / "model")


def test_a_schema_of_fewer_features(files: dict[str, Path], tmp_path: Path) -> None:
    record = read_model(files["iris"])
    record.header["schema"]["features"] = ["a", "b"]
    for name in ("features.mean", "features.scale"):
        record.tensors[name] = record.tensors[name][:2]
    write_model(tmp_path / "model", record)
    with pytest.raises(ModelFileError, match="from 2 encoded columns does not fit the MLPCl"):
        gpubp.load(tmp_path / "model")


def test_both_a_table_and_a_schema(files: dict[str, Path], tmp_path: Path) -> None:
    record = read_model(files["table classes"])
    record.header["schema"] = {}
    write_model(tmp_path / "model", record)
    with pytest.raises(ModelFileError, match="both"):
        gpubp.load(tmp_path / "model")


def _tampered(tensors: dict[str, np.ndarray]) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    for name, array in tensors.items():
        others = {key: value for key, value in tensors.items() if key != name}
        yield f"{name} missing", others
        yield f"{name} renamed", {**others, f"{name}x": array}
        wider = np.zeros(tuple(n + 1 for n in array.shape), array.dtype)
        changes = {
            "wider": wider,
            "empty": array[:0],
            "deeper": array[None],
            "flat": array.ravel() if array.ndim > 1 else array[:, None],
            "half": array.astype(np.float64 if array.dtype == np.float32 else np.float32),
            "int64": array.astype(np.int64),
            "bool": array.astype(bool),
        }
        if array.ndim == 2:
            changes["transposed"] = array.T
        # The rows of coefs.0 are the features.
        if array.ndim == 2 and (name != "coefs.0" or "encoder.statistics" in tensors):
            changes["taller"] = np.concatenate([array, array[:1]])
        for what, changed in changes.items():
            yield f"{name} {what}", {**others, name: changed}
    yield "extra", {**tensors, "coefs.9": np.zeros((3, 3))}
    yield "none", {}


@pytest.mark.parametrize("kind", KINDS)
def test_tampered_tensors(
    kind: str, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    record = read_model(files[kind])
    square = {name for name, W in record.tensors.items() if W.ndim == 2 and len(set(W.shape)) == 1}
    loads = {
        what
        for what, tensors in _tampered(record.tensors)
        if _loads(files[kind], ModelRecord(record.header, tensors), monkeypatch)
    }
    assert loads <= {f"{name} transposed" for name in square}


@pytest.mark.parametrize("cut", [0, 1, 8, 100, -1])
def test_a_truncated_file(cut: int, files: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(files["text"].read_bytes()[:cut])
    with pytest.raises(ModelFileError, match=r"model: "):
        gpubp.load(tmp_path / "model")


def test_a_model_of_a_later_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpubp.storage.model_file.FORMAT_VERSION", 99)
    gpubp.save(MLPClassifier(**SMALL).fit(X, THREE), tmp_path / "model")
    monkeypatch.undo()
    with pytest.raises(ModelFileError, match=r"newer gpubp \(format 99; .* upgrade gpubp"):
        gpubp.load(tmp_path / "model")


# Files of gpubp before TableEncoder.


def test_an_earlier_classifier_predicts_what_it_did() -> None:
    rows = [[5.1, 3.5, 1.4, 0.2], [5.0, 2.0, 3.5, 1.0], [6.9, 3.2, 5.7, 2.3]]
    expected = [
        [0.9987265467643738, 0.0005548821645788848, 0.0007185277063399553],
        [0.001311532687395811, 0.9896132349967957, 0.009075253270566463],
        [3.064447082579136e-05, 0.0019087144173681736, 0.9980606436729431],
    ]
    model = _earlier("iris", TableClassifier)
    assert "tune" not in model.get_params()  # which files of that time have
    assert_allclose(model.predict_proba(np.array(rows)), expected, rtol=1e-5)
    assert_array_equal(model.classes_, ["setosa", "versicolor", "virginica"])
    shuffled = {name: [row[j] for row in rows] for j, name in enumerate(model.feature_names_in_)}
    shuffled = dict(reversed(shuffled.items())) | {"target": ["setosa", "versicolor", "setosa"]}
    assert_allclose(model.predict_proba(shuffled), expected, rtol=1e-5)
    assert model.evaluate(shuffled)["accuracy"] == 2 / 3


def test_an_earlier_regressor_predicts_what_it_did() -> None:
    expected = [216.53654635070973, 104.1186176936026, 208.3773938867957]
    model = _earlier("diabetes", TableRegressor)
    assert_allclose(model.predict(load_diabetes().data[::200]), expected, rtol=1e-5)
    assert model.target_names_ == ("target",)


def test_an_earlier_regressor_of_two_targets_predicts_what_it_did() -> None:
    rows = [
        [0.1257302210933933, 9986.78951367087, 5.000640422650443],
        [0.10490011715303971, 9946.43306268389, 5.000361595054909],
        [1.3040000451301372, 10094.708096312925, 4.999296264764193],
    ]
    expected = [
        [3003247.22171871, -34.212564783377545],
        [2999777.3284857683, -66.39980737930568],
        [3009978.9398463503, 68.82181660554497],
    ]
    model = _earlier("two_targets", TableRegressor)
    assert_allclose(model.predict(np.array(rows)), expected, rtol=1e-5)
    assert model.target_names_ == ("p", "q")


def test_an_earlier_model_is_saved_as_one_of_today(tmp_path: Path) -> None:
    model = _earlier("iris", TableClassifier)
    again = _round_trip(model, tmp_path / "model")
    assert "schema" not in read_model(tmp_path / "model").header
    assert_array_equal(again.predict_proba(np.ones((3, 4))), model.predict_proba(np.ones((3, 4))))


def _earlier(name: str, kind: type) -> Any:
    """Return a model that `gpubp train` has saved while models had a "schema"."""
    path = DATA / f"{name}.safetensors"
    assert "schema" in read_model(path).header
    model = gpubp.load(path, device="cpu")
    assert type(model) is kind
    return model


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            make_pipeline(StandardScaler(), MLPClassifier()),
            r"got Pipeline of scikit-learn; .*joblib.dump, .* save\(pipeline\[-1\], path\)",
        ),
        (
            GridSearchCV(MLPClassifier(), {"alpha": [0.1]}),
            r"got GridSearchCV of scikit-learn; .* save\(search.best_estimator_, path\)",
        ),
        (SklearnClassifier(), "of gpubp, got MLPClassifier of scikit-learn; use joblib.dump"),
        ([1], "of gpubp, got list$"),
    ],
)
def test_what_save_does_not_take_has_advice(model: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=message):
        gpubp.save(model, tmp_path / "m")
