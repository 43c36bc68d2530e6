"""A suite in a TOML file: networks by batch sizes, devices, precisions, solvers and peers."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple, get_args

from gpubp.bench.cases import FLOOR, Case, Mode
from gpubp.bench.datasets import DATASETS
from gpubp.bench.peers import PEERS
from gpubp.bench.workloads import Loss

FOLDER = Path(__file__).parent / "suites"
BASELINE = "sklearn_mlp"


class SuiteError(ValueError):
    """A suite cannot be used; the message names the line and the reason."""


@dataclass(frozen=True)
class Suite:
    """The cases of a suite, and the settings of the measurement.

    cases : each is a `Case`, or a `QualityCase` of the kind "quality".
    timeout : time limit of a process in seconds. baseline : the peer of the ratios.
    kind : "speed", or "quality" for the scores of `gpubp.bench.quality`.
    """

    name: str
    cases: tuple[Any, ...]
    rounds: int = 5
    timeout: float = 120.0
    baseline: str = BASELINE
    kind: str = "speed"


class _Rule(NamedTuple):
    """The rule for the value of a key: a test, a description and the choices, if any."""

    holds: Callable[[Any], bool]
    wanted: str
    choices: tuple[str, ...] = ()


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_amount(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and 0 < value < 1e9


def _list_of(holds: Callable[[Any], bool], least: int = 1) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and len(value) >= least and all(map(holds, value))


def _one_of(*choices: str) -> _Rule:
    return _Rule(lambda value: value in choices, f"one of {', '.join(choices)}", choices)


def _some_of(*choices: str) -> _Rule:
    wanted = f"a list of {', '.join(choices)}"
    return _Rule(_list_of(lambda value: value in choices), wanted, choices)


_COUNT = _Rule(_is_count, "a whole number from 1 on")
_AMOUNT = _Rule(_is_amount, "a number above 0")
_SEED = _Rule(
    lambda value: type(value) is int and 0 <= value < 2**32, "a whole number from 0 to 2**32 - 1"
)
_DEVICES = _Rule(
    _list_of(lambda value: bool(re.fullmatch(r"cpu|cuda(:\d+)?", str(value)))),
    "a list of cpu, cuda or cuda:N",
)
# Keys that a suite and a network may have; the value of the network has priority.
_ANYWHERE = {
    "devices": _DEVICES,
    "precisions": _some_of("float32", "float64", "tf32", "bfloat16"),
    "solvers": _some_of("adam", "sgd"),
    "peers": _some_of(*PEERS, FLOOR),
    "batches": _Rule(_list_of(_is_count), "a list of whole numbers from 1 on"),
    "epochs": _COUNT,
    "rows": _COUNT,
    "population": _COUNT,
    "seconds": _AMOUNT,
    "seed": _SEED,
    "learning_rate": _AMOUNT,
}
# Lists; a network is measured in every combination of their values.
_MATRIX = ("batches", "devices", "precisions", "solvers", "peers")
_TOP = {
    "rounds": _COUNT,
    "timeout": _AMOUNT,
    "baseline": _one_of(*PEERS),
    "networks": _Rule(_list_of(lambda value: isinstance(value, dict)), "[[networks]] tables"),
} | _ANYWHERE
_NETWORK = {
    "name": _Rule(
        lambda value: isinstance(value, str) and bool(re.fullmatch(r"[\w.+-]+", value)),
        "a word of letters, digits and . + - _",
    ),
    "sizes": _Rule(_list_of(_is_count, 2), "a list of units by layer, inputs and outputs too"),
    "data": _one_of(*DATASETS),
    "loss": _one_of("cross_entropy", "squared_error"),
    "mode": _one_of(*get_args(Mode)),
    "vary": _one_of("batch", "width", "depth", "rows"),
} | _ANYWHERE
_DEFAULTS: dict[str, Any] = {
    "devices": ["cpu"],
    "precisions": ["float32"],
    "solvers": ["adam"],
    "peers": ["gpubp", BASELINE],
    "epochs": 10,
    "seconds": 0.5,
    "seed": 0,
    "learning_rate": 1e-3,
    "mode": "training",
    "vary": "",
    "population": 1,
}


def suite_names() -> list[str]:
    """Return the names of the built-in suites."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def read_suite(name: str) -> Suite:
    """Return the built-in suite ``name``, or the suite in the TOML file with the path ``name``.

    Raises
    ------
    SuiteError
        If there is no such suite, or if its content is invalid.
    """
    built_in = suite_names()
    path = FOLDER / f"{name}.toml" if name in built_in else Path(name)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        near = difflib.get_close_matches(name, built_in, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"built in are {', '.join(built_in)}"
        raise SuiteError(f"suite {name!r} cannot be read: {error.strerror}; {hint}") from None
    except UnicodeDecodeError as error:
        raise SuiteError(f"suite {name!r} is not text in UTF-8: {error.reason}") from None
    return parse_suite(text, path)


def parse_suite(text: str, path: Path) -> Suite:
    """Return the suite in ``text``, read from ``path``."""
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SuiteError(f"{path} is not TOML: {error}") from None
    reader = _Reader(path, text)
    reader.check(values, _TOP, None)
    if "networks" not in values:
        raise SuiteError(f"{path} has no [[networks]]; add one with name, sizes and batches")
    shared, cases = {key: values[key] for key in values if key in _ANYWHERE}, []
    for number, network in enumerate(values["networks"]):
        reader.check(network, _NETWORK, number)
        cases += list(reader.cases(_DEFAULTS | shared | network, number))
    if not cases:
        raise SuiteError(f"{path} has no case that can run: none of its peers supports its devices")
    names = [network["name"] for network in values["networks"]]
    for number, name in enumerate(names):
        if name in names[:number]:
            raise reader.error(f"name {name!r} is used twice", "name", number)
    own = {key: values[key] for key in ("rounds", "timeout", "baseline") if key in values}
    return Suite(path.stem, tuple(cases), **own)


class _Reader:
    """Checks the values of a file, and finds their lines for error messages."""

    def __init__(self, path: Path, text: str) -> None:
        self._path, self._lines = path, dict(reversed(list(_lines(text))))

    def error(self, problem: str, key: str, number: int | None) -> SuiteError:
        """Return the error with the line of ``key`` in network ``number`` (None: at the top)."""
        line = self._lines.get((number, key)) or self._lines.get((number, ""))
        return SuiteError(f"{self._path}{f', line {line}' if line else ''}: {problem}")

    def check(self, values: dict[str, Any], rules: dict[str, _Rule], number: int | None) -> None:
        """Raise SuiteError for the first key or value that ``rules`` do not allow."""
        for key, value in values.items():
            if key not in rules:
                raise self.error(_unknown("key", key, rules), key, number)
            if not rules[key].holds(value):
                problem = f"{key} is {value!r}; give {rules[key].wanted}"
                raise self.error(problem + _near(value, rules[key].choices), key, number)
            if key in _MATRIX and len(set(value)) < len(value):
                raise self.error(f"{key} is {value!r}; give each value only once", key, number)

    def cases(self, values: dict[str, Any], number: int) -> Iterator[Case]:
        """Yield the cases of network ``number``, whose ``values`` have been checked."""
        for key in ("name", "sizes", "batches"):
            if key not in values:
                raise self.error(f"the network has no {key}; add it", "", number)
        known = DATASETS.get(values.get("data", ""))
        loss: Loss = values.get("loss") or (known.loss if known else "cross_entropy")
        rows, sizes = self._rows(values, loss, number), tuple(values["sizes"])
        if values["population"] > 1 and values["mode"] != "training":
            problem = f"mode is {values['mode']!r}; a population is measured in mode 'training'"
            raise self.error(problem, "mode", number)
        for batch, device, precision, solver, peer in product(*(values[key] for key in _MATRIX)):
            if _never_runs(peer, device):
                continue
            yield Case(
                values["name"],
                sizes,
                batch,
                rows or 50 * batch,
                peer,
                device,
                precision,
                solver,
                loss,
                values.get("data", ""),
                values["mode"],
                values["epochs"],
                values["learning_rate"],
                values["seed"],
                values["seconds"],
                values["vary"] or ("batch" if len(values["batches"]) > 1 else ""),
                values["population"],
            )

    def _rows(self, values: dict[str, Any], loss: str, number: int) -> int:
        """Return the rows of the data (0: 50 batches); check that data and network agree."""
        sizes, known = values["sizes"], DATASETS.get(values.get("data", ""))
        needed = [known.features, known.outputs] if known else [sizes[0], sizes[-1]]
        if known and ([sizes[0], sizes[-1]] != needed or loss != known.loss):
            raise self.error(
                f"sizes are {sizes} and the loss is {loss}; data {values['data']!r} needs "
                f"{needed[0]} inputs, {needed[1]} outputs and {known.loss}",
                "sizes",
                number,
            )
        least = 2 if loss == "cross_entropy" and sizes[-1] == 1 else sizes[-1]
        if not known and sizes[0] < least:
            problem = f"sizes are {sizes}; drawn data needs {least} or more inputs for that output"
            raise self.error(problem, "sizes", number)
        rows: int = values.get("rows") or (known.rows if known else 0)
        if rows and max(values["batches"]) > rows:
            raise self.error(
                f"batches has {max(values['batches'])}, but there are {rows} rows; make it smaller "
                "or give more rows",
                "batches",
                number,
            )
        return rows


def _never_runs(peer: str, device: str) -> bool:
    only = {"sklearn_mlp": "cpu", "gpubp_numpy": "cpu", "torch_graph": "cuda"}
    return peer in only and not device.startswith(only[peer])


def _unknown(kind: str, name: str, known: dict[str, _Rule]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"it may be one of {', '.join(sorted(known))}"
    return f"unknown {kind} {name!r}; {hint}"


def _near(value: Any, choices: tuple[str, ...]) -> str:
    """Return a suggestion for the first part of ``value`` that is not a valid choice, or ""."""
    wrong = [v for v in (value if isinstance(value, list) else [value]) if v not in choices]
    near = difflib.get_close_matches(str(wrong[0]), choices, n=1) if wrong else []
    return f"; did you mean {near[0]!r}?" if near else ""


def _lines(text: str) -> Iterator[tuple[tuple[int | None, str], int]]:
    """Yield (number of the network or None, key) and line of every key; "" for a header."""
    number, table = None, 0
    for line, content in enumerate(text.splitlines(), 1):
        if re.match(r"\s*\[\[\s*networks\s*\]\]", content):
            number, table = table, table + 1
            yield (number, ""), line
        elif header := re.match(r"\s*\[\[?\s*([A-Za-z][\w-]*)\s*\]", content):
            yield (None, header[1]), line
            number = -1
        elif key := re.match(r"\s*[\"']?([\w-]+)[\"']?\s*=", content):
            yield (number, key[1]), line
