"""A CUDA device that answers and cannot compute is found out before a training."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from gpubp import MLPClassifier
from gpubp.__main__ import main
from gpubp.backends import cupy_backend, select
from gpubp.backends.cupy_backend import CupyBackend
from gpubp.backends.select import BackendUnavailableError, get_backend
from gpubp.kernels.optimizers import ADVANCE
from tests.cuda_stand_in.cuda import start

pytestmark = pytest.mark.usefixtures("host_cupy")
RNG = np.random.RandomState(0)
X = RNG.normal(size=(90, 4))
LABELS = (X[:, :3] + X[:, 1:]).argmax(axis=1)
BASE: dict[str, Any] = {"hidden_layer_sizes": (7, 5), "batch_size": 32, "max_iter": 4}


@pytest.mark.parametrize("missing", [{"nvrtc"}, {"cublas"}, {"nvrtc", "cublas"}])
def test_a_device_without_cudas_libraries_is_left_alone(
    missing: set[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = start(missing=frozenset(missing))
    chosen = get_backend("auto")
    assert chosen.name == "cpu"
    assert chosen.reason.startswith('cuda:0 answers, but cannot compute (Failure finding "lib')
    assert "\n" not in chosen.reason
    with pytest.raises(BackendUnavailableError, match=r"pip install 'gpubp\[cuda12\]'"):
        get_backend("cuda")
    monkeypatch.setattr(select, "CUDA_CROSSOVER", 1)
    with pytest.warns(ConvergenceWarning):
        model = MLPClassifier(**BASE).fit(X, LABELS)
    assert (model.device_, model.predict(X).shape) == ("cpu", (90,))
    assert main(["train", "iris", "--device", "cuda"]) == 2
    assert "cannot compute" in capsys.readouterr().err
    assert machine.launches == 0


def test_a_device_is_probed_once() -> None:
    machine = start(devices=2)
    issued = []
    for device in ("cuda:0", "cuda:0", "auto", "cuda:1", "cuda:1"):
        get_backend(device)
        issued.append(machine.issued.total())
    assert 0 < issued[0] == issued[1] == issued[2] < issued[3] == issued[4]


@pytest.mark.parametrize(("kernel", "product"), [("step += by + by", None), (None, 0.5)])
def test_a_device_that_computes_wrong_numbers_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, kernel: str | None, product: float | None
) -> None:
    if kernel:
        wrong = dataclasses.replace(ADVANCE, body=kernel)
        monkeypatch.setattr(cupy_backend, "ADVANCE", wrong)
    else:
        monkeypatch.setattr(CupyBackend, "gemm", lambda _self, A, B, out: out.fill(product))
    reason = "a kernel gave 4, not 2" if kernel else r"a product 0\.5, not 9"
    with pytest.raises(BackendUnavailableError, match=reason):
        get_backend("cuda")
    assert get_backend("auto").name == "cpu"
