"""The peers, which train the workloads: gpubp and other libraries, one class each."""

from __future__ import annotations

from gpubp.bench.peers.jax_scan import JaxScan
from gpubp.bench.peers.jax_vmap import JaxVmap
from gpubp.bench.peers.ours import Gpubp
from gpubp.bench.peers.ours_numpy import GpubpNumpy
from gpubp.bench.peers.ours_one_by_one import GpubpOneByOne
from gpubp.bench.peers.ours_one_by_one_numpy import GpubpOneByOneNumpy
from gpubp.bench.peers.ours_population import GpubpPopulation
from gpubp.bench.peers.ours_population_numpy import GpubpPopulationNumpy
from gpubp.bench.peers.protocol import Peer
from gpubp.bench.peers.sklearn_mlp import SklearnMlp
from gpubp.bench.peers.torch_compile import TorchCompile
from gpubp.bench.peers.torch_eager import TorchEager
from gpubp.bench.peers.torch_func import TorchFunc
from gpubp.bench.peers.torch_graph import TorchGraph

_PEERS: tuple[Peer, ...] = (
    *(Gpubp(), GpubpNumpy(), TorchEager(), TorchGraph(), JaxScan(), SklearnMlp()),
    # Of populations.
    *(GpubpPopulation(), GpubpPopulationNumpy(), GpubpOneByOne(), GpubpOneByOneNumpy()),
    *(JaxVmap(), TorchFunc()),
    TorchCompile(),  # last, because its compilation may use all the time
)
PEERS = {peer.name: peer for peer in _PEERS}
