"""The results of a benchmark: parts with rows and the machine that measured them, as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from gpubp.storage.atomic_file import atomic_write, clear_errors

SCHEMA = 1
OURS = ("gpubp", "gpubp_population")  # the peers whose speed is held to limits
Status = Literal["ok", "failed", "skipped"]


class SkippedError(Exception):
    """A row cannot be measured here, but this is not a failure; the message is the reason."""


@dataclass(frozen=True)
class Timing:
    """Seconds of one epoch or pass: median and quartiles (``low``, ``high``) of ``samples``.

    clock : "device events", or "host clock" with a synchronisation after each sample.
    """

    median: float
    low: float
    high: float
    samples: int
    clock: str

    @property
    def spread(self) -> float:
        """The distance of the quartiles divided by the median."""
        return (self.high - self.low) / self.median


@dataclass(frozen=True)
class Row:
    """The result of one case with one peer, or the reason for no result.

    case : name of a workload, a kernel or a ceiling. peer : name of the library.
    reason : why the row failed or was skipped; else a remark, or "".
    precision : of the matrix products.
    losses : mean loss of the first epochs before timing, or of the first and last epoch of a fit.
    figures : other numbers, by names that contain the unit.
    rounds : seconds of one fit in each round; () if it was not measured in rounds.
    by_round : other numbers of each round by name, such as scores on test rows.
    not_compared : why the row has no ratio to another row; "" if it has one or needs none.
    notes : short texts by name, such as the versions of libraries.
    log : the end of the libraries' log.
    """

    case: str
    peer: str = "gpubp"
    status: Status = "ok"
    reason: str = ""
    device: str = ""
    precision: str = ""
    seed: int | None = None
    timing: Timing | None = None
    losses: tuple[float, ...] = ()
    figures: dict[str, float] = field(default_factory=dict)
    rounds: tuple[float, ...] = ()
    not_compared: str = ""
    notes: dict[str, str] = field(default_factory=dict)
    log: str = ""
    by_round: dict[str, tuple[float, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Part:
    """The rows of one part of a benchmark, measured in one run.

    machine : see `gpubp.bench.machine`. started : ISO 8601 in UTC. seconds : duration.
    settings : the suite and options of the run, if it has any.
    """

    machine: dict[str, Any]
    started: str
    seconds: float
    rows: tuple[Row, ...]
    settings: dict[str, Any] = field(default_factory=dict)


Results = dict[str, Part]  # by the name of the part
Rows = Mapping[str, Callable[[], Row]]  # the function of each row, by "case" or "peer/case"


def row_name(row: Row) -> str:
    """Return the name of a row in its part: "peer/case", or "case" for gpubp."""
    return row.case if row.peer == Row.peer else f"{row.peer}/{row.case}"


def named_row(name: str, status: Status, reason: str) -> Row:
    """Return a row with the name ``name`` and without figures."""
    peer, _, case = name.rpartition("/")
    return Row(case, peer or Row.peer, status, reason)


def merge(old: Results, new: Results) -> Results:
    """Return the parts of both; a part of ``new`` replaces the old part with the same name."""
    return old | new


def save(results: Results, path: Path) -> None:
    """Write ``results`` to ``path``; the old file is replaced only when the new one is complete."""
    parts = {name: _finite(asdict(part)) for name, part in results.items()}
    text = json.dumps({"schema": SCHEMA, "parts": parts}, indent=1, allow_nan=False)
    make_folder_of(path)
    with atomic_write(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def make_folder_of(path: Path) -> None:
    """Make the folder of a results file; raise OSError, with advice, if this cannot be done."""
    with clear_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)


def load(path: Path) -> Results:
    """Return the results in the file ``path``; {} if it does not exist.

    Raises
    ------
    ValueError
        If the file does not hold results of this schema.
    """
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["schema"] != SCHEMA:
            raise ValueError(f"schema {content['schema']!r}")
        return {name: _part(part) for name, part in content["parts"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{str(path)!r} does not hold results of schema {SCHEMA} ({error}); move it away"
        ) from None


def row_to_json(row: Row) -> str:
    """Return ``row`` as one line of JSON."""
    return json.dumps(_finite(asdict(row)), allow_nan=False)


def row_from_json(text: str) -> Row:
    """Return the row that `row_to_json` wrote."""
    return _row(json.loads(text))


def find(rows: Iterable[Row], case: str, peer: str = Row.peer) -> Row | None:
    """Return the row of ``case`` and ``peer`` with status "ok"; None if there is none."""
    return next((r for r in rows if (r.case, r.peer, r.status) == (case, peer, "ok")), None)


def _part(values: dict[str, Any]) -> Part:
    return Part(**values | {"rows": tuple(_row(row) for row in values["rows"])})


def _row(values: dict[str, Any]) -> Row:
    timing = values["timing"] and Timing(**values["timing"])
    losses = tuple(_number(loss) for loss in values["losses"])
    figures = {name: _number(value) for name, value in values["figures"].items()}
    by_round = values.get("by_round", {})
    by_round = {name: tuple(map(_number, numbers)) for name, numbers in by_round.items()}
    more = {"timing": timing, "losses": losses, "figures": figures, "by_round": by_round}
    return Row(**values | more | {"rounds": tuple(values.get("rounds", ()))})


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _finite(value: Any) -> Any:
    """Return ``value`` with None for NaN and infinity, which JSON cannot express."""
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
