"""Ensembles: members equal single networks, predictions are means, left-out rows are scored."""

from __future__ import annotations

import pickle
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_matrix
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import KFold, StratifiedKFold, cross_val_score, train_test_split
from sklearn.utils.estimator_checks import check_estimator

from gpubp import MLPClassifier, MLPRegressor, load, save
from gpubp.estimators.fit_estimators import Fit, fit_together
from gpubp.estimators.given_weights import weights_of
from gpubp.training import population
from gpubp.training.history import Epoch, History
from tests.estimators.cases import (
    BASE,
    CLASSES,
    OURS,
    PROBLEMS,
    TARGETS,
    WEIGHTS,
    N,
    X,
    fit,
    watched,
    with_callbacks,
)

M = 3
ENSEMBLE = {**BASE, "n_members": M}
REGRESSION = PROBLEMS["regression"][1]
HOWS = ("all", "bootstrap", "folds")


def ensemble(problem: str, **parameters: Any) -> Any:
    """A fitted ensemble for one of PROBLEMS."""
    kind, y = PROBLEMS[problem]
    return fit(OURS[kind](**{**ENSEMBLE, **parameters}), X, y)


def seeds_and_generator(random_state: int = BASE["random_state"]) -> tuple[list[int], Any]:
    """The seeds of the members by the documented rule, and the generator after them."""
    rng = np.random.RandomState(random_state)
    return rng.randint(2**31 - 1, size=M).tolist(), rng


def rows_of_members(how: str, y: np.ndarray | None = None) -> list[np.ndarray]:
    """The rows that each member trains on by the documented rule; y : strata of the folds."""
    rng = seeds_and_generator()[1]
    if how == "folds":
        kind = KFold if y is None else StratifiedKFold
        return [kept for kept, _ in kind(M, shuffle=True, random_state=rng).split(X, y)]
    return [rng.randint(N, size=N) if how == "bootstrap" else np.arange(N) for _ in range(M)]


def assert_equal_weights(member: Any, alone: Any) -> None:
    for got, wanted in zip(
        member.coefs_ + member.intercepts_, alone.coefs_ + alone.intercepts_, strict=True
    ):
        assert_allclose(got, wanted, rtol=1e-12, atol=1e-12)
    assert_allclose(member.loss_, alone.loss_, rtol=1e-12)
    if member.solver != "lbfgs":
        assert_allclose(member.loss_curve_, alone.loss_curve_, rtol=1e-12)
    assert (member.n_iter_, member.stopped_by_) == (alone.n_iter_, alone.stopped_by_)


@pytest.mark.parametrize("problem", TARGETS)
@pytest.mark.parametrize("options", [{}, {"early_stopping": True}, {"dropout": 0.3}])
def test_members_are_single_networks_with_seeds_from_random_state(
    problem: str, options: dict[str, Any]
) -> None:
    kind, y = PROBLEMS[problem]
    found = ensemble(problem, **options)
    seeds, _ = seeds_and_generator()
    assert [member.random_state for member in found.members_] == seeds
    for seed, member in zip(seeds, found.members_, strict=True):
        alone = fit(OURS[kind](**{**BASE, **options, "random_state": seed}), X, y)
        assert_equal_weights(member, alone)
        assert member.best_validation_score_ == alone.best_validation_score_
        assert_equal_weights(member, fit(clone(member), X, y))


@pytest.mark.parametrize("solver", ["lbfgs", "sgd"])
@pytest.mark.parametrize("how", ["bootstrap", "folds"])
@pytest.mark.parametrize("problem", ["multi-class", "multi-label", "regression"])
def test_members_train_on_rows_of_their_own(problem: str, how: str, solver: str) -> None:
    y = PROBLEMS[problem][1]
    found = ensemble(problem, member_rows=how, solver=solver)
    rows = rows_of_members(how, y if problem == "multi-class" else None)
    for own, member in zip(rows, found.members_, strict=True):
        assert_equal_weights(member, fit(clone(member), X[own], y[own]))


