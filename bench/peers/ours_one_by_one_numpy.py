"""gpubp with one call of `fit` for each network and without compiled steps."""

from __future__ import annotations

from gpubp.bench.peers.ours_numpy import GpubpNumpy
from gpubp.bench.peers.ours_one_by_one import GpubpOneByOne


class GpubpOneByOneNumpy(GpubpOneByOne):
    """gpubp with ``compiled=False``, one network after the other."""

    name = "gpubp_one_by_one_numpy"
    compiled = False

    def available(self, device: str) -> str | None:
        return GpubpNumpy().available(device)
