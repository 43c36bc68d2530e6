"""A DuckDB connection that cannot write, reach other files or load extensions."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpubp.tables.table import Array, DataError

_MEMORY = re.compile(r"out of memory|could not allocate|failed to allocate", re.IGNORECASE)


def thread_count() -> int:
    """How many threads DuckDB may use: those this process may run on, at most 8."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(8, usable or 1)


class RefusedError(DataError):
    """Rows that DuckDB does not read as they are."""


@dataclass(frozen=True)
class Session:
    """An open connection; ``folder`` is for temporary files, ``source`` for messages."""

    connection: Any
    folder: Path
    source: str

    def run(self, sql: str) -> Any:
        """The connection after one statement; Ctrl-C interrupts it within a moment."""
        with errors_as_data_errors(self.source):
            return _in_thread(self.connection, lambda: self.connection.execute(sql))

    def arrays(self, sql: str) -> list[Array]:
        """The columns of a query, masked where they have NULL; names of columns do not matter."""
        with errors_as_data_errors(self.source):
            connection = self.connection
            found = _in_thread(connection, lambda: connection.execute(sql).fetchnumpy())
        return list(found.values())

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """The rows of a query as tuples; for small results."""
        with errors_as_data_errors(self.source):
            connection = self.connection
            found = _in_thread(connection, lambda: connection.execute(sql).fetchall())
        return list(found)

    def bound_memory(self, n_columns: int) -> None:
        """Let DuckDB go to disk beyond 128 MB; wide tables take more, for the rows in work."""
        # 2,048 cells of 16 bytes per column, thread and step of a query.
        megabytes = 128 + n_columns * thread_count() // 4
        self.run(f"SET memory_limit = '{megabytes}MB'")

    def bound_query(self) -> None:
        """Let a query take 1 GB of memory, and half of the disk's room for temporary files."""
        room = shutil.disk_usage(self.folder).free // 2
        self.run("SET memory_limit = '1GB'")
        self.run(f"SET max_temp_directory_size = '{room // 2**20}MiB'")

    def lock(self, paths: Sequence[Path]) -> None:
        """Leave DuckDB nothing but ``paths`` and the session's folder, and the settings as is."""
        allowed = ", ".join(literal(str(path)) for path in paths)
        self.run(f"SET allowed_paths = [{allowed}]")
        self.run(f"SET allowed_directories = [{literal(str(self.folder))}]")
        self.run("SET enable_external_access = false")
        self.run("SET lock_configuration = true")


@contextmanager
def open_session(source: str) -> Iterator[Session]:
    """A connection with a temporary folder; both are gone afterwards."""
    import duckdb

    # On Windows a file that is still open cannot be removed; the system's own cleaning takes it.
    with tempfile.TemporaryDirectory(prefix="gpubp-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        config: dict[str, Any] = {
            "threads": thread_count(),
            "temp_directory": str(folder / "spill"),
            "python_enable_replacements": False,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "preserve_insertion_order": True,
        }
        with errors_as_data_errors(source):
            connection = duckdb.connect(":memory:", config=config)
        try:
            connection.execute("SET enable_progress_bar = false")
            # Their time grows with the square of the columns: 6 s for 1,000 columns of CSV, and
            # 0.3 s without them. in_clause makes a join of each list of missing values.
            connection.execute("SET disabled_optimizers = 'common_subexpressions,in_clause'")
            yield Session(connection, folder, source)
        finally:
            connection.close()


@contextmanager
def errors_as_data_errors(source: str) -> Iterator[None]:
    """Raise DataError for whatever DuckDB raises, but KeyboardInterrupt for an interrupt."""
    import duckdb

    try:
        yield
    except MemoryError:
        raise _too_large(source) from None
    except (duckdb.Error, RuntimeError, UnicodeError, OverflowError) as error:
        if isinstance(error, duckdb.InterruptException) or "nterrupt" in str(error)[:200]:
            raise KeyboardInterrupt from None
        if isinstance(error, duckdb.OutOfMemoryException) or _MEMORY.search(str(error)[:300]):
            raise _too_large(source) from None
        raise RefusedError(f"{source} cannot be read: {first_sentence(error)}") from None


def _too_large(source: str) -> DataError:
    return DataError(f"{source} does not fit into memory; give fewer rows or columns")


def first_sentence(error: BaseException) -> str:
    """The first line of DuckDB's message without the name of its type, at most 300 characters."""
    text = str(error).strip()
    line = text.split("\n")[0] or type(error).__name__
    line = re.sub(r"^(?:[A-Z][A-Za-z-]* )+Error: ", "", line)
    return line if len(line) <= 300 else f"{line[:297]}..."


def _in_thread(connection: Any, work: Any) -> Any:
    """The result of ``work()``, run in a thread so that Ctrl-C does not wait for DuckDB."""
    if threading.current_thread() is not threading.main_thread():
        return work()
    result: list[Any] = []
    failure: list[BaseException] = []
    done = threading.Event()  # Ctrl-C in Thread.join leaves a thread that counts as ended

    def target() -> None:
        try:
            result.append(work())
        except BaseException as error:
            failure.append(error)
        finally:
            done.set()

    threading.Thread(target=target, name="gpubp-duckdb", daemon=True).start()
    try:
        while not done.wait(1):  # without a time Windows would not see Ctrl-C
            pass
    except BaseException:
        while not done.wait(0.05):
            connection.interrupt()
        raise
    if failure:
        raise failure[0]
    return result[0]


def literal(text: str) -> str:
    """A text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def identifier(name: str) -> str:
    """A name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'
