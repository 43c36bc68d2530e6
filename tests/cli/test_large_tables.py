"""`gpubp train` on a table that takes more than half of the memory."""

from __future__ import annotations

import re
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpubp.cli import train_large
from gpubp.cli.memory_options import size_text
from gpubp.models import large_table_rows, memory_shares
from gpubp.training import host_memory
from tests.cli.running import FAST, Run, one_line, write_csv

duckdb = pytest.importorskip("duckdb")

N = 3000
SMALL = "100kB"


@pytest.fixture(autouse=True)
def _for_small_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Allow limits as small as these tables, whose samples have few runs."""
    monkeypatch.setattr(memory_shares, "LEAST", 0)
    monkeypatch.setattr(large_table_rows, "RUNS", 8)


@pytest.fixture
def table(run: Run) -> str:
    """A Parquet file in the current folder, of about 150 kB in memory."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, N))
    kind = np.array(["u", "v", "w"], object)[rng.integers(3, size=N)]
    y = np.where(a + (kind == "u") > 0.3, "ja", "no").astype(object)
    columns = {"a": a, "b": b, "kind": kind, "c": a - b, "d": a * b, "y": y}
    write_csv("data.csv", **columns)
    duckdb.sql("COPY (FROM 'data.csv') TO 'data.parquet' (FORMAT parquet, ROW_GROUP_SIZE 2048)")
    return "data.parquet"


def test_the_result_states_size_limit_and_peak(run: Run, table: str) -> None:
    found = run("train", table, "--memory", SMALL, *FAST, "--json")
    assert "data.parquet would take " in found.err
    assert "in memory, more than half of 100 kB (--memory): its rows are read block" in found.err
    assert "encoded rows are written to a temporary file in" in found.err
    result = found.events[-1]
    assert result["memory"]["limit"] == 100_000
    assert 10**7 < result["memory"]["peak"] < 10**11
    assert result["rows"] + result["test_rows"] == N
    assert result["data"]["train"] + result["data"]["validation"] == result["rows"]
    assert result["memory"]["sample_rows"] < result["rows"] / 2
    assert result["test"]["accuracy"] > 0.6
    assert sorted(path.name for path in Path().iterdir()) == [
        *("data.csv", "data.parquet", "model.safetensors")
    ]
    scored = run("evaluate", "model.safetensors", table, "--json").events[-1]
    assert scored["rows"] == N


def test_the_summary_has_a_line_on_memory(run: Run, table: str) -> None:
    found = run("train", table, "--memory", SMALL, *FAST)
    assert "MB for a limit of 0 MB; the columns and the training scores" in found.out
    assert "task        classification" in found.out


def test_a_csv_file_goes_by_way_of_a_temporary_file(run: Run, table: str) -> None:
    found = run("train", "data.csv", "--memory", SMALL, *FAST, "--json")
    other = run("train", table, "--memory", SMALL, *FAST, "--json")
    assert "it is converted to a temporary Parquet file" in found.err
    assert "gpubp convert makes such a file once" in found.err
    assert found.events[-1]["data"]["source"] == "data.csv"
    assert found.events[-1]["test_rows"] == other.events[-1]["test_rows"]
    assert sorted(path.suffix for path in Path().iterdir()) == [".csv", ".parquet", ".safetensors"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--solver", "lbfgs"), "--solver lbfgs uses all rows in every step; give another solver"),
        (("--members", "3"), "trains one network, but --members 3 is for an ensemble; leave it"),
        (("--member-rows", "folds"), "--member-rows folds is for an ensemble"),
        (("--drop", "y"), "--drop names 'y', which is the target"),
        (("--class-weight", "x=2"), "--class-weight has 'x', which is not a label of the target"),
    ],
)
def test_what_needs_all_rows_is_refused(
    run: Run, table: str, options: tuple[str, ...], message: str
) -> None:
    preset = "tuned" if "--member-rows" in options else "plain"
    found = run("train", table, "--memory", SMALL, "--preset", preset, *options, code=2)
    assert message in one_line(found)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--target", "z"), "data.parquet has no column 'z'; it has 'a', 'b'"),
        (("--task", "regression"), "is not a number, which a regression needs"),
        (("--target", "a,y"), "is not a number, which a regression needs"),
    ],
)
def test_targets_that_do_not_suit(
    run: Run, table: str, options: tuple[str, ...], message: str
) -> None:
    found = run("train", table, "--memory", SMALL, *options, code=1)
    assert message in one_line(found)


def test_too_little_memory(run: Run, table: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_shares, "LEAST", 10**7)
    text = one_line(run("train", table, "--memory", "1KB", *FAST, code=2))
    assert re.fullmatch(
        r"Error: data.parquet would take 1\d\d kB in memory, more than half of 1 kB \(--memory\), "
        r"and block by block a training on its 3,000 rows needs at least 10 MB; give more memory "
        r"with --memory, or fewer rows",
        text,
    )
    run("train", table, "--memory", "1MB", *FAST)  # which is enough to read the table whole