@pytest.mark.parametrize("how", HOWS)
def test_given_validation_rows_are_those_of_all_members(how: str) -> None:
    options = {"early_stopping": True, "member_rows": how}
    held = {"X_val": X[:20], "y_val": CLASSES[:20]}
    found = fit(MLPClassifier(**ENSEMBLE, **options), X, CLASSES, **held)
    for own, member in zip(rows_of_members(how, CLASSES), found.members_, strict=True):
        alone = fit(clone(member), X[own], CLASSES[own], **held)
        assert_equal_weights(member, alone)
        assert member.validation_scores_ == alone.validation_scores_


@pytest.mark.parametrize("problem", TARGETS)
def test_predictions_are_means_over_the_members(problem: str) -> None:
    found = ensemble(problem)
    classifies = hasattr(found, "predict_proba")
    of = [(m.predict_proba if classifies else m.predict)(X) for m in found.members_]
    predict = found.predict_proba if classifies else found.predict
    mean, deviation = predict(X, return_std=True)
    assert_allclose(predict(X), np.mean(of, axis=0), rtol=1e-12, atol=1e-15)
    assert_allclose(mean, np.mean(of, axis=0), rtol=1e-12, atol=1e-15)
    assert_allclose(deviation, np.std(of, axis=0), rtol=1e-9, atol=1e-15)
    assert mean.shape == deviation.shape
    assert deviation.max() > 1e-3
    if classifies and problem != "multi-label":
        assert_array_equal(found.predict(X), found.classes_[np.mean(of, axis=0).argmax(axis=1)])
    assert_allclose(predict(csr_matrix(X)), predict(X), rtol=1e-12, atol=1e-15)
    assert predict(X.astype(np.float32)).shape == predict(X).shape


