"""Runs of `gpubp train` that are killed at random moments and started again.

`python -m tests.cli.killed_runs 200` kills 200 times; `--ranks 2` kills a rank of an MPI job.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import perf_counter, sleep

# Imported once, before the runs are forked, which takes most of the time of a short one.
import gpubp.cli.train_result
import gpubp.models.save_load
import gpubp.reports.terminal
import gpubp.tables.read  # noqa: F401
from gpubp.__main__ import main

# A checkpoint after each epoch, so that many kills come while one is written.
OPTIONS = ("--threads", "1", "--quiet", "--checkpoint-every", "1epochs", "--test-size", "0")
NETWORK = ("breast_cancer", "--preset", "plain", "--epochs", "60", "--validation-size", "0.2")
ENSEMBLE = ("breast_cancer", "--epochs", "15", "--members", "3", "--hidden", "32,32")
MODEL, UNDISTURBED, OUTPUT = "model.safetensors", "undisturbed.safetensors", "output.txt"


def arguments(what: Sequence[str], out: Path) -> list[str]:
    """Return the arguments of a run whose model is saved at ``out``."""
    return ["train", *what, *OPTIONS, "-o", str(out)]


def started(what: Sequence[str], out: Path, ranks: int) -> int:
    """Start a run; return its process.

    A run of one process is a fork of this one, which has its libraries already.
    """
    output = out.with_name(OUTPUT)
    if ranks > 1:
        job = ["mpiexec", "-n", str(ranks), sys.executable, "-P", "-m", "gpubp"]
        with output.open("w") as file:
            streams = {"stdin": subprocess.DEVNULL, "stdout": file, "stderr": subprocess.STDOUT}
            return subprocess.Popen([*job, *arguments(what, out)], **streams).pid
    if (process := os.fork()) == 0:
        file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, 1)
        os.dup2(file, 2)
        os._exit(main(arguments(what, out)))
    return process


def ended(process: int) -> int:
    """Wait for a process; return its exit code, minus the signal that killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def victim(process: int, ranks: int, rng: random.Random) -> int:
    """Return the process to kill: of a job with several ranks, one of them."""
    found = [pid for pid in _children(process) if b"gpubp" in _command_line(pid)]
    return rng.choice(found) if ranks > 1 and found else process


def _children(process: int) -> Iterator[int]:
    """Yield the processes that ``process`` has started, and theirs."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and _parent(entry) == process:
            yield int(entry.name)
            yield from _children(int(entry.name))


def _parent(entry: Path) -> int | None:
    try:
        return int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None


def _command_line(process: int) -> bytes:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return b""


def killed(what: Sequence[str], kills: int, *, ranks: int = 1, seed: int = 0) -> list[int]:
    """Kill runs ``kills`` times in all; check each model; return the kills of each run.

    A run is started again after each kill, until it ends.

    Raises AssertionError unless every run ends with the bits of an undisturbed one, without files
    other than the model.
    """
    rng, counts = random.Random(seed), list[int]()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        seconds = 0.0
        for _ in range(2):  # the first run also compiles
            began = perf_counter()
            code = ended(started(what, folder / UNDISTURBED, ranks))
            assert code == 0, (folder / OUTPUT).read_text()
            seconds = perf_counter() - began
        expected = (folder / UNDISTURBED).read_bytes()
        while sum(counts) < kills:
            counts.append(_until_the_end(what, folder, ranks, seconds, kills - sum(counts), rng))
            assert (folder / MODEL).read_bytes() == expected, "the model has other bits"
            left = {each.name for each in folder.iterdir()}
            assert left == {MODEL, UNDISTURBED, OUTPUT}, left
            (folder / MODEL).unlink()
    return counts


def _until_the_end(
    what: Sequence[str], folder: Path, ranks: int, seconds: float, most: int, rng: random.Random
) -> int:
    """Start a run until it ends, and kill it up to ``most`` times; return how often it was."""
    count = 0
    while True:
        process, was_killed = started(what, folder / MODEL, ranks), False
        if count < most:
            sleep(rng.uniform(0, 1) * seconds)
            if os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                os.kill(victim(process, ranks, rng), signal.SIGKILL)
                was_killed = True
        code = ended(process)
        if code == 0:
            return count
        assert was_killed, (code, (folder / OUTPUT).read_text())
        count += 1


def kill_as_asked() -> None:
    """Kill as often as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kills", type=int, nargs="?", default=200)
    parser.add_argument("--ranks", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    cases = (NETWORK,) if given.ranks > 1 else (NETWORK, ENSEMBLE)
    for what in cases:
        counts = killed(what, given.kills // len(cases), ranks=given.ranks, seed=given.seed)
        text = f"gpubp train {' '.join(what)}: {sum(counts)} kills in {len(counts)} runs"
        print(f"{text}, each of which ended with the bits of an undisturbed one", flush=True)


if __name__ == "__main__":
    kill_as_asked()
