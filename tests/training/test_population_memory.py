"""How many networks are trained at once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gpubp.backends.numpy_backend import NumpyBackend
from gpubp.backends.protocol import Backend, Memory
from gpubp.backprop.network import Network
from gpubp.training import population, population_memory
from gpubp.training.fit import Listeners, Start
from gpubp.training.population import fit_population
from gpubp.training.population_batches import Sources
from gpubp.training.population_memory import CACHE_BYTES, most_networks
from gpubp.training.recipe import Recipe
from tests.cuda_stand_in.kernels import skip_without_compiler
from tests.training.test_population import alone, member

SMALL, LARGE = Network((16, 32, 3), ("relu",)), Network((784, 1024, 10), ("relu",))
RECIPE = Recipe(batch_size=64)


def compiled() -> Any:
    from gpubp.backends.compiled_backend import CompiledBackend

    skip_without_compiler()
    return CompiledBackend()


def test_numpy_trains_as_many_as_stay_in_the_cache() -> None:
    most = most_networks(NumpyBackend(), SMALL, RECIPE, 1000, 10_000, None)
    step = 4 * (4 * SMALL.theta_size(np.dtype(np.float32)) + 64 * (16 + 3 * 35))
    assert most == CACHE_BYTES // step
    assert most_networks(NumpyBackend(), SMALL, RECIPE, 1000, 7, None) == 7
    assert most_networks(NumpyBackend(), LARGE, RECIPE, 1000, 7, None) == 1


def test_waves_fit_in_half_of_the_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    backend, seen = compiled(), []
    for free in (10**6, 10**7, 10**8):
        monkeypatch.setattr(population_memory, "free_memory", lambda free=free: free)
        seen.append(most_networks(backend, SMALL, RECIPE, 1000, 10**6, None))
    assert seen == sorted(seen)
    assert 1 < seen[0] < seen[1] < seen[2] < 10**4
    monkeypatch.setattr(backend, "memory", lambda: Memory(0, 10**7, 10**8))  # of a device
    got = most_networks(backend, SMALL, RECIPE, 1000, 10**6, None)
    assert seen[0] < got < seen[2]
    monkeypatch.setattr(backend, "memory", lambda: Memory(10**8, 0, 10**8))  # a full device
    assert most_networks(backend, SMALL, RECIPE, 1000, 10**6, None) == 1


def test_large_networks_are_spread_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are left are trained by all workers, one after the other."""
    monkeypatch.setattr(population_memory, "usable_cores", lambda: 4)
    got = [most_networks(compiled(), LARGE, RECIPE, 1000, n, None) for n in (1, 3, 4, 7, 8)]
    assert got == [1, 1, 4, 4, 8]
    assert most_networks(compiled(), LARGE, RECIPE, 1000, 7, 2) == 6
    assert most_networks(compiled(), SMALL, RECIPE, 1000, 7, None) == 7


def test_waves_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    members = [member(k) for k in range(5)]
    sizes: list[int] = []
    trained = population._train_wave

    def noted(*arguments: Any) -> bool:
        sizes.append(len(arguments[2]))
        return trained(*arguments)

    monkeypatch.setattr(population, "most_networks", lambda *_: 2)
    monkeypatch.setattr(population, "_train_wave", noted)
    for one, of in zip(fit_population(NumpyBackend(), members), members, strict=True):
        assert one is not None
        np.testing.assert_array_equal(one.theta, alone(NumpyBackend(), of).theta)
    assert sizes == [2, 2]  # and one alone


def test_a_wave_that_does_not_fit_is_halved(backend: Backend, monkeypatch: Any) -> None:
    """Nothing is drawn twice, and the note is for the user."""
    notes: list[str] = []
    sizes: list[int] = []

    def scarce(backend: Any, data: Any, dtype: Any) -> Any:
        sizes.append(len(data))
        if len(data) > 2:
            raise MemoryError
        return Sources(backend, data, dtype)

    monkeypatch.setattr(population, "Sources", scarce)
    members = [
        replace(member(k, dropout=(0.0, 0.2, 0.0)), listeners=Listeners(note=notes.append))
        for k in range(5)
    ]
    starts = [Start.new(each.network, each.recipe) for each in members]
    given = [replace(each, start=start) for each, start in zip(members, starts, strict=True)]
    for one, of in zip(fit_population(backend, given), members, strict=True):
        assert one is not None
        np.testing.assert_allclose(one.theta, alone(backend, of).theta, 1e-9, 1e-9)
    assert sizes == [5, 2, 3, 2]  # 1 + 2 of the 3, the 1 alone
    assert notes[0].endswith("no room for 5 networks at once; they are trained in smaller groups")
