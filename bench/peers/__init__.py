"""Who trains the workloads: gpubp and its peers, one module each."""

from __future__ import annotations

from gpubp.bench.peers import (
    jax_scan,
    ours,
    ours_compiled,
    sklearn_mlp,
    torch_compile,
    torch_eager,
    torch_graph,
)
from gpubp.bench.peers.protocol import Peer

# torch.compile last: its compilation may use up the time.
PEERS: dict[str, Peer] = {
    peer.name: peer
    for peer in (
        ours,
        ours_compiled,
        torch_eager,
        torch_graph,
        jax_scan,
        sklearn_mlp,
        torch_compile,
    )
}
