"""Reads and checks results files of `gpubp bench`, so that readers can rely on their content."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from gpubp.bench.cases import FLOOR, Case
from gpubp.bench.results import Part, Results, Row, load
from gpubp.storage.atomic_file import atomic_write

_FACTS = {
    **dict.fromkeys(("gpubp", "python", "system", "cpu"), str),
    **dict.fromkeys(("packages", "variables", "unset"), dict),
    "cores": int,
}
_STATUSES = ("ok", "failed", "skipped")


def load_runs(path: Path) -> Results:
    """Return the results in the file ``path``, as `load` does, after checking those of suites.

    Raises
    ------
    ValueError
        If the file has no results, or if results of a suite are incomplete or invalid.
    """
    results = load(path)
    try:
        for part in results.values():
            if is_run(part):
                _check(part)
    except KeyError as error:
        problem = f"no {error}"
    except (ValueError, TypeError, AttributeError) as error:
        problem = str(error)
    else:
        return results
    raise ValueError(
        f"{str(path)!r} does not hold whole results of gpubp bench ({problem}); move it away"
    )


def keep_measured(path: Path, suite: str) -> Path | None:
    """Copy the file ``path`` if it has results of ``suite``; return the path of the copy, or None.

    Without the copy, a run that fails or is interrupted would lose them, because its first
    measurement replaces them.
    """
    part = load(path).get(suite)
    if part is None or not any(row.status == "ok" for row in part.rows):
        return None
    kept = path.with_name(f"{path.stem}.previous{path.suffix}")
    with atomic_write(kept) as temporary:
        temporary.write_bytes(path.read_bytes())
    return kept


def is_run(part: Part, kind: str = "speed") -> bool:
    """Return whether a part is the run of a suite of ``kind``; else it may be of `bench.gpu`."""
    settings = part.settings if isinstance(part.settings, dict) else {}
    return "suite" in settings and settings["suite"].get("kind", "speed") == kind


def _check(part: Part) -> None:
    """Raise KeyError, ValueError, TypeError or AttributeError if a run cannot have written this."""
    for name, kind in _FACTS.items():
        _expect(kind, part.machine[name], name)
    _expect(int, part.settings["threads"], "threads")
    _expect(bool, part.settings["keep_env"], "keep_env")
    _expect(str, part.settings["suite"]["baseline"], "baseline")
    _expect(int | float, part.seconds, "seconds")
    keys = {Case.from_values(values).key for values in part.settings["suite"]["cases"]}
    for row in part.rows:
        if (row.case, row.peer) not in keys:
            raise ValueError(f"a row of {row.case!r} by {row.peer!r}, which is not a case of it")
        if row.status not in _STATUSES:
            raise ValueError(f"status {row.status!r}")
        if row.status == "ok":
            _check_measured(row)


def _check_measured(row: Row) -> None:
    needed = ("bytes_us",) if row.peer == FLOOR else ("peak_bytes", "other_cores")
    for name in (*needed, "disturbed_rounds", "us_per_step", "rows_per_second"):
        _expect(float | int, row.figures[name], name)
    if row.timing is None or not row.rounds:
        raise ValueError(f"no seconds in the row of {row.case!r} by {row.peer!r}")
    for seconds in (*row.rounds, row.timing.median, row.timing.low, row.timing.high):
        _expect(int | float, seconds, "seconds of a round")
        if not 0 < seconds < math.inf:
            raise ValueError(f"seconds of a round are {seconds!r}")


def _expect(kind: Any, value: Any, name: str) -> None:
    if not isinstance(value, kind):
        raise TypeError(f"{name} is {value!r}")
