"""Open a path as a relation in a locked DuckDB session."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from gpubp.tables.files.csv_source import CsvFile, clean_copies, csv_relation, find_csv
from gpubp.tables.files.input_files import InputFile, open_files, shown
from gpubp.tables.files.read_options import ReadOptions
from gpubp.tables.files.relation import Relation
from gpubp.tables.files.session import RefusedError, Session, literal, open_session
from gpubp.tables.files.typed_source import (
    attach,
    create_data_view,
    json_relation,
    only_table,
    parquet_relation,
    run_query,
    typed_relation,
)

Result = TypeVar("Result")


@dataclass(frozen=True)
class Opened:
    """A session, and a relation with the rows of a path.

    files: the CSV files; () for other kinds and for a query.
    kind: "text", "parquet", "json" or "database", as in `InputFile`; "query" for a query.
    paths: the files that DuckDB reads.
    """

    session: Session
    relation: Relation
    options: ReadOptions
    files: tuple[CsvFile, ...] = ()
    kind: str = "text"
    paths: tuple[Path, ...] = ()

    @property
    def delimiter(self) -> str | None:
        """The character between the fields of CSV; None for other kinds."""
        return self.files[0].delimiter if self.files else None

    def with_decimal(self, decimal: str) -> Opened:
        """Return the same rows of CSV, with numbers read with this decimal sign."""
        options = replace(self.options, decimal=decimal)
        relation = csv_relation(self.files, options, self.session.source)
        return replace(self, relation=relation, options=options)

    def run(self, work: Callable[[Session, Relation], Result]) -> Result:
        """Return the result of ``work``; if DuckDB refuses CSV, rewrite it and try once more.

        Raises DataError, with the line, for a file that cannot be rewritten.
        """
        try:
            return work(self.session, self.relation)
        except RefusedError:
            if not self.files:
                raise
            files = clean_copies(self.session, self.files)
        return work(self.session, csv_relation(files, self.options, self.session.source))


@contextmanager
def open_relation(
    path: str | Path,
    options: ReadOptions,
    known: Collection[str],
    *,
    bounded: bool = False,
    settings: Mapping[str, str] | None = None,
    written: Sequence[Path] = (),
) -> Iterator[Opened]:
    """Yield the rows of a path, a pattern, or "-" for standard input.

    known: names of a model's columns, to detect whether the first line of CSV is a header.
    bounded: whether DuckDB uses little memory, and the disk for more.
    settings: further settings of DuckDB, by name. written: files that may be written.
    """
    with open_session(shown(path)) as session:
        files = open_files(path, session, options.encoding)
        opened = _opened(session, files, options, known, bounded, settings or {}, written)
        yield opened if options.query is None else _queried(opened, files[0].kind)


def _opened(
    session: Session,
    files: list[InputFile],
    options: ReadOptions,
    known: Collection[str],
    bounded: bool,
    settings: Mapping[str, str],
    written: Sequence[Path],
) -> Opened:
    """Return the rows of the files before any query; empty for a DuckDB file with a query."""
    paths, kind = [file.path for file in files], files[0].kind
    csv_files: list[CsvFile] = []
    if kind == "text":
        for file in files:
            names = csv_files[0].header.names if csv_files else known
            csv_files.append(find_csv(file, options, names))
    if not all(file.plain for file in csv_files):
        csv_files = clean_copies(session, csv_files)
    if kind == "database":
        attach(session, files[0])
    if bounded:
        session.bound_memory(len(csv_files[0].header.names) if csv_files else 100)
    elif options.query is not None:
        session.bound_query()
    for name, value in settings.items():
        session.run(f"SET {name} = {literal(value)}")
    session.lock([*paths, *written])
    if kind == "text":
        relation = csv_relation(csv_files, options, session.source)
    elif kind == "parquet":
        relation = parquet_relation(session, files, options.na)
    elif kind == "json":
        relation = json_relation(session, files, options.na)
    elif options.query is None:
        relation = typed_relation(session, only_table(session), options.na)
    else:
        relation = Relation("", (), session.source)
    return Opened(session, relation, options, tuple(csv_files), kind, tuple(paths))


def _queried(opened: Opened, kind: str) -> Opened:
    """Return the rows of the query in the options."""
    session, query = opened.session, opened.options.query or ""
    if kind == "database":
        session.run("USE source_file")
    else:
        opened.run(create_data_view)
    result = run_query(session, query)
    relation = typed_relation(session, result, opened.options.na, opened.relation.notes)
    return Opened(session, relation, opened.options, kind="query")
