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

import gpubp
from gpubp import MLPClassifier, MLPRegressor, ModelFileError, TableModel
from gpubp.storage.model_file import ModelRecord, read_model, write_model
from gpubp.tables.table import Table

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:X does not have valid feature names"),
]

RNG = np.random.default_rng(0)
X = RNG.normal(size=(24, 3))
THREE = np.arange(24) % 3
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


def test_validation_scores_that_are_no_numbers(tmp_path: Path) -> None:
    model = MLPRegressor(**SMALL, early_stopping=True, validation_fraction=0.25).fit(X, X[:, 0])
    model._history.scores[0] = model._history.validation_losses[1] = np.nan
    loaded = _round_trip(model, tmp_path / "model")
    assert_array_equal(loaded.validation_scores_, model.validation_scores_)
    assert_array_equal(loaded.validation_loss_curve_, model.validation_loss_curve_)
    assert len(loaded.validation_loss_curve_) == 3
    assert loaded.best_validation_score_ == np.nanmax(model.validation_scores_)


def test_files_from_before_there_were_validation_losses(tmp_path: Path) -> None:
    model = MLPRegressor(**SMALL, early_stopping=True, validation_fraction=0.25).fit(X, X[:, 0])
    gpubp.save(model, tmp_path / "model")
    record = read_model(tmp_path / "model")
    del record.header["estimator"]["history"]["validation_losses"]
    write_model(tmp_path / "model", record)
    loaded = gpubp.load(tmp_path / "model")
    assert loaded.validation_loss_curve_ == []
    assert_array_equal(loaded.predict(X), model.predict(X))


# What cannot be saved is refused, and the file that was there stays.


def test_unfitted(tmp_path: Path) -> None:
    with pytest.raises(NotFittedError, match="not fitted yet"):
        gpubp.save(MLPClassifier(), tmp_path / "model")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("wrong", [None, {"coefs_": []}, MLPClassifier, np.zeros(3)])
def test_wrong_type(wrong: Any, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="takes an MLPClassifier, MLPRegressor or TableModel, got"):
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


def test_unwritable_path(tmp_path: Path) -> None:
    model = MLPClassifier(**SMALL).fit(X, THREE)
    with pytest.raises(ModelFileError, match="does not exist; create it"):
        gpubp.save(model, tmp_path / "missing" / "model")


# A file that was tampered with gives ModelFileError, or a model that works.


def _table_model(kind: str) -> TableModel:
    estimator, y = TARGETS[kind]
    names = ("a", "b", "c")
    targets = {f"y{j}": column for j, column in enumerate(np.transpose([*np.atleast_2d(y.T)]).T)}
    table = Table((*names, *targets), X, targets, "rows", names, tuple(targets))
    return TableModel.fit(estimator(**SMALL), table, tuple(targets))[0]


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
    for kind in ("text", "three outputs"):
        gpubp.save(_table_model(kind), folder / f"table {kind}")
    return {file.name: file for file in folder.iterdir()}


KINDS = (
    "text",
    "labels",
    "floats",
    "three outputs",
    "early stopping",
    "table text",
    "table three outputs",
)


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
    assert model is None or len(model.predict(X)) == len(X)
    return model is not None


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
    allowed = {("estimator", "feature_names")}
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
        if "parameters" in place and kind != "text" and "loss" not in place:
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
        ("table text", "schema.task", "regression", "a regression of 3 columns does not fit"),
        ("table text", "schema.features", ["a", "b"], "3 columns for 2 features"),
        ("table text", "schema.features", ["a", "b", "a"], "every name once"),
        ("table three outputs", "schema.task", "classification", "classification has one target"),
        ("table three outputs", "schema.targets", ["y0", "y1"], "does not fit the MLPRegressor"),
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


def test_a_schema_of_another_estimator(files: dict[str, Path], tmp_path: Path) -> None:
    text, numbers = (read_model(files[f"table {kind}"]) for kind in ("text", "three outputs"))
    header = {"estimator": text.header["estimator"], "schema": numbers.header["schema"]}
    write_model(tmp_path / "model", ModelRecord(header, {**numbers.tensors, **text.tensors}))
    with pytest.raises(ModelFileError, match="does not fit the MLPClassifier of 3 features"):
        gpubp.load(tmp_path / "model")


def test_a_schema_of_fewer_features(files: dict[str, Path], tmp_path: Path) -> None:
    record = read_model(files["table text"])
    record.header["schema"]["features"] = ["a", "b"]
    for name in ("features.mean", "features.scale"):
        record.tensors[name] = record.tensors[name][:2]
    write_model(tmp_path / "model", record)
    with pytest.raises(ModelFileError, match="of 2 columns does not fit the MLPClassifier of 3"):
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
        if array.ndim == 2 and name != "coefs.0":  # whose rows are the features
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


def _earlier(name: str) -> Any:
    """Return a model that `gpubp train` has saved while estimators had the parameter `tune`."""
    path = Path(__file__).parents[1] / "data" / f"{name}.safetensors"
    assert "tune" in read_model(path).header["estimator"]["parameters"]
    model = gpubp.load(path, device="cpu")
    assert "tune" not in model.estimator.get_params()
    return model


def test_an_earlier_classifier_predicts_what_it_did() -> None:
    rows = [[5.1, 3.5, 1.4, 0.2], [5.0, 2.0, 3.5, 1.0], [6.9, 3.2, 5.7, 2.3]]
    expected = [
        [0.9987265467643738, 0.0005548821645788848, 0.0007185277063399553],
        [0.001311532687395811, 0.9896132349967957, 0.009075253270566463],
        [3.064447082579136e-05, 0.0019087144173681736, 0.9980606436729431],
    ]
    assert_allclose(_earlier("iris").predict_proba(np.array(rows)), expected, rtol=1e-5)


def test_an_earlier_regressor_predicts_what_it_did() -> None:
    expected = [216.53654635070973, 104.1186176936026, 208.3773938867957]
    assert_allclose(_earlier("diabetes").predict(load_diabetes().data[::200]), expected, rtol=1e-5)
