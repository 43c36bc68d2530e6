"""Initial weights by name: their distribution, and that all ways of training start with them."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from gpubp.backprop.initial_weights import WEIGHTS_INITS
from gpubp.backprop.network import Network
from gpubp.training.fit import Start
from gpubp.training.recipe import Recipe

NETWORK, DOUBLE = Network((300, 400, 200, 100), ("relu", "tanh")), np.dtype(float)


def test_he_s_weights_are_normal_with_the_variance_of_each_layer() -> None:
    theta = NETWORK.initial_theta(np.random.RandomState(0), DOUBLE, "he_normal")
    Ws, bs = NETWORK.unpack(theta)
    for W, variance in zip(Ws, (2 / 300, 2 / 400, 1 / 200), strict=True):
        Z = W / np.sqrt(variance)
        error = 1 / np.sqrt(W.size)
        assert abs(Z.mean()) < 4 * error
        assert abs((Z**2).mean() - 1) < 4 * np.sqrt(2) * error
        assert abs((Z**4).mean() - 3) < 4 * np.sqrt(96) * error  # 1.8 for a uniform distribution
    assert not any(b.any() for b in bs)


def test_he_s_weights_are_drawn_in_order_and_in_float64() -> None:
    rng = np.random.RandomState(5)
    wanted = [rng.normal(size=shape) for shape in ((3, 4), (4, 2))]
    for bias, dtype in ((True, DOUBLE), (False, DOUBLE), (True, np.dtype(np.float32))):
        network = Network((3, 4, 2), ("relu",), bias)
        theta = network.initial_theta(np.random.RandomState(5), dtype, "he_normal")
        (W, V), _ = network.unpack(theta)
        assert theta.dtype == dtype
        assert_array_equal(W, (np.sqrt(2 / 3) * wanted[0]).astype(dtype))
        assert_array_equal(V, (np.sqrt(1 / 4) * wanted[1]).astype(dtype))


def test_a_network_without_hidden_layers_has_only_a_last_layer() -> None:
    theta = Network((900, 70), ()).initial_theta(np.random.RandomState(1), DOUBLE, "he_normal")
    assert_allclose(theta[: 900 * 70].var(), 1 / 900, rtol=0.05)


def test_the_default_is_scikit_learn_s() -> None:
    drawn = [
        NETWORK.initial_theta(np.random.RandomState(2), DOUBLE, *init)
        for init in ((), ("glorot_uniform",), ("he_normal",))
    ]
    assert_array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])


@pytest.mark.parametrize("init", WEIGHTS_INITS)
def test_a_training_without_a_start_draws_those_of_its_recipe(init: str) -> None:
    start = Start.new(NETWORK, Recipe(seed=4, weights_init=init, precision="float64"))
    assert_array_equal(start.theta, NETWORK.initial_theta(np.random.RandomState(4), DOUBLE, init))


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ValueError, match=r"init must be one of \['glorot_uniform', 'he_normal'\]"):
        NETWORK.initial_theta(np.random.RandomState(0), DOUBLE, "he")
