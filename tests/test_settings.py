"""The environment variables of gpubp: what they set, what wins over them, and wrong values."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import gpubp
from gpubp import settings
from gpubp.backends.blas_threads import _libraries
from gpubp.backends.numpy_backend import NumpyBackend
from gpubp.backends.select import BackendUnavailableError, get_backend
from gpubp.kernels.host import compiler
from tests.cuda_stand_in.cuda import Machine
from tests.cuda_stand_in.kernels import skip_without_compiler

X = np.random.default_rng(0).normal(size=(30, 4))
Y = (X[:, 0] > 0).astype(int)
LARGE = 1 << 40  # work for which "auto" takes a CUDA device


@pytest.fixture
def env(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """An environment without variables of gpubp; nothing was compiled yet."""
    for name in settings.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for each in (compiler._compiler, compiler.replay_library, _libraries):
        each.cache_clear()  # other tests may have loaded a BLAS library since
    yield monkeypatch
    for each in (compiler._compiler, compiler.replay_library):
        each.cache_clear()


def fitted(**options: object) -> gpubp.MLPClassifier:
    return gpubp.MLPClassifier((3,), max_iter=9, n_iter_no_change=1, tol=10.0, **options).fit(X, Y)


# ---- devices -----------------------------------------------------------------------------------


def test_the_device_is_that_of_auto(env: pytest.MonkeyPatch) -> None:
    env.setenv("GPUBP_DEVICE", "cpu")
    backend = get_backend("auto", LARGE)
    assert (backend.name, backend.reason) == ("cpu", "GPUBP_DEVICE=cpu")
    assert get_backend("cpu").reason == "device='cpu'"


def test_a_device_that_is_not_there_is_named_with_the_variable(env: pytest.MonkeyPatch) -> None:
    env.setenv("GPUBP_DEVICE", "cuda:99")
    with pytest.raises(BackendUnavailableError, match=r"^GPUBP_DEVICE=cuda:99: "):
        fitted()
    assert fitted(device="cpu").device_ == "cpu"  # the argument wins
    with pytest.raises(BackendUnavailableError, match=r"^(?!GPUBP)"):
        get_backend("cuda:99")


def test_the_device_may_be_a_gpu(env: pytest.MonkeyPatch, host_cupy: Machine) -> None:
    small = get_backend("auto", work=1)
    assert small.name == "cpu"
    why = "too small for CUDA by device='auto' (batch x parameters 1 < 10,000,000)"
    assert small.reason == why
    env.setenv("GPUBP_DEVICE", "cuda")
    assert get_backend("auto", work=1).name == "cuda:0"


# ---- threads -----------------------------------------------------------------------------------


def blas_threads() -> set[int]:
    from threadpoolctl import threadpool_info

    return {p["num_threads"] for p in threadpool_info() if p["user_api"] == "blas"}


def test_threads_are_those_of_none(env: pytest.MonkeyPatch) -> None:
    env.setattr("os.cpu_count", lambda: 8)
    env.setenv("GPUBP_THREADS", "2")
    backend = NumpyBackend()
    for given, used in ((None, {2}), (1, {1})):
        for work in (1, LARGE):
            with backend.in_use(given, work):
                assert blas_threads() == used


# ---- compiled steps ----------------------------------------------------------------------------


def test_compiled_is_the_default_where_there_is_a_compiler(env: pytest.MonkeyPatch) -> None:
    skip_without_compiler()
    kind = "CompiledBackend"
    assert type(get_backend("cpu", 10, compiled="auto")).__name__ == "NumpyBackend"
    for large in ((10**7, 1), (10, 1000), (None, 1)):
        made = get_backend("cpu", large[0], compiled="auto", steps=large[1])
        assert type(made).__name__ == kind
        assert made.reason == "device='cpu'; with compiled steps"
    env.setenv("GPUBP_COMPILED", "1")
    assert type(get_backend("cpu", 10, compiled="auto")).__name__ == kind
    assert type(get_backend("cpu", compiled=False)).__name__ == "NumpyBackend"


def test_compiled_by_default_needs_no_compiler(
    env: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    env.setenv("GPUBP_COMPILED", "1")
    env.setenv("CXX", "no-such-compiler")
    caplog.set_level(logging.INFO, "gpubp")
    fitted(device="cpu")
    with pytest.raises(BackendUnavailableError, match="no-such-compiler does not run"):
        fitted(device="cpu", compiled=True)
    assert "not compiled: no-such-compiler does not run" in caplog.text


def test_no_compiler_is_started(env: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a process was started")

    env.setenv("GPUBP_COMPILED", "0")
    env.setattr("subprocess.Popen", refuse)
    caplog.set_level(logging.INFO, "gpubp")
    fitted(device="cpu", compiled=True)
    assert "training on cpu in float64: device='cpu'; not compiled, since GPUBP_COMPILED=0" in (
        caplog.text
    )
    for start in (compiler.compiler_version, compiler.replay_library):
        with pytest.raises(compiler.CompilerError, match="GPUBP_COMPILED=0 forbids"):
            start()


# ---- values ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        *(("GPUBP_DEVICE", text) for text in ("gpu", "cuda:", "cuda:x", "CPU", "cuda:-1", "cpu ")),
        *(("GPUBP_THREADS", text) for text in ("0", "-1", "two", "1.5", "٣", "1" * 5000, "2\n")),
        *(("GPUBP_COMPILED", text) for text in ("yes", "true", "2", " 1")),
        *(("GPUBP_CACHE_DIR", text) for text in ("relative", "./x", "~/x")),
    ],
)
def test_a_wrong_value_is_named(env: pytest.MonkeyPatch, name: str, wrong: str) -> None:
    env.setenv(name, wrong)
    read, _ = settings.VARIABLES[name]
    message = rf"{name} must be .*, got {re.escape(repr(wrong))}; correct or unset it"
    with pytest.raises(settings.SettingError, match=message):
        read()


def test_empty_is_unset(env: pytest.MonkeyPatch) -> None:
    unset = [read() for read, _ in settings.VARIABLES.values()]
    for name in settings.VARIABLES:
        env.setenv(name, "")
    assert [read() for read, _ in settings.VARIABLES.values()] == unset
    assert unset[:3] == ["auto", None, None]


def test_the_cache_folder_is_that_of_the_variable(env: pytest.MonkeyPatch, tmp_path: Path) -> None:
    env.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert settings.cache_folder() == tmp_path / "xdg" / "gpubp"
    env.setenv("GPUBP_CACHE_DIR", str(tmp_path / "own"))
    assert settings.cache_folder() == tmp_path / "own"