@pytest.mark.parametrize("scaling", [False, True])
@pytest.mark.parametrize("targets", [1, 2])
def test_quantiles_are_averaged_by_level(scaling: bool, targets: int) -> None:
    y = 50 + 9 * (np.stack([REGRESSION, X[:, 0]], 1) if targets == 2 else REGRESSION)
    found = fit(
        MLPRegressor("quantile", **ENSEMBLE, quantile=[0.9, 0.1, 0.6], target_scaling=scaling), X, y
    )
    of = [member.predict_quantiles(X) for member in found.members_]
    assert_allclose(found.predict_quantiles(X), np.mean(of, axis=0), rtol=1e-12)
    medians = [member.predict(X) for member in found.members_]
    mean, deviation = found.predict(X, return_std=True)
    assert_allclose(mean, np.mean(medians, axis=0), rtol=1e-12)
    assert_allclose(deviation, np.std(medians, axis=0), rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("problem", ["binary", "multi-class", "regression", "quantiles"])
def test_rows_on_a_device_are_predicted_there(cupy: Any, problem: str, how: str) -> None:
    options: dict[str, Any] = {"member_rows": how, "device": "cuda", "dtype": "float64"}
    if problem == "quantiles":
        options |= {"loss": "quantile", "quantile": [0.1, 0.9]}
    of = problem if problem != "quantiles" else "regression"
    y = PROBLEMS[of][1]
    found = fit(OURS[PROBLEMS[of][0]](**{**ENSEMBLE, **options}), cupy.asarray(X), y)
    host = fit(clone(found).set_params(device="cpu"), X, y)
    predict = found.predict_proba if hasattr(found, "predict_proba") else found.predict
    mean, deviation = predict(cupy.asarray(X), return_std=True)
    assert isinstance(mean, cupy.ndarray)
    assert isinstance(deviation, cupy.ndarray)
    assert_allclose(mean.get(), predict(cupy.asarray(X)).get(), rtol=1e-12)
    assert_allclose(mean.get(), predict(X), rtol=1e-12)
    assert_allclose(deviation.get(), predict(X, return_std=True)[1], rtol=1e-7, atol=1e-12)
    assert_allclose(found.coefs_[0], host.coefs_[0], rtol=1e-6, atol=1e-9)
    if how != "all":
        assert found.oob_score_ == pytest.approx(host.oob_score_)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_many_rows_are_predicted_as_few_are(dtype: Any) -> None:
    found = ensemble("multi-class", hidden_layer_sizes=(64,), compiled=True)
    rows = np.tile(X, (600, 1)).astype(dtype)  # by compiled tiles
    rtol = 1e-12 if dtype == np.float64 else 1e-4
    few = [found.predict_proba(rows[:N]) for _ in range(2)]  # recorded, then replayed
    assert_array_equal(few[0], few[1])
    many, _ = found.predict_proba(rows, return_std=True)
    assert_allclose(many[-N:], few[0], rtol)
    assert_allclose(found.predict_proba(rows)[:N], few[0], rtol)
    of = [member.predict_proba(rows[:N]) for member in found.members_]
    assert_allclose(few[0], np.mean(of, axis=0), rtol)
    found.coefs_[0][2] += 1  # a replayed pass reads the current weights
    assert not np.allclose(found.predict_proba(rows[:N]), few[0], rtol=1e-3)


def test_one_member_has_no_deviation() -> None:
    found = ensemble("regression", n_members=1)
    mean, deviation = found.predict(X, return_std=True)
    assert_array_equal(deviation, np.zeros(N))
    assert_allclose(mean, found.members_[0].predict(X), rtol=1e-12)


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("how", ["bootstrap", "folds"])
@pytest.mark.parametrize("problem", TARGETS)
def test_left_out_rows_are_predicted_by_members_that_did_not_see_them(
    problem: str, how: str, early_stopping: bool
) -> None:
    _, y = PROBLEMS[problem]
    found = ensemble(problem, member_rows=how, early_stopping=early_stopping)
    classifies = hasattr(found, "predict_proba")
    of = [(m.predict_proba if classifies else m.predict)(X) for m in found.members_]
    seen = seen_by_members(found, how, early_stopping, y)
    wanted = [
        [P[row] for P, own in zip(of, seen, strict=True) if row not in own] for row in range(N)
    ]
    got = found.oob_decision_function_ if classifies else found.oob_prediction_
    known = np.array([bool(each) for each in wanted])
    assert known.all() == (how == "folds")
    assert np.isnan(got[~known]).all()
    means = [np.mean(each, axis=0) for each in wanted if each]
    assert_allclose(got[known], means, rtol=1e-12, atol=1e-15)
    assert found.oob_score_ == pytest.approx(score_of(found, got[known], y[known]))


def seen_by_members(found: Any, how: str, early_stopping: bool, y: np.ndarray) -> list[set[int]]:
    """The rows that each member trained on or held out, by the documented rule."""
    classifies = hasattr(found, "predict_proba")
    rng = seeds_and_generator()[1]
    if how == "folds":
        return [set(own) for own in rows_of_members(how, y if classifies and y.ndim == 1 else None)]
    seen = []
    for member in found.members_:
        kept, held = np.arange(N), np.arange(0)
        if early_stopping:
            own = np.random.RandomState(member.random_state)
            for W, b in zip(member.coefs_, member.intercepts_, strict=True):
                own.uniform(size=W.size + b.size)  # the initial weights are drawn first
            binary = classifies and len(found.classes_) == 2
            kept, held = train_test_split(
                kept, random_state=own, test_size=0.1, stratify=y if binary else None
            )
        drawn = kept[rng.randint(len(kept), size=len(kept))]
        seen.append({*drawn, *held})
    return seen


def score_of(found: Any, predictions: np.ndarray, y: np.ndarray) -> float:
    if not hasattr(found, "predict_proba"):
        return float(r2_score(y, predictions))
    if y.ndim == 2:
        return float(accuracy_score(y, predictions > 0.5))
    return float(accuracy_score(y, found.classes_[predictions.argmax(axis=1)]))


@pytest.mark.parametrize("problem", TARGETS)
def test_left_out_rows_are_not_weighted_by_class(problem: str) -> None:
    kind, y = PROBLEMS[problem]
    heavy: Any = [{1: 50.0}] * 3 if problem == "multi-label" else {1: 50.0}
    options = {} if kind == "regressor" else {"class_weight": heavy}
    found = fit(OURS[kind](**ENSEMBLE, **options, member_rows="folds"), X, y, WEIGHTS)
    if kind == "regressor":
        wanted = r2_score(y, found.oob_prediction_, sample_weight=WEIGHTS)
    elif problem == "multi-label":
        right = ((found.oob_decision_function_ > 0.5) == y).all(axis=1)
        wanted = (WEIGHTS * right).sum() / WEIGHTS.sum()
    else:
        right = found.oob_decision_function_.argmax(axis=1) == y
        wanted = (WEIGHTS * right).sum() / WEIGHTS.sum()
    assert found.oob_score_ == pytest.approx(wanted)


def test_weights_of_labels_count_by_their_mean() -> None:
    y = PROBLEMS["multi-label"][1]
    weights = np.random.RandomState(2).uniform(size=y.shape)
    found = fit(MLPClassifier(**ENSEMBLE, member_rows="folds"), X, y, weights)
    right = ((found.oob_decision_function_ > 0.5) == y).all(axis=1)
    assert found.oob_score_ == pytest.approx(np.average(right, weights=weights.mean(axis=1)))


@pytest.mark.parametrize("problem", TARGETS)
def test_left_out_rows_without_weight_have_no_score(problem: str) -> None:
    kind, y = PROBLEMS[problem]
    options = {**ENSEMBLE, "n_members": 1, "member_rows": "bootstrap"}
    free = fit(OURS[kind](**options), X, y)
    name = "oob_prediction_" if kind == "regressor" else "oob_decision_function_"
    out = np.isfinite(getattr(free, name)).reshape(N, -1).all(axis=1)
    found = fit(OURS[kind](**options), X, y, np.where(out, 0.0, 1.0))
    assert np.isnan(found.oob_score_)
    assert (np.isfinite(getattr(found, name)).reshape(N, -1).all(axis=1) == out).all()


def test_left_out_rows_are_weighted_by_sample_weight() -> None:
    found = fit(MLPRegressor(**ENSEMBLE, member_rows="folds"), X, REGRESSION, sample_weight=WEIGHTS)
    wanted = r2_score(REGRESSION, found.oob_prediction_, sample_weight=WEIGHTS)
    assert found.oob_score_ == pytest.approx(wanted)


def test_a_row_does_not_influence_its_own_prediction() -> None:
    y = REGRESSION.copy()
    before = fit(MLPRegressor(**ENSEMBLE, member_rows="folds"), X, y).oob_prediction_
    y[7] += 100
    after = fit(MLPRegressor(**ENSEMBLE, member_rows="folds"), X, y).oob_prediction_
    assert after[7] == before[7]
    assert np.mean(before == after) < 0.5


def test_all_rows_give_no_score_of_left_out_rows() -> None:
    found = ensemble("multi-class", member_rows="folds")
    assert hasattr(found, "oob_score_")
    fit(found.set_params(member_rows="all"), X, CLASSES)
    assert not [name for name in vars(found) if name.startswith("oob")]


def test_weights_have_the_members_as_first_axis() -> None:
    found = ensemble("multi-class")
    assert [W.shape for W in found.coefs_] == [(M, 4, 7), (M, 7, 5), (M, 5, 3)]
    assert [b.shape for b in found.intercepts_] == [(M, 7), (M, 5), (M, 3)]
    assert np.shares_memory(found.members_[1].coefs_[0], found.coefs_[0])
    before = found.predict_proba(X)
    found.coefs_[-1][1] *= -1
    of = [member.predict_proba(X) for member in found.members_]
    assert_allclose(found.predict_proba(X), np.mean(of, axis=0), rtol=1e-12)
    assert not np.allclose(before, found.predict_proba(X))


def test_weights_set_by_hand_are_enough_to_predict() -> None:
    found = ensemble("regression")
    bare = MLPRegressor()
    bare.coefs_, bare.intercepts_ = found.coefs_, found.intercepts_
    assert_array_equal(bare.predict(X), found.predict(X))
    assert_array_equal(bare.members_[2].predict(X), found.members_[2].predict(X))


@pytest.mark.parametrize(
    ("coefs", "intercepts"),
    [([(2, 4, 1)], [(3, 1)]), ([(2, 4, 1)], [(1,)]), ([(0, 4, 1)], [(0, 1)])],
)
def test_weights_of_different_members_are_refused(coefs: Any, intercepts: Any) -> None:
    with pytest.raises(ValueError, match="do not fit together"):
        weights_of([np.ones(shape) for shape in coefs], [np.ones(shape) for shape in intercepts])


def test_attributes_describe_all_members() -> None:
    found = ensemble("multi-class", early_stopping=True, max_iter=60, n_iter_no_change=2)
    members = found.members_
    epochs = [member.n_iter_ for member in members]
    assert len(set(epochs)) > 1, "the members must differ for this test"
    assert found.n_iter_ == max(epochs) == len(found.loss_curve_)
    assert found.t_ == sum(member.t_ for member in members)
    assert found.loss_ == pytest.approx(np.mean([member.loss_ for member in members]))
    first = [member.loss_curve_[0] for member in members]
    assert found.loss_curve_[0] == pytest.approx(np.mean(first))
    best = [member.best_validation_score_ for member in members]
    assert found.best_validation_score_ == pytest.approx(np.mean(best))
    assert found.stopped_by_ == "no_improvement"
    assert (found.n_layers_, found.n_outputs_, found.n_features_in_) == (4, 3, 4)
    assert found.out_activation_ == "softmax"


def test_one_warning_counts_the_members_that_did_not_converge() -> None:
    caught = watched(lambda: MLPClassifier(**ENSEMBLE).fit(X, CLASSES))
    assert [kind for kind, _ in caught] == [ConvergenceWarning]
    assert "(15) reached and the" in str(caught)
    assert "(3 of 3 members)" in str(caught)
    caught = watched(lambda: MLPClassifier(**ENSEMBLE, solver="lbfgs").fit(X, CLASSES))
    assert [kind for kind, _ in caught] == [ConvergenceWarning]


def test_members_that_diverge_are_counted() -> None:
    model = MLPRegressor(**{**ENSEMBLE, "learning_rate_init": 1e300}, solver="sgd", alpha=1)
    with pytest.raises(ValueError, match=r"non-finite.*\(3 of 3 members\)"):
        model.fit(X, REGRESSION)


def test_a_member_is_named_in_the_printed_lines(capsys: pytest.CaptureFixture[str]) -> None:
    ensemble("multi-class", verbose=True, max_iter=2, early_stopping=True)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 * M
    assert re.fullmatch(
        r"Member 0, iteration 1, loss = \d\.\d{8}, validation score = \d\.\d{6}", lines[0]
    )


@pytest.mark.parametrize("scoring", ["loss", "f1_macro"])
@pytest.mark.parametrize("how", HOWS)
def test_each_member_is_scored_by_its_own_validation_rows(scoring: str, how: str) -> None:
    found = ensemble("multi-class", early_stopping=True, scoring=scoring, member_rows=how)
    assert len({tuple(member.validation_scores_) for member in found.members_}) == M


def test_after_an_interrupt_the_trained_members_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    from gpubp.estimators import checkpointed_fit

    fit_all = checkpointed_fit.fit_population

    def interrupted(backend: Any, members: Any, **options: Any) -> Any:
        results = fit_all(backend, members, **options)
        results[1].history.stopped_by = "interrupt"
        return [*results[:2], None]

    monkeypatch.setattr(checkpointed_fit, "fit_population", interrupted)
    found = MLPClassifier(**ENSEMBLE, member_rows="folds")
    with pytest.warns(UserWarning, match="interrupted by user"):
        found.fit(X, CLASSES)
    assert len(found.members_) == 2
    assert found.stopped_by_ == "interrupt"
    assert np.isnan(found.oob_decision_function_).any(axis=1).sum() == N // 3


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("problem", [*TARGETS, "text labels"])
def test_saved_and_pickled_ensembles_are_the_same(problem: str, how: str, tmp_path: Path) -> None:
    scaling = {"target_scaling": True} if problem == "regression" else {}
    found = ensemble(problem, member_rows=how, early_stopping=True, **scaling)
    save(found, tmp_path / "m.safetensors")
    for again in (load(tmp_path / "m.safetensors"), pickle.loads(pickle.dumps(found))):
        assert again.get_params() | {"device": "auto"} == found.get_params() | {"device": "auto"}
        assert_array_equal(again.predict(X), found.predict(X))
        assert again.loss_curve_ == found.loss_curve_
        assert again.best_validation_score_ == found.best_validation_score_
        assert getattr(again, "oob_score_", None) == getattr(found, "oob_score_", None)
        for got, wanted in zip(again.members_, found.members_, strict=True):
            assert_equal_weights(got, wanted)
            assert got.random_state == wanted.random_state
            assert got.best_validation_score_ == wanted.best_validation_score_


def test_an_ensemble_by_lbfgs_is_saved(tmp_path: Path) -> None:
    found = ensemble("regression", solver="lbfgs")
    save(found, tmp_path / "m.safetensors")
    again = load(tmp_path / "m.safetensors")
    assert again.loss_ == pytest.approx(found.loss_)
    assert not hasattr(again, "loss_curve_")
    assert [m.loss_ for m in again.members_] == [m.loss_ for m in found.members_]


def test_a_fit_as_one_network_forgets_the_members() -> None:
    found = ensemble("multi-class", member_rows="folds")
    fit(found.set_params(n_members=None), X, CLASSES)
    alone = fit(MLPClassifier(**BASE), X, CLASSES)
    assert_equal_weights(found, alone)
    assert not hasattr(found, "members_")
    assert not hasattr(found, "oob_score_")
    assert {*vars(found)} == {*vars(alone)}


@pytest.mark.parametrize("sizes", [(7, 5), (6,)])
def test_members_forget_the_training_of_a_network_before(sizes: tuple[int, ...]) -> None:
    options = {**BASE, "early_stopping": True, "scoring": "f1_macro", "warm_start": True}
    found = fit(MLPClassifier(**options), X, CLASSES)
    ours = {"n_members": M, "hidden_layer_sizes": sizes, "warm_start": False, "scoring": None}
    fit(found.set_params(**ours), X, CLASSES)
    wanted = fit(MLPClassifier(**{**options, **ours}), X, CLASSES)
    assert {*vars(found)} == {*vars(wanted)}
    for got, new in zip(found.members_, wanted.members_, strict=True):
        for member in (got, new):
            member.set_params(early_stopping=False).partial_fit(X, CLASSES)
        assert_array_equal(got.coefs_[0], new.coefs_[0])


def test_a_member_knows_the_metric_of_its_scores() -> None:
    options = {"early_stopping": True, "scoring": lambda *_: 1.0, "max_iter": 3}
    member = ensemble("multi-class", **options).members_[0]
    fit(member.set_params(warm_start=True, scoring=lambda *_: 1), X, CLASSES)
    assert member.validation_scores_ == [1, 1, 1]  # without the equal scores of the other metric


BAD: list[tuple[dict[str, Any], str]] = [
    ({"n_members": 0}, "'n_members' parameter .* Got 0"),
    ({"n_members": -1}, "'n_members' parameter .* Got -1"),
    ({"n_members": 1.5}, "'n_members' parameter .* Got 1.5"),
    ({"n_members": "many"}, "'n_members' parameter .* Got 'many'"),
    ({"member_rows": "some"}, "'member_rows' parameter .*'bootstrap'.* Got 'some'"),
    ({"n_members": 1, "member_rows": "folds"}, "needs 2 members or more, got n_members=1"),
    ({"n_members": N + 1, "member_rows": "folds"}, f"got n_members={N + 1} and n_samples={N}"),
]


@pytest.mark.parametrize(("parameters", "message"), BAD)
def test_bad_parameters_are_refused(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MLPClassifier(**{**ENSEMBLE, **parameters}).fit(X, CLASSES)


@pytest.mark.parametrize("kind", OURS)
def test_calls_for_one_network_are_refused(kind: str) -> None:
    model = OURS[kind](**ENSEMBLE)
    classes = {"classes": [0, 1, 2]} if kind == "classifier" else {}
    with pytest.raises(AttributeError) as refused:
        model.partial_fit(X, CLASSES, **classes)
    assert "only available for one network, got n_members=3" in str(refused.value.__cause__)
    assert not hasattr(model, "coefs_")
    alone = fit(OURS[kind](**BASE), X, CLASSES)
    predict = alone.predict_proba if kind == "classifier" else alone.predict
    with pytest.raises(ValueError, match="return_std=True is for an ensemble"):
        predict(X, return_std=True)
    with pytest.raises(AttributeError, match="members_ only after fit with n_members"):
        _ = alone.members_
    with pytest.raises(NotFittedError):
        model.predict(X)


@with_callbacks
def test_callbacks_are_refused() -> None:
    from sklearn.callback import ProgressBar

    model = MLPClassifier(**ENSEMBLE)
    model.set_callbacks(ProgressBar())
    with pytest.raises(ValueError, match="callbacks follow the training of one network"):
        model.fit(X, CLASSES)


def test_a_member_without_weight_is_refused() -> None:
    weights = np.zeros(N)
    weights[0] = 1
    with pytest.raises(ValueError, match="all rows of a member have the weight 0"):
        MLPRegressor(**ENSEMBLE, member_rows="folds").fit(X, REGRESSION, sample_weight=weights)
    model, held = MLPRegressor(**ENSEMBLE, early_stopping=True, validation_fraction=0.9), weights
    with pytest.raises(ValueError, match="or set early_stopping=False"):
        model.fit(X, REGRESSION, sample_weight=held)


def test_folds_of_rare_classes_are_not_stratified() -> None:
    y = np.arange(N) // 2  # 45 classes of two rows
    found = fit(MLPClassifier(**ENSEMBLE, member_rows="folds"), X, y)
    assert found.oob_decision_function_.shape == (N, 45)
    y = np.where(np.arange(N) < 2, 2, np.arange(N) % 2)  # one class of two rows
    found = fit(MLPClassifier(**ENSEMBLE, member_rows="folds"), X, y)
    assert found.oob_decision_function_.shape == (N, 3)


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("how", HOWS)
def test_sparse_rows_train_the_same_members(how: str, early_stopping: bool) -> None:
    options = {**ENSEMBLE, "member_rows": how, "early_stopping": early_stopping}
    sparse = fit(MLPClassifier(**options), csr_matrix(X), CLASSES)
    dense = fit(MLPClassifier(**options), X, CLASSES)
    for got, wanted in zip(sparse.members_, dense.members_, strict=True):
        assert_equal_weights(got, wanted)
    assert getattr(sparse, "oob_score_", None) == getattr(dense, "oob_score_", None)


def test_fits_together_may_be_ensembles() -> None:
    models = [MLPClassifier(**BASE), MLPClassifier(**ENSEMBLE), MLPClassifier(**ENSEMBLE)]
    outcomes: dict[int, Any] = {}
    bad = X[:, :1] * np.nan
    interrupted = fit_together(
        [Fit(models[0], X, CLASSES), Fit(models[1], X, CLASSES), Fit(models[2], bad, CLASSES)],
        outcomes.__setitem__,
    )
    assert not interrupted
    assert {k: type(of) for k, of in outcomes.items()} == {0: History, 1: History, 2: ValueError}
    assert [*outcomes] == [2, 0, 1]  # the failure before the training
    assert_array_equal(models[1].coefs_[0], ensemble("multi-class").coefs_[0])


@pytest.mark.parametrize("how", HOWS)
def test_fits_of_the_same_rows_share_them(how: str) -> None:
    rows = X.tolist()  # each fit would convert it
    models = [MLPClassifier(**{**ENSEMBLE, "n_members": n}, member_rows=how) for n in (2, 4)]
    fit_together([Fit(model, rows, CLASSES) for model in models], lambda k, outcome: None)
    for model in models:
        alone = fit(clone(model), X, CLASSES)
        assert_allclose(model.predict_proba(X), alone.predict_proba(X), rtol=1e-12)
        assert getattr(model, "oob_score_", None) == getattr(alone, "oob_score_", None)


def test_an_interrupt_ends_fits_together_with_the_members_of_that_moment() -> None:
    def interrupt(epoch: Epoch) -> None:
        if epoch.number == 4:
            raise KeyboardInterrupt

    models = [MLPClassifier(**ENSEMBLE), MLPClassifier(**ENSEMBLE, activation="tanh")]
    outcomes: dict[int, Any] = {}
    fits = [Fit(model, X, CLASSES, on_epoch=interrupt) for model in models]
    assert fit_together(fits, outcomes.__setitem__)
    assert {k: of.stopped_by for k, of in outcomes.items()} == {0: "interrupt"}
    assert {member.n_iter_ for member in models[0].members_} <= {3, 4}
    assert not hasattr(models[1], "coefs_")


def test_an_ensemble_can_be_cross_validated() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        scores = cross_val_score(MLPClassifier(**ENSEMBLE), X, CLASSES, cv=2)
    assert (scores > 0.5).all()


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("kind", OURS)
def test_check_estimator_fails_nothing(kind: str, how: str) -> None:
    model = OURS[kind](max_iter=60, n_members=3, member_rows=how)
    # A repeated row can be in two folds, and a row of weight 2 is drawn as often as others.
    drawn = [f"check_sample_weight_equivalence_on_{of}_data" for of in ("dense", "sparse")]
    expected = dict.fromkeys(drawn if how != "all" else [], "rows are drawn, as by Bagging")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(
            model, on_skip=None, on_fail=None, expected_failed_checks=expected
        )
    failed = {r["check_name"]: r["exception"] for r in results if r["status"] == "failed"}
    assert failed == {}


def test_an_ensemble_with_too_few_members_says_that_it_was_interrupted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also if the members that there are have ended."""
    train, calls = population.fit_member, [0]

    def interrupt(*arguments: Any) -> Any:
        calls[0] += 1
        if calls[0] == M:
            raise KeyboardInterrupt
        return train(*arguments)

    monkeypatch.setattr(population, "most_networks", lambda *_: 1)
    monkeypatch.setattr(population, "fit_member", interrupt)
    with pytest.warns(UserWarning, match="interrupted"):
        model = MLPRegressor(**ENSEMBLE).fit(X, REGRESSION)
    assert (model.stopped_by_, len(model.members_)) == ("interrupt", M - 1)
    assert {each.stopped_by_ for each in model.members_} == {"max_epochs"}
