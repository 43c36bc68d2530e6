"""gpubp without compiled steps, as on a machine without a C++ compiler."""

from __future__ import annotations

from gpubp.bench.peers.ours import Gpubp


class GpubpNumpy(Gpubp):
    """gpubp with ``compiled=False``."""

    name = "gpubp_numpy"
    compiled = False

    def available(self, device: str) -> str | None:
        return "NumPy computes on the CPU only" if device != "cpu" else super().available(device)
