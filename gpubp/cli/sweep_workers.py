"""The processes that train the trials of `gpubp sweep`: of this machine, or of a Dask cluster."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import click

from gpubp.distributed.environment import launched

BACKENDS = ("loky", "dask")
CONNECT_SECONDS = 20


def check_workers(options: Mapping[str, Any]) -> None:
    """Raise UsageError for options of workers that contradict each other, or without Dask."""
    from importlib.util import find_spec

    backend, scheduler, jobs = options["backend"], options["scheduler"], options["jobs"]
    if (found := launched()) is not None and (backend, scheduler, jobs) != (None, None, None):
        launcher, size, _ = found
        raise click.UsageError(
            f"{launcher} started {size} processes, which train the trials; leave out --jobs, "
            "--backend and --scheduler, or start one process"
        )
    if scheduler is not None and backend == "loky":
        raise click.UsageError(
            "--scheduler is the address of a Dask cluster, but --backend is loky; leave one out"
        )
    if scheduler is not None and jobs is not None:
        raise click.UsageError(
            "--jobs starts processes on this machine, but --scheduler has workers of its own; "
            "leave one out"
        )
    if (backend == "dask" or scheduler is not None) and find_spec("distributed") is None:
        raise click.UsageError(
            "--backend dask needs distributed, which is not installed; run pip install "
            "'gpubp[dask]', or use --jobs N alone"
        )
    if scheduler is not None:
        _check_address(scheduler)


def _check_address(scheduler: str) -> None:
    """Raise UsageError if ``scheduler`` is no address; a Client of Dask would end after 40 s."""
    from distributed.comm.addressing import get_address_host_port, parse_address, unparse_address

    try:
        get_address_host_port(unparse_address(*parse_address(scheduler)), strict=True)
    except ValueError as error:
        raise click.UsageError(
            f"--scheduler {scheduler} is not an address ({error}); give the one that dask "
            "scheduler prints, such as tcp://host:8786"
        ) from None


@contextmanager
def workers(options: Mapping[str, Any]) -> Iterator[None]:
    """Return a context whose searches are trained by the processes that the options ask for.

    Raises ClickException if the scheduler does not answer.
    """
    backend, scheduler, jobs = options["backend"], options["scheduler"], options["jobs"]
    if backend is None and scheduler is None and jobs in (None, 1):
        yield
        return
    from joblib import parallel_config

    from gpubp.backends.blas_threads import usable_cores

    count = jobs or usable_cores()
    with ExitStack() as stack:
        if backend == "dask" or scheduler is not None:
            client = stack.enter_context(_client(scheduler, count))
            stack.enter_context(parallel_config("dask", client=client))
        else:
            stack.enter_context(parallel_config("loky", n_jobs=count))
        yield


@contextmanager
def _client(scheduler: str | None, count: int) -> Iterator[Any]:
    """Return a client of the scheduler at an address, or of ``count`` workers of this machine."""
    from distributed import Client, LocalCluster

    # A lost worker is no error: its tasks are trained again.
    logger = logging.getLogger("distributed")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with ExitStack() as stack:
            cluster: Any = scheduler
            if scheduler is None:
                with _ignored_by_children():
                    cluster = LocalCluster(
                        n_workers=count,
                        threads_per_worker=1,
                        dashboard_address=None,
                        silence_logs=logging.CRITICAL,
                    )
                stack.enter_context(cluster)
            try:
                client = Client(cluster, timeout=CONNECT_SECONDS, set_as_default=False)
            except OSError as error:
                raise click.ClickException(
                    f"--scheduler {scheduler} does not answer ({error}); give the address that "
                    "dask scheduler prints, such as tcp://host:8786"
                ) from None
            yield stack.enter_context(client)
    finally:
        logger.setLevel(level)


@contextmanager
def _ignored_by_children() -> Iterator[None]:
    """Let processes and threads that are started inside ignore Ctrl-C, which is for this process.

    The processes that the threads start later ignore it too.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    from multiprocessing.resource_tracker import ensure_running

    ensure_running()  # a thread that starts this process unblocks the signal again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