@pytest.mark.parametrize("size", ["0", "-1GB", "much", "5XB", "1e3", "iB", ""])
def test_sizes_that_are_refused(run: Run, table: str, size: str) -> None:
    text = one_line(run("train", table, f"--memory={size}", code=2))
    assert f"{size!r} is not a size of memory; give one, such as 500MB, 2GB or 512MiB" in text


@pytest.mark.parametrize(
    ("text", "size"),
    [("500MB", 5 * 10**8), ("1.5 gb", 15 * 10**8), ("512MiB", 2**29), ("2G", 2 * 10**9), ("7", 7)],
)
def test_sizes(text: str, size: int) -> None:
    from gpubp.cli.memory_options import MemorySize

    assert MemorySize().convert(text, None, None) == size


def test_sizes_as_text() -> None:
    sizes = (5, 2500, 612_400_000, 2_050_000_000)
    assert [size_text(size) for size in sizes] == ["5 bytes", "2 kB", "612 MB", "2.0 GB"]


@pytest.mark.parametrize(
    ("changed", "is_large"),
    [
        ({}, True),
        ({"data": "data.csv"}, True),
        ({"memory": 10**9}, False),
        ({"memory": None}, False),
        ({"query": "SELECT 1"}, False),
        ({"data": "-"}, False),
        ({"data": "digits"}, False),
    ],
)
def test_which_tables_are_large(run: Run, table: str, changed: Any, is_large: bool) -> None:
    nothing = dict.fromkeys(("delimiter", "decimal", "encoding", "no_header", "na", "query"))
    options = nothing | {"data": table, "memory": 100_000, "target_file": None} | changed
    options["resume"] = "never"
    assert (train_large.large_table(options) is not None) == is_large


def test_the_free_memory_is_measured(run: Run, table: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_memory, "_free_of_host", lambda: 100_000)
    found = run("train", table, *FAST, "--json")
    assert "more than half of 100 kB (the free memory): its rows" in found.err


def test_the_memory_of_a_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = host_memory.free_memory()
    monkeypatch.setattr(host_memory, "GROUPS", tmp_path)
    (tmp_path / "memory.max").write_text("max\n")
    assert host_memory.free_memory() == pytest.approx(free, rel=0.5)
    (tmp_path / "memory.max").write_text("50000\n")
    (tmp_path / "memory.current").write_text("30000\n")
    (tmp_path / "memory.stat").write_text("anon 20000\ninactive_file 7000\nactive_file 1000\n")
    assert host_memory.free_memory() == 28_000


def test_several_processes_are_refused(
    run: Run, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gpubp.distributed.communicator import SINGLE
    from gpubp.training.ranks import Ranks, ranks_in_use

    with ranks_in_use(Ranks(SINGLE)):
        text = one_line(run("train", table, "--memory", SMALL, code=2))
    assert "several processes need the table in memory; start one" in text


def test_a_full_disk(run: Run, table: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil
    from types import SimpleNamespace

    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=10**4))
    text = one_line(run("train", table, "--memory", SMALL, *FAST, code=1))
    assert "the encoded rows take" in text
    assert "make room, or set TMPDIR to another folder" in text
    assert not Path("model.safetensors").exists()


def test_a_run_goes_on_with_the_memory_that_it_had(
    run: Run, table: str, signal_at_epoch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    args = ("train", table, "--hidden", "6", "--epochs", "6", "--threads", "1")
    free = iter([100_000, 100_000, 140_000])
    monkeypatch.setattr(host_memory, "free_memory", lambda: next(free))
    run(*args, "-o", "a.safetensors")
    signal_at_epoch(signal.SIGTERM)
    stopped = run(*args, "-o", "b.safetensors", code=143)
    assert "the same command goes on from b.safetensors.checkpoint" in stopped.err
    resumed = run(*args, "-o", "b.safetensors")
    assert "the training goes on in epoch 4" in resumed.out
    assert Path("b.safetensors").read_bytes() == Path("a.safetensors").read_bytes()
    assert next(free) == 140_000


def test_another_memory_begins_anew(run: Run, table: str, signal_at_epoch: Any) -> None:
    args = ("train", table, "--hidden", "6", "--epochs", "4", "--threads", "1", "--memory")
    signal_at_epoch(signal.SIGTERM)
    run(*args, "100kB", code=143)
    other = run(*args, "120kB")
    assert "the memory of the run in bytes was 100000, now 120000; the training" in other.out


def test_a_start_from_a_model_needs_the_table_in_memory(run: Run, table: str) -> None:
    run("train", table, *FAST)
    refused = run("train", table, "--from", "model.safetensors", "--memory", SMALL, code=2)
    assert "but --from needs the table in memory" in one_line(refused)
