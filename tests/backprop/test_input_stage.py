"""The input stage in a whole network: its gradients, and the shapes that are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from gpubp.backends.protocol import ALIGNMENT, Backend
from gpubp.backprop.input_stage import InputStage
from gpubp.backprop.losses import LOSSES
from gpubp.backprop.network import Network, Workspace, backward, forward
from tests.backprop.gradients import central_differences, evaluate, gradient

ROWS, FIRST = 7, 4
STAGES = {
    "both": InputStage(4, (3, 1), ((2, 3), (0, 4))),
    "periodic": InputStage(3, (2, 0)),
    "tables": InputStage(3, (), ((1, 3),)),
    "scale": InputStage(3),
}
LEADS: dict[str, tuple[int, ...]] = {"one": (), "own X": (2,), "shared X": (2,)}
FLOAT64 = np.dtype(np.float64)
LOSS = LOSSES["squared_error"]


def network_of(stage: InputStage) -> Network:
    return Network((stage.n_features, 4, 2), ("tanh",), stage=stage)


def draws(
    stage: InputStage, lead: tuple[int, ...] = (), X_lead: tuple[int, ...] = ()
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return theta, X and targets."""
    rng = np.random.RandomState(0)
    theta = rng.normal(scale=0.4, size=(*lead, network_of(stage).theta_size(FLOAT64)))
    X = rng.uniform(-1, 1, (*X_lead, ROWS, stage.n_inputs))
    for column, levels in stage.tables:
        X[..., column] = rng.randint(levels, size=X.shape[:-1])
    return theta, X, rng.normal(size=(*lead, ROWS, 2))


def features_of(stage: InputStage, theta: np.ndarray, X: np.ndarray) -> np.ndarray:
    """Return the inputs of the first dense layer, by the formulas."""
    parts = network_of(stage).stage_parts(theta)
    columns, first = [], 0
    for column, levels in stage.tables:
        columns.append(parts["tables"][first + X[:, column].astype(int)])
        first += levels
    for k, column in enumerate(stage.periodic):
        w, b, V, v = np.split(parts["periodic"][k], [16, 32, 80])
        u = 2 * np.pi * np.outer(X[:, column], w) + b
        columns.append(np.cos(u) @ V.reshape(3, 16).T + v)
    tables = [column for column, _ in stage.tables]
    features = np.hstack([*columns, np.delete(X, tables, axis=1)])
    return features * parts["scale"]


@pytest.mark.parametrize("kind", STAGES)
def test_the_features_follow_the_formulas(backend: Backend, kind: str) -> None:
    stage = STAGES[kind]
    theta, X, Y = draws(stage)
    work = evaluate(backend, network_of(stage), LOSS, theta, X, Y, 1 / ROWS)[2]
    assert_allclose(backend.to_numpy(work.inputs), features_of(stage, theta, X), rtol=1e-12)


@pytest.mark.parametrize("lead", LEADS)
@pytest.mark.parametrize("kind", STAGES)
def test_gradient_equals_central_differences(backend: Backend, kind: str, lead: str) -> None:
    stage, axes = STAGES[kind], LEADS[lead]
    network, own = network_of(stage), axes if lead == "own X" else ()
    theta, X, Y = draws(stage, axes, own)
    share = 1 / ROWS
    got = gradient(backend, network, LOSS, theta, X, Y, share)
    # The padding of theta is moved too, and has to have the gradient 0.
    wanted = np.array(
        [
            central_differences(backend, network, LOSS, theta[p], X[p] if own else X, Y[p], share)
            for p in np.ndindex(axes)
        ]
    ).reshape(theta.shape)
    for name, part in network.stage_parts(wanted).items():
        assert np.count_nonzero(np.abs(part) > 1e-6) > 0.5 * part.size, name
    errors = np.abs(got - wanted) / np.maximum(1, np.abs(got))
    assert float(errors.max()) <= 1e-7


@pytest.mark.parametrize("lead", LEADS)
@pytest.mark.parametrize("kind", STAGES)
def test_a_batch_in_two_parts_has_the_gradient_of_the_whole(
    backend: Backend, kind: str, lead: str
) -> None:
    stage, axes = STAGES[kind], LEADS[lead]
    network, own = network_of(stage), axes if lead == "own X" else ()
    theta, X, Y = draws(stage, axes, own)
    whole = gradient(backend, network, LOSS, theta, X, Y, 1 / ROWS)
    parameters = network.views(backend.asarray(theta))
    found = backend.asarray(np.full(theta.shape, np.nan))  # the first part overwrites it
    work = Workspace(backend, network, FIRST, FLOAT64, lead=axes)
    for start, stop in ((0, FIRST), (FIRST, ROWS)):
        part = work if start == 0 else work.first(stop - start)
        part.X = backend.asarray(np.ascontiguousarray(X[..., start:stop, :]))
        forward(backend, network, parameters, part)
        losses = backend.zeros((*axes, stop - start), np.float64)
        targets = backend.asarray(np.ascontiguousarray(Y[..., start:stop, :]))
        LOSS.evaluate(backend, part.logits, targets, 1 / ROWS, losses, part.deltas[-1])
        backward(backend, network, parameters, network.views(found), part, accumulate=start > 0)
    got = network.views(backend.to_numpy(found))
    wanted = network.views(whole)
    for a, b in zip(got.Ws + got.bs, wanted.Ws + wanted.bs, strict=True):
        assert a is not None
        assert b is not None
        assert_allclose(a, b, rtol=1e-12, atol=1e-15)
    pairs = (network.stage_parts(backend.to_numpy(found)), network.stage_parts(whole))
    assert list(pairs[0]) == list(stage.parts)
    for name in pairs[0]:
        assert_allclose(pairs[0][name], pairs[1][name], rtol=1e-12, atol=1e-15, err_msg=name)


