"""`gpubp train --from` under mpiexec: the network is that of one process."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

import gpubp
from gpubp.__main__ import main
from tests.cli.running import FAST, X, Y, features, write_csv
from tests.cuda_stand_in.kernels import skip_without_compiler
from tests.distributed.launching import on_ranks


@pytest.mark.parametrize("members", ["1", "2"])
def test_ranks_train_on_as_one_process(
    members: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    skip_without_compiler()
    monkeypatch.chdir(tmp_path)
    write_csv("old.csv", **features(), y=Y)
    write_csv("new.csv", **features(X * 1.2), y=2 * Y)
    assert main(["train", "old.csv", *FAST, "--members", members, "-o", "m.st", "--quiet"]) == 0
    command = ("train", "new.csv", "--from", "m.st", "--lr", "0.01", "--quiet")
    job = on_ranks(2, "-m", "gpubp", *command, "-o", str(tmp_path / "on_ranks.st"))
    assert job.returncode == 0, job.stderr
    assert main([*command, "-o", "alone.st"]) == 0
    found, wanted, before = (gpubp.load(f"{name}.st") for name in ("on_ranks", "alone", "m"))
    assert found.about_["started_from"] == {"model": "m.st", "epochs": 3}
    for got, expected, first in zip(
        *(of.network_.coefs_ for of in (found, wanted, before)), strict=True
    ):
        assert_allclose(got, expected, rtol=1e-4, atol=1e-5)
        assert np.abs(got - first).max() > 1e-3
