"""The journal of `gpubp sweep`: every finished trial, so that a sweep can be resumed."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gpubp.storage.journal import Journal, JournalError, read_journal

if TYPE_CHECKING:
    from gpubp.reports.sweep.live import SweepView
    from gpubp.tables.table import Table

FORMAT = 1
Results = list[dict[str, Any]]


def journal_path(out: Path) -> Path:
    """Return the path of the journal of the sweep whose model is saved at ``out``."""
    return out.with_name(f"{out.stem}.sweep.jsonl")


class SweepLog:
    """Keeps the results of a sweep in its journal and shows them.

    journal : None to keep nothing. known : results of an earlier run by the key of the trial.
    scoring : --scoring.
    """

    def __init__(
        self,
        journal: Journal | None,
        known: Mapping[str, Results],
        view: SweepView,
        scoring: str | None,
    ) -> None:
        self._journal, self._known, self._view = journal, known, view
        self._unchecked = scoring
        self.total, self.resumed = 0, 0

    def begin(self, n_candidates: int, n_folds: int) -> None:
        """Note the number of trials."""
        self.total = n_candidates
        self._view.begin(n_candidates, n_folds)

    def known(self, params: Mapping[str, Any], more: Mapping[str, Any]) -> Results | None:
        """Return the results of a trial of the earlier run, if it has been finished."""
        found = self._known.get(_key(params, more))
        if found is None:
            return None
        self.resumed += 1
        self._view.trial(params, _mean(found), resumed=True)
        return [dict(result) for result in found]

    def finished(
        self, params: Mapping[str, Any], more: Mapping[str, Any], results: Sequence[Any]
    ) -> None:
        """Append a trial to the journal, and show it.

        Raises UsageError if the first trial was trained, but has no score.
        """
        self._check_scoring(results)
        if self._journal is not None:
            kept = [{name: _jsonable(value) for name, value in of.items()} for of in results]
            self._journal.append(
                {"params": _jsonable(params), "more": _jsonable(more), "results": kept}
            )
        self._view.trial(params, _mean(results))

    def _check_scoring(self, results: Sequence[Any]) -> None:
        scoring, self._unchecked = self._unchecked, None
        if scoring is None or any(of["fit_error"] is not None for of in results):
            return
        if all(math.isnan(of["test_scores"]) for of in results):
            raise click.UsageError(
                f"--scoring {scoring} does not fit the target; for any classes give accuracy, "
                "balanced_accuracy, f1_macro, neg_log_loss or roc_auc_ovr, for numbers r2 or "
                "neg_root_mean_squared_error"
            )

    def end(self) -> None:
        """Mark the journal as that of a sweep whose trials have all failed."""
        if self._journal is not None:
            self._journal.append({"end": True})


def open_journal(
    path: Path, settings: dict[str, Any], resume: bool
) -> tuple[Journal, dict[str, Results]]:
    """Return the journal of a sweep, and the results that it has, by the key of the trial.

    settings : of the sweep, with which those of a resumed sweep must agree.

    Raises UsageError if they do not, if there is nothing to resume, or if without ``resume`` the
    journal has trials of a sweep that has not ended.
    """
    settings = _jsonable(settings)
    lines, size = _read(path)
    if not resume:
        trials = sum("results" in line for line in lines)
        if trials and "end" not in lines[-1]:
            raise click.UsageError(
                f"{path} has {trials} trial{'s' * (trials != 1)} of a sweep that was interrupted; "
                "continue it with --resume, delete the file, or give another --out"
            )
        journal = Journal(path)
        journal.append({"gpubp_sweep": FORMAT, "settings": settings})
        return journal, {}
    if not lines:
        raise click.UsageError(f"--resume: there is no sweep in {path}; leave --resume out")
    if different := list(_differences(lines[0]["settings"], settings)):
        raise click.UsageError(
            f"--resume: {path} is of another sweep: {'; '.join(different)}; give the same data and "
            "options, or leave --resume out and give another --out"
        )
    known = {_key(of["params"], of["more"]): of["results"] for of in lines if "results" in of}
    return Journal(path, size), {key: list(map(_with_nan, of)) for key, of in known.items()}


def end_journal(out: Path) -> None:
    """Mark the journal of the sweep whose model is saved at ``out`` as that of an ended sweep."""
    path = journal_path(out)
    if path.is_file():
        with Journal(path, _read(path)[1]) as journal:
            journal.append({"end": True})


def _read(path: Path) -> tuple[list[dict[str, Any]], int]:
    """Return the lines of a journal; none if there is no file."""
    try:
        lines, size = read_journal(path)
    except FileNotFoundError:
        return [], 0
    except JournalError as error:
        raise click.ClickException(str(error)) from None
    if lines and (lines[0].get("gpubp_sweep") != FORMAT or "settings" not in lines[0]):
        raise click.ClickException(
            f"{path} is not a journal that this gpubp reads; move it, or give another --out"
        )
    return lines, size


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """Yield what differs between the settings of two sweeps, in words."""
    old, new = before["data"], now["data"]
    if old["rows"] != new["rows"]:
        yield f"the table had {old['rows']:,} rows, now {new['rows']:,}"
    elif old["columns"] != new["columns"]:
        yield "the table had other columns"
    elif old["digest"] != new["digest"]:
        yield "the table had other cells"
    for part, text in (("options", "--{}"), ("space", "{} of the space")):
        for name in sorted({*before[part], *now[part]}):
            values = [of[part].get(name, "not there") for of in (before, now)]
            if values[0] != values[1]:
                what = text.format(name.replace("_", "-") if part == "options" else name)
                yield f"{what} was {_short(values[0])}, now {_short(values[1])}"


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def about_table(table: Table) -> dict[str, Any]:
    """Return the number of rows, the names of the columns and a digest of the cells."""
    from gpubp.tables.column import TextColumn

    digest = hashlib.sha256()
    for name, column in table.columns.items():
        digest.update(name.encode("utf-8", "surrogatepass"))
        if isinstance(column, TextColumn):
            digest.update(json.dumps([str(value) for value in column.values]).encode())
            digest.update(column.codes.tobytes())
        else:
            digest.update(str(column.values.dtype).encode())
            digest.update(column.values.tobytes())
    columns = list(table.columns)
    return {"rows": len(table), "columns": columns, "digest": digest.hexdigest()}


def _key(params: Mapping[str, Any], more: Mapping[str, Any]) -> str:
    return json.dumps(_jsonable([params, more]), sort_keys=True)


def _jsonable(value: Any) -> Any:
    """Return a value as JSON has it: NumPy's numbers as Python's, tuples as lists, NaN as null."""
    if isinstance(value, Mapping):
        return {str(key): _jsonable(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(each) for each in value]
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _with_nan(result: dict[str, Any]) -> dict[str, Any]:
    """Return a result of the journal with NaN, the score of a fit that failed, for null."""
    score = result["test_scores"]
    return result | {"test_scores": math.nan if score is None else score}


def _mean(results: Sequence[Any]) -> float:
    return float(sum(each["test_scores"] for each in results) / len(results))
