"""`python -m gpubp.bench.available PEER DEVICE ...`: why no peer can run on its device.

It prints the reason, and nothing if one can run.
"""

from __future__ import annotations

import subprocess
import sys

from gpubp.backends.select import BackendUnavailableError
from gpubp.bench.cases import FLOOR
from gpubp.bench.isolation import own_stdout
from gpubp.bench.peers import PEERS
from gpubp.bench.results import Row
from gpubp.bench.runner import environment
from gpubp.bench.suite import Suite

SECONDS = 120.0  # the imports of PyTorch and JAX may take a minute
# Without -P, modules in the current folder would hide installed ones.
CHILD = (sys.executable, "-P", "-m", "gpubp.bench.available")


def check_devices(suite: Suite) -> None:
    """Raise BackendUnavailableError if no case of ``suite`` can run on its device.

    Another process asks the peers, because JAX reserves most of a device's memory when asked.
    """
    places = dict.fromkeys((_library(case.peer), case.device) for case in suite.cases)
    if any(device == "cpu" for _, device in places):
        return
    arguments = [word for place in places for word in place]
    try:
        done = subprocess.run(
            [*CHILD, *arguments],
            env=environment(threads=1, keep_env=False),
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return
    if done.returncode == 0 and (reason := done.stdout.strip()):
        raise BackendUnavailableError(reason)


def reason_for_none(places: list[tuple[str, str]]) -> str:
    """Return why none of ``places``, peers with their devices, can run; "" if one can.

    The reason is that of gpubp, if it is one of the peers.
    """
    reasons = []
    for peer, device in sorted(places, key=lambda place: place[0] != Row.peer):
        reason = PEERS[peer].available(device)
        if reason is None:
            return ""
        reasons.append(reason)
    return reasons[0]


def _library(peer: str) -> str:
    """Return the peer whose device a case needs; the floor is measured by gpubp."""
    return Row.peer if peer == FLOOR else peer


def main(*words: str) -> None:
    """Print why no peer can run; ``words`` are peers, each followed by its device."""
    out = own_stdout()
    places = list(zip(words[::2], words[1::2], strict=True))
    print(reason_for_none(places), file=out, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
