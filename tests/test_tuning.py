"""Products chosen by timing, from an estimator's ``tune=True`` down to the file of choices."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from host_cuda import Machine
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import ConvergenceWarning

from gpubp import MLPClassifier, cuda_engine

pytestmark = pytest.mark.filterwarnings(
    f"ignore::{ConvergenceWarning.__module__}.ConvergenceWarning"
)
X = np.random.RandomState(0).normal(size=(60, 4)).astype(np.float32)
Y = X[:, :3].argmax(axis=1)


def fitted(device: str, **options: object) -> MLPClassifier:
    shape = {"hidden_layer_sizes": (8, 8), "batch_size": 20, "max_iter": 2, "random_state": 0}
    return MLPClassifier(**shape, device=device, **options).fit(X, Y)  # type: ignore[arg-type]


def test_tuned_training_is_numpys_and_its_choices_are_kept(
    host_cupy: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    library = host_cupy.cublas
    tuned, plain = fitted("cuda", tune=True), fitted("cpu")
    for ours, theirs in zip(tuned.coefs_, plain.coefs_, strict=True):
        assert_allclose(ours, theirs, rtol=1e-3, atol=1e-5)
    assert max(library.chosen) == 2, "all three algorithms were tried"
    (file,) = tmp_path.rglob("*.json")
    assert json.loads(file.read_text(encoding="utf-8"))
    kept = file.read_bytes()

    monkeypatch.setattr(cuda_engine, "_ENGINES", {})  # as in the next process
    again = fitted("cuda", tune=True)
    assert file.read_bytes() == kept
    for first, second in zip(tuned.coefs_, again.coefs_, strict=True):
        assert_array_equal(first, second)


def test_without_it_the_first_algorithm_is_taken_and_no_file_made(
    host_cupy: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    fitted("cuda")
    assert set(host_cupy.cublas.chosen) == {0}
    assert list(tmp_path.iterdir()) == []