@pytest.mark.parametrize("kind", STAGES)
def test_networks_of_a_population_are_those_one_by_one(backend: Backend, kind: str) -> None:
    stage = STAGES[kind]
    network, (theta, X, Y) = network_of(stage), draws(stage, (3,), (3,))
    together = gradient(backend, network, LOSS, theta, X, Y, 1 / ROWS)
    for k in range(3):
        alone = gradient(backend, network, LOSS, theta[k], X[k], Y[k], 1 / ROWS)
        assert_allclose(together[k], alone, rtol=1e-12, atol=1e-15)


def test_a_code_without_a_level_has_the_vector_of_the_nearest_one(backend: Backend) -> None:
    stage = STAGES["tables"]
    theta, X, Y = draws(stage)
    outputs = []
    for codes in ([-1, -1e9, 0, 2, 3, 1e9, 1], [0, 0, 0, 2, 2, 2, 1]):
        X[:, 1] = codes
        work = evaluate(backend, network_of(stage), LOSS, theta, X, Y, 1 / ROWS)[2]
        outputs.append(backend.to_numpy(work.inputs).copy())
    assert_array_equal(*outputs)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", STAGES)
def test_theta_ends_with_the_stage(kind: str, dtype: Any) -> None:
    stage, dtype = STAGES[kind], np.dtype(dtype)
    network = network_of(stage)
    theta = np.arange(network.theta_size(dtype), dtype=dtype)
    parts, views = network.stage_parts(theta), network.views(theta)
    assert {name: part.shape for name, part in parts.items()} == stage.parts
    starts = [int(part.flat[0]) for part in parts.values()]
    assert starts == sorted(starts)
    assert starts[0] > max(float(b.max()) for b in views.bs if b is not None)
    assert all(start * dtype.itemsize % ALIGNMENT == 0 for start in starts)
    assert theta.nbytes % ALIGNMENT == 0
    sizes = [part.size for part in (*parts.values(), *views.Ws, *views.bs) if part is not None]
    unused = sum(levels for _, levels in stage.tables) % 2  # a level that fills up a run
    assert sum(sizes) == network.n_parameters + 8 * unused
    other = np.dtype(np.float32 if dtype == np.float64 else np.float64)
    again = network.repack(network.repack(theta, other), dtype)
    for name, part in network.stage_parts(again).items():
        assert_array_equal(part, parts[name])


def test_initial_parameters_are_drawn_after_those_of_the_layers() -> None:
    stage = STAGES["both"]
    network = network_of(stage)
    plain = Network(network.sizes, network.activations)
    theta = network.initial_theta(np.random.RandomState(3), FLOAT64)
    wanted = plain.initial_theta(np.random.RandomState(3), FLOAT64)
    assert_array_equal(theta[: len(wanted)], wanted)
    parts = network.stage_parts(theta)
    w, b, mixing = np.split(parts["periodic"], [16, 32], axis=1)
    assert (parts["scale"] == 1).all()
    assert 0 < np.abs(w).max() < 0.5
    assert 1 < np.abs(b).max() < np.pi
    assert 0.2 < np.abs(mixing).max() < 0.25
    assert 0.5 < parts["tables"].std() < 1.5


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: InputStage(3, (0, 0)), r"only once, got periodic=\(0, 0\)"),
        (lambda: InputStage(3, (1,), ((1, 2),)), "is periodic or has a table, and only once"),
        (lambda: InputStage(3, (3,)), r"from 0 to 2, got \[3\]"),
        (lambda: InputStage(3, (-1,)), r"from 0 to 2, got \[-1\]"),
        (lambda: InputStage(3, (), ((4, 2),)), r"from 0 to 2, got \[4\]"),
        (lambda: InputStage(3, (), ((1, 0),)), r"1 or more levels, got \(\(1, 0\),\)"),
        (
            lambda: Network((3, 2), (), stage=InputStage(3, (0,))),
            r"first of sizes must be the 6 features of the input stage, got \(3, 2\)",
        ),
    ],
)
def test_a_stage_that_cannot_be_is_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
