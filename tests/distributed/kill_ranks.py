"""Ends ranks at random moments and checks that no job hangs.

python -m tests.distributed.kill_ranks --runs 50
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from tests.distributed.launching import job

PROGRAM = ("-m", "tests.distributed.train_slowly")
RANKS = 2
LONGEST = 15.0  # seconds from the failure to the end of the job
OLD = b"the model of before"


def _ranks_of(mpiexec: int) -> dict[int, int]:
    """Return the process of each rank below the process ``mpiexec``."""
    found, parents = {}, {mpiexec}
    for folder in sorted(Path("/proc").glob("[0-9]*"), key=lambda path: int(path.name)):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            variables = (folder / "environ").read_bytes().split(b"\0")
        except (OSError, ValueError):
            continue
        if parent in parents:
            parents.add(int(folder.name))
            for variable in variables:
                if variable.startswith(b"PMI_RANK="):
                    # Not a child, such as a compiler, which has the variable of its rank.
                    found.setdefault(int(variable[9:]), int(folder.name))
    return found


def run(seed: int) -> tuple[str, float]:
    """Let one rank end at a moment that ``seed`` decides.

    Return a description, and the seconds until the job ended. Raises RuntimeError if it hangs, ends
    without an error, or changes the model.
    """
    chance = random.Random(seed)
    rank, raises = chance.randrange(RANKS), chance.random() < 0.4
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model"
        model.write_bytes(OLD)
        failure = (str(rank), str(chance.randint(1, 60))) if raises else ()
        what = f"rank {rank} {f'raises in epoch {failure[1]}' if raises else 'is killed'}"
        with job(RANKS, *PROGRAM, str(model), *failure) as process:
            if not raises:
                at = chance.uniform(0.0, 4.0)
                what += f" after {at:.2f} s"
                time.sleep(at)
                # A rank may not have begun yet.
                while (pid := _ranks_of(process.pid).get(rank)) is None:
                    time.sleep(0.05)
                os.kill(pid, signal.SIGKILL)
            began = time.perf_counter()
            try:
                code = process.wait(timeout=LONGEST)
            except subprocess.TimeoutExpired:
                raise RuntimeError(f"seed {seed}: {what}, and the job hangs") from None
            seconds = time.perf_counter() - began
        if code == 0:
            raise RuntimeError(f"seed {seed}: {what}, but the job ends with code 0")
        if model.read_bytes() != OLD:
            raise RuntimeError(f"seed {seed}: {what}, and the model has changed")
    return what, seconds


def main() -> None:
    """Run as many jobs as asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=50)
    slowest = 0.0
    for seed in range(parser.parse_args().runs):
        what, seconds = run(seed)
        slowest = max(slowest, seconds)
        print(f"{seed:3}  {what}: ended {seconds:.2f} s later", flush=True)
    print(f"none hangs; the slowest ended after {slowest:.2f} s")


if __name__ == "__main__":
    main()
