"""gpubp with `fit_population` and without compiled steps."""

from __future__ import annotations

from gpubp.bench.peers.ours_numpy import GpubpNumpy
from gpubp.bench.peers.ours_population import GpubpPopulation


class GpubpPopulationNumpy(GpubpPopulation):
    """gpubp with ``compiled=False``, all networks in one call."""

    name = "gpubp_population_numpy"
    compiled = False

    def available(self, device: str) -> str | None:
        return GpubpNumpy().available(device)
