"""`gpubp doctor --scaling`: measures a step and the allreduce, and prints the model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from gpubp.cli.scaling_options import ASSUMED
from gpubp.settings import default_threads

if TYPE_CHECKING:
    from gpubp.backprop.network import Network
    from gpubp.distributed.communicator import Single
    from gpubp.training.scaling import Link
    from gpubp.training.step_timing import Measured

POWERS = tuple(1 << k for k in range(11))


def report_scaling(
    network: tuple[int, ...],
    batch: int,
    counts: Sequence[int] | None,
    device: str,
    threads: int | None,
    as_json: bool,
    **link: Any,
) -> None:
    """Measure on all ranks, and print the model.

    link : the options link, latency and bandwidth.
    """
    from gpubp.backprop.network import Network
    from gpubp.reports.scaling import scaling_facts, scaling_lines
    from gpubp.training.ranks import measured_by_all
    from gpubp.training.scaling import Compute, Scaling

    of = Network(network, ("relu",) * (len(network) - 2))
    measured = measured_by_all(partial(_measure, of, batch, device, threads))
    n_bytes = 4 * of.n_parameters
    compute = Compute.fitted(measured.steps, measured.copies)
    scaling = Scaling(batch, n_bytes, compute, _link(measured, n_bytes, **link))
    steps = [scaling.step(devices) for devices in counts or POWERS]
    if as_json:
        click.echo(json.dumps(scaling_facts(of, scaling, measured, steps)))
    else:
        click.echo("\n".join(scaling_lines(of, scaling, measured, steps)))


def _link(
    measured: Measured,
    n_bytes: int,
    link: str | None,
    latency: float | None,
    bandwidth: float | None,
) -> Link:
    """Return the link of the options; if there are none, the measured one or an assumed one."""
    from gpubp.training.scaling import Link, given_link

    if link is None and latency is None and bandwidth is None and measured.allreduces:
        return Link.fitted(measured.allreduces, n_bytes, measured.ranks)
    return given_link(link or ASSUMED, latency, bandwidth)


def _measure(
    network: Network, batch: int, device: str, threads: int | None, ranks: Single
) -> Measured:
    """Measure steps, on all ranks at once as in a training, and allreduces."""
    from gpubp.backends.select import get_backend
    from gpubp.distributed.mpi import Mpi
    from gpubp.training import step_timing as timing

    work, n_bytes = batch * network.n_parameters, 4 * network.n_parameters
    # A training that several devices share is large enough to be compiled.
    backend = get_backend(device, work, compiled="auto", steps=1000)
    threads = _threads(threads, work, ranks.local_size)
    steps, copies = [], 0.0
    if ranks.rank == 0 or backend.name == "cpu":  # ranks would share one GPU
        with backend.in_use(threads, work):
            steps = timing.measure_steps(backend, network, timing.batch_sizes(network, batch))
            copies = timing.measure_copies(backend, network.n_parameters)
    allreduces = timing.measure_allreduce(ranks.comm, n_bytes) if isinstance(ranks, Mpi) else []
    of = backend.name, backend.engine, threads
    return timing.Measured(*of, steps, copies, ranks.size, allreduces)


def _threads(threads: int | None, work: int, ranks_here: int) -> int:
    """Return the threads of one rank: by default its share of the cores."""
    from gpubp.backends.blas_threads import share_of_cores
    from gpubp.backends.numpy_backend import ONE_THREAD_LIMIT

    given = threads or default_threads()
    if given is None and work <= ONE_THREAD_LIMIT:
        return 1
    return given or share_of_cores(ranks_here)
