"""The input stage of the estimators: training, going on, saving, and wrong settings."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_matrix
from sklearn.base import clone

from gpubp import MLPClassifier, MLPRegressor, ModelFileError, load, save
from gpubp.backends.pooled_recording import PooledRecording
from gpubp.backends.protocol import Backend
from gpubp.estimators.fitted_stage import stage_of
from gpubp.models.ensemble_facts import parameters_of
from gpubp.storage.model_file import ModelRecord, read_model, write_model
from gpubp.training import fit as training
from tests.cuda_stand_in.kernels import skip_without_compiler
from tests.estimators.cases import BASE, OURS, fit

N, LEVELS = 120, 5
RNG = np.random.RandomState(0)
X = RNG.uniform(-1, 1, (N, 4))
X[:, 2] = RNG.randint(LEVELS, size=N)
NUMBERS = np.sin(4 * X[:, 0]) + np.array([1, -1, 0.5, 2, 0])[X[:, 2].astype(int)] * X[:, 3]
TARGETS: dict[str, Any] = {"regressor": NUMBERS, "classifier": np.digitize(NUMBERS, [-0.5, 0.5])}
KINDS = list(TARGETS)
STAGE: dict[str, Any] = {"periodic": [0, 3], "tables": {2: LEVELS}}
STAGES: dict[str, dict[str, Any]] = {
    "both": STAGE,
    "periodic": {"periodic": "all"},
    "tables": {"tables": {2: LEVELS}},
    "scale": {},
}
WIDTH = 8 + 2 * 3 + 3  # features of STAGE


def made(kind: str = "regressor", **options: Any) -> Any:
    chosen = {**BASE, "max_iter": 4, "device": "cpu", "input_stage": STAGE, **options}
    return fit(OURS[kind](**chosen), X, TARGETS[kind])


def arrays(model: Any) -> dict[str, np.ndarray]:
    named = {f"W{k}": W for k, W in enumerate(model.coefs_)}
    named |= {f"b{k}": b for k, b in enumerate(model.intercepts_)}
    return {name: part.copy() for name, part in (named | model.input_stage_).items()}


def assert_same(one: Any, other: Any, tolerance: float = 0.0) -> None:
    wanted = arrays(other)
    for name, part in arrays(one).items():
        assert_allclose(part, wanted[name], tolerance, tolerance, err_msg=name)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stage", STAGES)
def test_all_parameters_are_trained(backend: Backend, kind: str, stage: str) -> None:
    options = {"input_stage": STAGES[stage], "device": backend.name, "dtype": "float64"}
    model = made(kind, **options)
    start = made(kind, **options, learning_rate_init=1e-300, max_iter=1)
    assert model.n_features_in_ == 4
    assert model.coefs_[0].shape[0] == model.input_stage_["scale"].shape[0]
    for (name, part), before in zip(arrays(model).items(), arrays(start).values(), strict=True):
        moved = part != before
        assert moved.sum() > 0.5 * min(part.size, LEVELS * 8), name
    assert model.loss_curve_[-1] < model.loss_curve_[0]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("stage", STAGES)
def test_compiled_training_is_that_of_numpy(
    stage: str, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    skip_without_compiler()
    steps: list[Any] = []
    make = training.make_trainer

    def noted(*arguments: Any, **options: Any) -> Any:
        steps.append(make(*arguments, **options))
        return steps[-1]

    monkeypatch.setattr(training, "make_trainer", noted)
    options = {"input_stage": STAGES[stage], "dtype": dtype, "activation": "tanh"}
    compiled = made(**options, compiled=True)
    assert compiled.engine_ == "compiled"
    assert all(type(r) is PooledRecording for one in steps for r in one.recordings)
    plain = made(**options, compiled=False)
    assert plain.engine_ == "numpy"
    assert len(steps) == 2
    assert_same(compiled, plain, 2e-5 if dtype == "float32" else 1e-9)


def test_periodic_features_learn_a_wave_that_a_plain_network_does_not() -> None:
    x = np.linspace(-3, 3, 400)[:, None]
    y = np.sin(6 * x[:, 0])
    options = {**BASE, "hidden_layer_sizes": (8,), "max_iter": 200, "tol": 0.0, "device": "cpu"}
    plain = fit(MLPRegressor(**options), x, y)
    periodic = fit(MLPRegressor(**options, input_stage={"periodic": "all"}), x, y)
    assert plain.score(x, y) < 0.5
    assert periodic.score(x, y) > 0.95


def test_a_table_learns_levels_in_any_order() -> None:
    values = np.array([2.0, -1, 5, 0, -3, 4, 1, -2])
    codes = np.random.RandomState(0).randint(8, size=(300, 1)).astype(float)
    y = values[codes[:, 0].astype(int)]
    options = {**BASE, "hidden_layer_sizes": (3,), "max_iter": 60, "tol": 0.0, "device": "cpu"}
    options["activation"] = "tanh"
    plain = fit(MLPRegressor(**options), codes, y)
    tables = fit(MLPRegressor(**options, input_stage={"tables": {0: 8}}), codes, y)
    assert plain.score(codes, y) < 0.8
    assert tables.score(codes, y) > 0.99


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_codes_without_a_level_are_those_of_the_nearest_one(dtype: Any) -> None:
    model, rows = made(), X[:4].astype(dtype)
    outside, inside = rows.copy(), rows.copy()
    outside[:, 2], inside[:, 2] = [-1, -7, LEVELS, 1e9], [0, 0, LEVELS - 1, LEVELS - 1]
    assert_array_equal(model.predict(outside), model.predict(inside))


@pytest.mark.parametrize("kind", KINDS)
def test_a_sparse_X_gives_the_same_network(kind: str) -> None:
    dense, options = made(kind), {**BASE, "max_iter": 4, "device": "cpu", "input_stage": STAGE}
    sparse = fit(OURS[kind](**options), csr_matrix(X), TARGETS[kind])
    assert_same(sparse, dense, 1e-12)
    assert_allclose(sparse.predict(csr_matrix(X)), dense.predict(X), rtol=1e-9)


@pytest.mark.parametrize("options", [{}, {"early_stopping": True}], ids=["all", "early stopping"])
@pytest.mark.parametrize("how", ["all", "bootstrap", "folds"])
@pytest.mark.parametrize("kind", KINDS)
def test_an_ensemble_predicts_the_mean_of_its_members(
    kind: str, how: str, options: dict[str, Any]
) -> None:
    model = made(kind, n_members=3, member_rows=how, max_iter=8, **options)
    shapes = {name: part.shape for name, part in model.input_stage_.items()}
    assert shapes == {"scale": (3, WIDTH), "periodic": (3, 2, 83), "tables": (3, 6, 8)}
    for k, member in enumerate(model.members_):
        for name, part in member.input_stage_.items():
            assert np.shares_memory(part, model.input_stage_[name])
            assert_array_equal(part, model.input_stage_[name][k])
        if how == "all":
            assert_same(fit(clone(member), X, TARGETS[kind]), member, 1e-12)
    predict = "predict_proba" if kind == "classifier" else "predict"
    mean = np.mean([getattr(member, predict)(X) for member in model.members_], axis=0)
    assert_allclose(getattr(model, predict)(X), mean, rtol=1e-9)
    if how != "all":
        assert np.isfinite(model.oob_score_)


def test_early_stopping_keeps_the_best_parameters() -> None:
    model = made(early_stopping=True, max_iter=60, n_iter_no_change=3, tol=0.01, dtype="float64")
    best = model.best_epoch_
    assert best < model.n_iter_ < 60
    again = made(early_stopping=True, max_iter=best, n_iter_no_change=99, tol=0.01, dtype="float64")
    assert again.best_epoch_ == best
    assert_same(model, again)


@pytest.mark.parametrize("stage", STAGES)
def test_lbfgs_lowers_the_loss_of_all_parameters(stage: str) -> None:
    options = {"input_stage": STAGES[stage], "solver": "lbfgs", "alpha": 1e-4}
    few, many = (made(**options, max_iter=n) for n in (1, 60))
    assert many.loss_ < 0.5 * few.loss_
    for name, part in many.input_stage_.items():
        assert not np.array_equal(part, few.input_stage_[name]), name


@pytest.mark.parametrize("kind", KINDS)
def test_two_fits_are_one_of_twice_the_epochs(kind: str) -> None:
    options: dict[str, Any] = {"shuffle": False, "tol": 0.0, "n_iter_no_change": np.inf}
    whole = made(kind, **options, max_iter=8)
    parts = made(kind, **options, warm_start=True, keep_optimizer_state=True, max_iter=4)
    assert_same(fit(parts, X, TARGETS[kind]), whole)
    steps = OURS[kind](**{**BASE, **options, "device": "cpu", "input_stage": STAGE})
    for _ in range(8):
        more = {"classes": np.unique(TARGETS[kind])} if kind == "classifier" else {}
        steps.partial_fit(X, TARGETS[kind], **more)
    assert_same(steps, whole)


def test_partial_fit_goes_on_from_edited_parameters() -> None:
    model = made(learning_rate_init=1e-300)
    for part in model.input_stage_.values():
        part[...] += 0.25
    before = arrays(model)
    model.partial_fit(X, NUMBERS)
    for name, part in arrays(model).items():
        assert_array_equal(part, before[name], err_msg=name)


@pytest.mark.parametrize("n_members", [None, 2])
def test_edited_parameters_change_predictions(n_members: int | None) -> None:
    """Also those of few rows, whose pass is recorded."""
    model = made(n_members=n_members, activation="tanh")
    for name in ("scale", "periodic", "tables"):
        for rows in (X[:2], X):
            before = model.predict(rows)
            assert_array_equal(model.predict(rows), before)
            model.input_stage_[name][...] *= 1.5
            now = model.predict(rows)
            assert not np.isclose(now, before, rtol=1e-6).any(), name
            assert_array_equal(copy.deepcopy(model).predict(rows), now)


def test_the_stage_is_that_of_the_fit() -> None:
    model = made()
    wanted = model.predict(X)
    assert_array_equal(model.set_params(input_stage=None).predict(X), wanted)
    assert set(model.input_stage_) == {"scale", "periodic", "tables"}
    fit(model, X, NUMBERS)
    with pytest.raises(AttributeError, match=r"has input_stage_ only after fit with input_stage"):
        _ = model.input_stage_
    assert model.coefs_[0].shape[0] == 4


@pytest.mark.parametrize("n_members", [None, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_copies_predict_the_same(kind: str, n_members: int | None, tmp_path: Path) -> None:
    model = made(kind, n_members=n_members, early_stopping=True)
    save(model, tmp_path / "model")
    for other in (
        pickle.loads(pickle.dumps(model)),
        copy.deepcopy(model),
        load(tmp_path / "model", device="cpu"),
        fit(clone(model), X, TARGETS[kind]),
    ):
        assert stage_of(other.input_stage, 4) == stage_of(STAGE, 4)
        assert other.n_features_in_ == 4
        assert_same(other, model)
        for rows in (X[:2], X):
            assert_array_equal(other.predict(rows), model.predict(rows))
    again = load(tmp_path / "model", device="cpu")
    save(again, tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "model").read_bytes()


def test_a_loaded_model_is_trained_further(tmp_path: Path) -> None:
    model = made(warm_start=True)
    save(model, tmp_path / "model")
    loaded = load(tmp_path / "model", device="cpu")
    loaded.partial_fit(X, NUMBERS)
    assert loaded.loss_ < model.loss_


@pytest.mark.parametrize("other", [None, {"periodic": (0,), "tables": {}}, {"periodic": "all"}])
def test_a_training_goes_on_with_the_same_stage_only(other: Any) -> None:
    for before, now in ((STAGE, other), (other, STAGE)):
        model = made(warm_start=True, input_stage=before)
        model.partial_fit(X, NUMBERS).set_params(input_stage=now)
        wanted = model.predict(X)
        for further in (model.fit, model.partial_fit):
            with pytest.raises(ValueError, match="continue with the input_stage of the last fit"):
                further(X, NUMBERS)
        assert_array_equal(model.predict(X), wanted)


def _without(name: str) -> Callable[[ModelRecord], object]:
    return lambda record: record.tensors.pop(name)


def _with(name: str, change: Callable[[Any], Any]) -> Callable[[ModelRecord], object]:
    return lambda record: record.tensors.update({name: change(record.tensors[name])})


def _headed(value: Any) -> Callable[[ModelRecord], object]:
    def change(record: ModelRecord) -> None:
        if value is None:
            del record.header["estimator"]["n_features"]
        else:
            record.header["estimator"]["n_features"] = value

    return change


DAMAGES: dict[str, tuple[Callable[[ModelRecord], object], str]] = {
    "no scale": (_without("input_stage.scale"), "input_stage.scale"),
    "no tables": (_without("input_stage.tables"), "input_stage.tables"),
    "short": (_with("input_stage.periodic", lambda a: a[:1]), "input_stage.periodic"),
    "long": (_with("input_stage.tables", lambda a: np.vstack([a, a])), "input_stage.tables"),
    "other dtype": (
        _with("input_stage.scale", lambda a: a.astype(np.float32)),
        "parameters of the input stage must be of float64",
    ),
    "more features": (
        _headed(5),
        "an input stage for 5 columns does not give the 17 inputs of the first layer",
    ),
    "too few features": (_headed(2), "columns of an input stage must be from 0 to 1"),
    "no features": (_headed(0), "'n_features' is 0, but must be from 1 to the 17 inputs"),
    "negative features": (_headed(-4), "'n_features' is -4, but must be from 1 to the 17 inputs"),
    "text": (_headed("four"), "n_features"),
    "missing": (_headed(None), "n_features"),
    "unknown": (
        lambda record: record.tensors.update({"input_stage.more": np.ones(3)}),
        "input_stage.more",
    ),
}


@pytest.mark.parametrize("n_members", [None, 2])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_refused_in_a_sentence(
    damage: str, n_members: int | None, tmp_path: Path
) -> None:
    path = tmp_path / "model"
    save(made(dtype="float64", n_members=n_members), path)
    record = read_model(path)
    change, message = DAMAGES[damage]
    change(record)
    write_model(path, record)
    with pytest.raises(ModelFileError, match=message):
        load(path)


def test_the_settings_of_a_damaged_file_are_checked(tmp_path: Path) -> None:
    path = tmp_path / "model"
    save(made(), path)
    for value in ({"periodic": [0, 0]}, {"tables": "all"}, {"unknown": 1}):
        record = read_model(path)
        pairs = [[k, {"pairs": v} if isinstance(v, dict) else v] for k, v in value.items()]
        record.header["estimator"]["parameters"]["input_stage"] = {"pairs": pairs}
        write_model(path, record)
        with pytest.raises(ModelFileError, match="restore the file or save the model again"):
            load(path)


def test_a_model_whose_stage_was_removed_is_refused() -> None:
    model = made()
    del model._stage_vector
    with pytest.raises(ValueError, match="its parameters are missing; call fit, or set"):
        model.predict(X)


WRONG: dict[str, tuple[Any, str]] = {
    "text": ("periodic", "input_stage"),
    "list": ([0, 1], "input_stage"),
    "unknown key": ({"periodics": "all"}, r"a dict with 'periodic' .*, got \{'periodics': 'all'\}"),
    "other text": ({"periodic": "none"}, "columns of X or 'all', got 'none'"),
    "fraction": (
        {"periodic": [0.5]},
        r"input_stage\['periodic'\] must have whole numbers, got 0.5",
    ),
    "truth": ({"periodic": [True]}, r"input_stage\['periodic'\] must have whole numbers, got True"),
    "number": ({"periodic": 1}, r"input_stage\['periodic'\] must be columns of X or 'all', got 1"),
    "no column": ({"periodic": [4]}, r"must be from 0 to 3, got \[4\]"),
    "negative": ({"periodic": [-1]}, r"must be from 0 to 3, got \[-1\]"),
    "twice": ({"periodic": [1, 1]}, "only once"),
    "both": ({"periodic": [2], "tables": {2: 5}}, "only once"),
    "tables as list": ({"tables": [2]}, r"must be a dict \{column: levels\}, got \[2\]"),
    "tables as number": ({"tables": 0}, r"must be a dict \{column: levels\}, got 0"),
    "no levels": ({"tables": {2: 0}}, "1 or more levels"),
    "levels in text": ({"tables": {2: "5"}}, "whole numbers, got '5'"),
    "column by name": ({"tables": {"c": 5}}, "whole numbers, got 'c'"),
}


@pytest.mark.parametrize("case", WRONG)
@pytest.mark.parametrize("kind", KINDS)
def test_wrong_settings_are_refused(kind: str, case: str) -> None:
    stage, message = WRONG[case]
    with pytest.raises(ValueError, match=message):
        made(kind, input_stage=stage)


def test_numpy_numbers_are_columns_too() -> None:
    columns = {"periodic": np.array([0, 3]), "tables": {np.int64(2): np.int32(LEVELS)}}
    assert_same(made(input_stage=columns), made())


@pytest.mark.parametrize("solver", ["adam", "sgd", "adamw"])
def test_factors_act_on_their_part_only(backend: Backend, solver: str) -> None:
    options: dict[str, Any] = {"solver": solver, "device": backend.name, "dtype": "float64"}
    start = arrays(made(**options, learning_rate_init=1e-300, max_iter=1))
    frozen = dict.fromkeys(("weights", "biases", "scale", "periodic", "tables"), 0)
    decay = {"weight_decay": 0} if solver == "adamw" else {}
    for part in ("scale", "periodic", "tables"):
        only = arrays(made(**options, rate_factors=frozen | {part: 1}, **decay))
        same = {name for name, array in only.items() if np.array_equal(array, start[name])}
        assert same == set(start) - {part}
        without = arrays(made(**options, rate_factors={part: 0}, **decay))
        same = {name for name, array in without.items() if np.array_equal(array, start[name])}
        assert same == {part}


def test_parts_of_the_stage_decay_only_with_a_factor() -> None:
    """A learning rate of 0 for all leaves the decay alone: theta (1 - rate decay)^steps."""
    options: dict[str, Any] = {"solver": "adamw", "weight_decay": 0.5, "learning_rate_init": 0.1}
    options |= {"alpha": 0.0, "batch_size": N, "max_iter": 3, "tol": 0.0, "dtype": "float64"}
    start = arrays(made(learning_rate_init=1e-300, max_iter=1, dtype="float64"))
    kinds = ("scale", "periodic", "tables")
    options["rate_factors"] = dict.fromkeys(("weights", "biases", *kinds), 0)
    plain = arrays(made(**options))
    for kind in kinds:
        assert_array_equal(plain[kind], start[kind])
        decayed = arrays(made(**options, decay_factors={kind: 2, "weights": 0}))
        for name, part in decayed.items():
            factor = 0.9**3 if name == kind else 1
            assert_allclose(part, start[name] * factor, rtol=1e-12)


def test_the_penalty_is_that_of_the_weights() -> None:
    options: dict[str, Any] = {"rate_factors": {"weights": 0, "biases": 0}, "dtype": "float64"}
    assert_same(made(**options, alpha=0.0), made(**options, alpha=10.0), 1e-9)


def test_dropout_of_inputs_drops_features() -> None:
    model = made(input_dropout=0.5, dropout=0.2, max_iter=20)
    assert model.loss_curve_[-1] < model.loss_curve_[0]
    assert np.isfinite(model.predict(X)).all()


def test_a_classifier_with_labels_of_its_own() -> None:
    labels = np.array(["a", "b", "c"])[TARGETS["classifier"]]
    options = {**BASE, "input_stage": STAGE, "device": "cpu", "max_iter": 60}
    model = fit(MLPClassifier(**options), X, labels)
    assert model.score(X, labels) > 0.8


@pytest.mark.parametrize("n_members", [None, 2])
def test_a_description_counts_its_parameters(n_members: int | None) -> None:
    model = made(n_members=n_members)
    dense = WIDTH * 7 + 7 + 7 * 5 + 5 + 5 + 1
    assert parameters_of(model) == dense + WIDTH + 2 * 83 + LEVELS * 8
