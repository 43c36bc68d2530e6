"""A model of the time of a training step on several devices, each with its share of the batch.

A step on R devices takes

    seconds(R) = fixed + per_row * rows(R) + copies + allreduce(bytes, R)

- fixed + per_row * rows: the time of a step on one device, from `Compute`. The fixed part is the
  update of all parameters and the overhead of launches; it does not shrink with R.
- rows(R): the rows of the slowest device, by `slowest_rows`.
- copies: the gradient to the host and back, on a GPU whose allreduce is made by MPI.
- allreduce: by `Link.seconds`, for the gradient of all parameters, 4 bytes each.

All devices are equal, so are the links between each two of them, and the allreduce begins when the
gradient is complete.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

PAYS = 0.5  # devices pay if their efficiency is at least this
MOST_ROWS = 1 << 50  # largest batch that `Scaling.batch_for` tries


@dataclass(frozen=True)
class Link:
    """The network between the devices.

    latency : seconds of a message, however short. bandwidth : bytes per second.
    text : where the two numbers come from, for the user.
    measured : whether they were measured; else they are assumptions.
    staged : whether the gradient of a GPU goes through host memory, as with MPI.
    """

    latency: float
    bandwidth: float
    text: str
    measured: bool = False
    staged: bool = True

    def seconds(self, n_bytes: float, devices: int) -> float:
        """Return the seconds of an allreduce of ``n_bytes`` over so many devices.

        The faster of two algorithms, with L = ceil(log2 R) and n bytes:

        - recursive doubling, for short vectors: L (latency + n / bandwidth);
        - reduce-scatter and allgather (Rabenseifner), for long ones:
          2 L latency + 2 (R - 1) / R n / bandwidth.

        Thakur, Rabenseifner, Gropp, "Optimization of Collective Communication Operations in
        MPICH", IJHPCA 19(1), 2005. The time of the additions is part of 1 / bandwidth.
        """
        if devices == 1:
            return 0.0
        steps, share = _steps_and_share(devices)
        transfer = n_bytes / self.bandwidth
        return min(steps * (self.latency + transfer), 2 * steps * self.latency + share * transfer)

    @classmethod
    def fitted(cls, seconds: Sequence[tuple[int, float]], n_bytes: int, devices: int) -> Link:
        """Return the link with which the model has the measured time of ``n_bytes``.

        seconds : (bytes, seconds) of measured allreduces over ``devices``, 2 or more. The shortest
        vector gives the latency.
        """
        measured = dict(seconds)
        steps, share = _steps_and_share(devices)
        latency = measured[min(measured)] / steps
        total = measured[n_bytes]
        # Each algorithm solved for the time of the transfer; the faster one has the larger result.
        transfer = max(total / steps - latency, (total - 2 * steps * latency) / share)
        transfer = max(transfer, 1e-3 * total)  # of a vector no longer than the shortest
        text = f"measured over {devices} ranks"
        return cls(latency, n_bytes / transfer, text, measured=True)


def _steps_and_share(devices: int) -> tuple[int, float]:
    """Return ceil(log2 R) and 2 (R - 1) / R."""
    return (devices - 1).bit_length(), 2 * (devices - 1) / devices


# Round numbers of typical networks, none of them measured by us. The bandwidths are about 0.9 of
# the line rate; the latencies are those of small messages with TCP, MPI or NCCL.
LINKS = {
    "shared-memory": Link(2e-6, 5e9, "processes on one machine"),
    "ethernet": Link(30e-6, 2.8e9, "25 Gbit/s Ethernet, TCP"),
    "infiniband": Link(5e-6, 22e9, "200 Gbit/s InfiniBand", staged=False),
    "nvlink": Link(5e-6, 350e9, "NVLink of 450 GB/s, GPUs in one machine", staged=False),
}


def given_link(name: str, latency: float | None, bandwidth: float | None) -> Link:
    """Return the link of this name in `LINKS`, with the numbers that are given.

    latency : microseconds. bandwidth : GB/s.
    """
    found, texts = LINKS[name], list[str]()
    if latency is not None:
        found = replace(found, latency=latency * 1e-6)
        texts.append("latency given")
    if bandwidth is not None:
        found = replace(found, bandwidth=bandwidth * 1e9)
        texts.append("bandwidth given")
    if len(texts) < 2:
        rest = "the rest " if texts else ""
        texts.append(f"{rest}assumed, not measured: {found.text} ({name})")
    return replace(found, text=", ".join(texts))


@dataclass(frozen=True)
class Compute:
    """The time of a training step on one device: fixed + per_row * rows, in seconds.

    copies : seconds to copy the gradient to the host and back; 0 on the CPU.
    """

    fixed: float
    per_row: float
    copies: float = 0.0

    def seconds(self, rows: float) -> float:
        """Return the seconds of a step of ``rows`` rows."""
        return self.fixed + self.per_row * rows

    @classmethod
    def fitted(cls, seconds: Sequence[tuple[int, float]], copies: float = 0.0) -> Compute:
        """Return the line through (rows, seconds) with the least squares of relative errors.

        Neither number is negative. With one pair, all of its time is fixed.
        """
        rows, times = (np.array(each, np.float64) for each in zip(*seconds, strict=True))
        if len(rows) == 1:
            return cls(float(times[0]), 0.0, copies)
        from scipy.optimize import nnls

        lines = np.stack([1 / times, rows / times], axis=1)
        scale = lines.max(axis=0)  # the columns differ by orders of magnitude
        (fixed, per_row), _ = nnls(lines / scale, np.ones(len(rows)))
        return cls(float(fixed / scale[0]), float(per_row / scale[1]), copies)


def slowest_rows(batch: int, devices: int, table_rows: float = math.inf) -> float:
    """Return the expected rows of the device with the most rows of a batch.

    Each device owns an equal part of the table, and the batch is drawn without replacement. So the
    rows of a device are hypergeometric, with mean b / R and variance

        sigma^2 = b / R (1 - 1 / R) (n - b) / (n - 1),

    and the maximum over R devices is about the mean + sigma sqrt(2 ln R), which for normal numbers
    is an upper bound. It is at least 1.
    table_rows : n, the rows of the table. If it is at most ``batch``, all devices have equal parts.
    """
    mean = batch / devices
    left = 1.0 if math.isinf(table_rows) else max(0.0, table_rows - batch) / max(1, table_rows - 1)
    sigma = math.sqrt(mean * (1 - 1 / devices) * left)
    return min(float(batch), max(1.0, mean + sigma * math.sqrt(2 * math.log(devices))))


@dataclass(frozen=True)
class ScaledStep:
    """A training step on so many devices, by the model. Times in seconds.

    rows : of the slowest device. efficiency : speedup / devices.
    """

    devices: int
    rows: float
    seconds: float
    compute_seconds: float
    allreduce_seconds: float
    rows_per_second: float
    speedup: float
    efficiency: float


@dataclass(frozen=True)
class Scaling:
    """The model for one network: its batch, its gradient in bytes, its device and its links.

    table_rows : see `slowest_rows`.
    """

    batch: int
    n_bytes: int
    compute: Compute
    link: Link
    table_rows: float = math.inf

    def step(self, devices: int) -> ScaledStep:
        """Return a step on so many devices."""
        alone = self.compute.seconds(self.batch)
        rows = slowest_rows(self.batch, devices, self.table_rows)
        compute, allreduce = self.compute.seconds(rows), self.link.seconds(self.n_bytes, devices)
        if devices > 1 and self.link.staged:
            allreduce += self.compute.copies
        seconds = compute + allreduce
        return ScaledStep(
            devices,
            rows,
            seconds,
            compute,
            allreduce,
            self.batch / seconds,
            alone / seconds,
            alone / seconds / devices,
        )

    def first_that_does_not_pay(self, among: Sequence[int]) -> int | None:
        """Return the first of these numbers of devices with an efficiency below `PAYS`."""
        pays = {devices: self.step(devices).efficiency >= PAYS for devices in among}
        return next((devices for devices in sorted(among) if not pays[devices]), None)

    def batch_for(self, devices: int) -> int | None:
        """Return the least batch with which so many devices pay; None if there is none.

        There is none if the time of a step does not grow with its rows.
        """
        low, high = 0, 1
        while not self._pays(high, devices):
            low, high = high, 2 * high
            if high > MOST_ROWS:
                return None
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self._pays(middle, devices) else (middle, high)
        return high

    def _pays(self, batch: int, devices: int) -> bool:
        return replace(self, batch=batch).step(devices).efficiency >= PAYS
