"""A DuckDB connection that cannot write, reach other files or load extensions."""

from __future__ import annotations

import re
import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpubp.backends.blas_threads import usable_cores
from gpubp.storage.scratch_file import temporary_folder
from gpubp.tables.table import Array, DataError

_MEMORY = re.compile(r"out of memory|could not allocate|failed to allocate", re.IGNORECASE)


def thread_count() -> int:
    """Return the number of threads for DuckDB: the CPUs of this process, at most 8."""
    return min(8, usable_cores())


class RefusedError(DataError):
    """DuckDB cannot read some rows."""


@dataclass(frozen=True)
class Session:
    """An open connection.

    folder: for temporary files. source: name of the data in messages.
    """

    connection: Any
    folder: Path
    source: str

    def run(self, sql: str) -> Any:
        """Execute one statement; return the connection. Ctrl-C interrupts it at once."""
        with errors_as_data_errors(self.source):
            return _in_thread(self.connection, lambda: self.connection.execute(sql))

    def arrays(self, sql: str) -> list[Array]:
        """Return the columns of a query, in order, as arrays that are masked for NULL."""
        with errors_as_data_errors(self.source):
            connection = self.connection
            found = _in_thread(connection, lambda: connection.execute(sql).fetchnumpy())
        return list(found.values())

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query as tuples; for small results."""
        with errors_as_data_errors(self.source):
            connection = self.connection
            found = _in_thread(connection, lambda: connection.execute(sql).fetchall())
        return list(found)

    def bound_memory(self, n_columns: int) -> None:
        """Limit DuckDB's memory to 128 MB, more for wide tables; beyond that, it uses the disk."""
        # DuckDB works on 2,048 cells of 16 bytes per column, thread and step of a query.
        megabytes = 128 + n_columns * thread_count() // 4
        self.run(f"SET memory_limit = '{megabytes}MB'")

    def bound_query(self) -> None:
        """Limit a query to 1 GB of memory, and to half of the free disk for temporary files."""
        room = shutil.disk_usage(self.folder).free // 2
        self.run("SET memory_limit = '1GB'")
        self.run(f"SET max_temp_directory_size = '{room // 2**20}MiB'")

    def lock(self, paths: Sequence[Path]) -> None:
        """Limit DuckDB to the files ``paths`` and the session's folder, and lock its settings."""
        allowed = ", ".join(literal(str(path)) for path in paths)
        self.run(f"SET allowed_paths = [{allowed}]")
        self.run(f"SET allowed_directories = [{literal(str(self.folder))}]")
        self.run("SET enable_external_access = false")
        self.run("SET lock_configuration = true")


@contextmanager
def open_session(source: str) -> Iterator[Session]:
    """Yield a session with a temporary folder; close it and remove the folder afterwards."""
    import duckdb

    with temporary_folder() as folder:
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
            # The time of these optimizers grows with the square of the number of columns: 1,000
            # columns of CSV take 6 s with them, 0.3 s without. in_clause turns each list of missing
            # values into a join.
            connection.execute("SET disabled_optimizers = 'common_subexpressions,in_clause'")
            yield Session(connection, folder, source)
        finally:
            connection.close()


@contextmanager
def errors_as_data_errors(source: str) -> Iterator[None]:
    """Turn errors of DuckDB into DataError, and its interrupts into KeyboardInterrupt."""
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
    """Return the first line of DuckDB's message, without its type, of at most 300 characters."""
    text = str(error).strip()
    line = text.split("\n")[0] or type(error).__name__
    line = re.sub(r"^(?:[A-Z][A-Za-z-]* )+Error: ", "", line)
    return line if len(line) <= 300 else f"{line[:297]}..."


def _in_thread(connection: Any, work: Any) -> Any:
    """Return the result of ``work()``, run in a thread so that Ctrl-C need not wait for DuckDB."""
    if threading.current_thread() is not threading.main_thread():
        return work()
    result: list[Any] = []
    failure: list[BaseException] = []
    done = threading.Event()  # after Ctrl-C in Thread.join, a running thread counts as ended

    def target() -> None:
        try:
            result.append(work())
        except BaseException as error:
            failure.append(error)
        finally:
            done.set()

    threading.Thread(target=target, name="gpubp-duckdb", daemon=True).start()
    try:
        while not done.wait(1):  # without a timeout, Windows does not notice Ctrl-C
            pass
    except BaseException:
        while not done.wait(0.05):
            connection.interrupt()
        raise
    if failure:
        raise failure[0]
    return result[0]


def literal(text: str) -> str:
    """Return a text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def identifier(name: str) -> str:
    """Return a name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'
