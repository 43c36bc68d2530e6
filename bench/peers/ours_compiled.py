"""gpubp with its elementwise steps compiled for the processor."""

from __future__ import annotations

from gpubp.bench.peers.ours import Gpubp


class GpubpCompiled(Gpubp):
    """gpubp with ``compiled=True``."""

    name = "gpubp_compiled"
    compiled = True

    def available(self, device: str) -> str | None:
        return (
            "steps are compiled for the CPU alone" if device != "cpu" else super().available(device)
        )
