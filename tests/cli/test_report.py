"""`--report` and `--history`: pages about models, and lines while training runs."""

from __future__ import annotations

import html
import json
import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpubp
from gpubp.cli import report_run
from gpubp.training.trainer import Trainer
from tests.cli.running import FAST, LABELS, Result, Run, Y, features, one_line, write_csv

needs_pipes = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
needs_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")


def values_of(page: str) -> dict[str, Any]:
    """The JSON in a page."""
    (text,) = re.findall(r'<pre class="json"[^>]*>(.*?)</pre>', page, re.S)
    found: dict[str, Any] = json.loads(html.unescape(text), parse_constant=pytest.fail)
    return found


def sections_of(page: str) -> list[str]:
    return re.findall(r'<section id="([\w-]+)">', page)


def read(name: str) -> str:
    return Path(name).read_text(encoding="utf-8")


@pytest.fixture
def labels() -> str:
    return write_csv("labels.csv", **features(), y=LABELS)


def test_the_report_of_a_classifier(run: Run, labels: str) -> None:
    plain = run("train", labels, *FAST)
    bytes_before = Path("model.safetensors").read_bytes()
    told = run("train", labels, *FAST, "--report", "r.html")
    page = read("r.html")
    assert "<script" not in page
    assert sections_of(page) == [
        *("scores", "classes", "confusion", "errors", "columns", "training", "model", "timing"),
        *("repeat", "json"),
    ]
    values = values_of(page)
    assert values["command"] == "gpubp train labels.csv " + shlex.join(
        [*FAST, "--report", "r.html"]
    )
    assert html.escape(values["command"]) in page
    test = values["result"]["test"]
    share = f"{100 * test['accuracy']:.1f}\u00a0% of the labels are right"
    assert f"On 8 test rows that were not used for the training, {share}" in page
    assert sum(map(sum, values["diagnostics"]["confusion_matrix"]["counts"])) == 8
    assert len(values["curves"][0]["losses"]) == len(values["curves"][0]["rates"]) == 3
    assert len(page) < 60_000
    # Otherwise the report changes nothing.
    assert Path("model.safetensors").read_bytes() == bytes_before
    assert told.out.splitlines()[-1] == "report      r.html"
    assert steady(plain.out) == steady(told.out.removesuffix("report      r.html\n"))


def steady(text: str) -> str:
    """The output of a training without its times."""
    return re.sub(r"[\d,.]+\s+(s|rows/s)\b", "", text)


def test_the_report_of_a_regression_without_test_rows(run: Run) -> None:
    write_csv("data.csv", **features(), y=Y)
    run("train", "data.csv", *FAST, "--test-size", "0", "--report", "r.html")
    page = read("r.html")
    assert "No rows were kept for a test" in page
    assert "Scores on the 40 training rows" in page
    found = values_of(page)["diagnostics"]
    assert found["rows"] == 40
    assert found["residuals"][0]["target"] == "y"
    assert {each["column"] for each in found["importance"]["columns"]} == {"a", "b", "c"}


@pytest.mark.parametrize(
    "options",
    [
        ("--solver", "lbfgs", "--epochs", "4"),
        ("--members", "3", "--epochs", "2", "--member-rows", "folds"),
        ("--epochs", "1"),
        ("--loss", "quantile", "--epochs", "2"),
        ("--validation-size", "0.3", "--epochs", "4"),
    ],
    ids=lambda options: options[0],
)
def test_all_kinds_of_trainings_have_reports(run: Run, options: tuple[str, ...]) -> None:
    write_csv("data.csv", **features(), y=Y)
    run("train", "data.csv", "--hidden", "4", *options, "--report", "r.html", "--history", "h")
    page, lines = read("r.html"), [json.loads(line) for line in read("h").splitlines()]
    curves = values_of(page)["curves"]
    members = 3 if "--members" in options else 1
    assert len(curves) == members
    assert 'section id="training"' in page
    assert ('section id="quantiles"' in page) == ("quantile" in options)
    assert [line["event"] for line in lines] == [
        "start",
        *["epoch"] * sum(curve["count"] for curve in curves),
        "end",
    ]
    first, *epochs, last = lines
    assert first["data"]["source"] == "data.csv"
    assert first["unit"] == ("iteration" if "lbfgs" in options else "epoch")
    assert last["epochs"] == max(epoch["epoch"] for epoch in epochs)
    for k, curve in enumerate(curves):
        own = [e for e in epochs if e["member"] == (k if members > 1 else None)]
        assert [e["loss"] for e in own] == pytest.approx(curve["losses"], rel=1e-5)
        held = [e["validation_loss"] for e in own]
        known = curve["validation_losses"]
        assert held == (pytest.approx(known, rel=1e-5) if known else [None] * len(own))


def test_several_targets(run: Run) -> None:
    many = {f"y{k}": Y + k for k in range(6)}
    write_csv("data.csv", **features(), **many)
    run("train", "data.csv", "--target", ",".join(many), *FAST, "--report", "r.html")
    page = read("r.html")
    assert len(values_of(page)["diagnostics"]["residuals"]) == 4
    assert "The figures of 2 more targets are left out." in page


def test_the_report_of_an_evaluation(run: Run, labels: str) -> None:
    run("train", labels, *FAST)
    other = ["maybe", *LABELS[1:20]]
    write_csv("new.csv", **{name: of[:20] for name, of in features().items()}, y=other)
    told = run("evaluate", "model.safetensors", "new.csv")
    again = run("evaluate", "model.safetensors", "new.csv", "--report", "r.html")
    assert again.out == told.out + "report      r.html\n"
    page = read("r.html")
    assert "Model that predicts &#x27;y&#x27;, evaluated on new.csv" in page
    assert "On 20 rows of new.csv, " in page
    values = values_of(page)
    matrix = values["diagnostics"]["confusion_matrix"]
    assert "maybe" in matrix["labels"]
    assert "training" in sections_of(page)  # the model file has its losses
    assert len(values["curves"][0]["losses"]) == 3
    shown = run("evaluate", "model.safetensors", "new.csv", "--json", "--report", "r.html")
    assert [event["event"] for event in shown.events] == ["result"]
    assert values["result"]["accuracy"] == shown.events[0]["accuracy"]


def test_the_report_of_a_sweep(run: Run, labels: str) -> None:
    Path("space.toml").write_text("hidden_layer_sizes = [[2], [3]]\nmax_iter = [1, 2]\n")
    options = ("--trials", "4", "--cv", "2", "--space", "space.toml", "--report", "r.html")
    told = run("sweep", labels, *options)
    page = read("r.html")
    assert sections_of(page)[:4] == ["best", "trials", "scores-of-trials", "scores"]
    assert len(values_of(page)["trials"]) == 4
    assert told.out.splitlines()[-1] == "report      r.html"
    assert "accuracy over hidden_layer_sizes" in page


def test_names_and_labels_are_escaped(run: Run) -> None:
    evil = "<script>alert(1)</script>"
    columns = {f"{evil}{name}": of for name, of in features().items()}
    write_csv("<b>.csv", **columns, **{f"&amp; {evil}": [f"<i>{k % 2}" for k in range(40)]})
    run("train", "<b>.csv", *FAST, "--report", "r.html")
    page = read("r.html")
    assert not re.search(r"<script|<b>|<i>", page)
    assert values_of(page)["result"]["targets"] == [f"&amp; {evil}"]


def test_a_report_on_standard_output(run: Run, labels: str) -> None:
    found = run("train", labels, *FAST, "--report", "-")
    assert found.out.startswith("<!DOCTYPE html>")
    assert found.out.endswith("</html>\n")
    assert "Scores on 8 test rows" in found.err
    evaluated = run("evaluate", "model.safetensors", labels, "--report", "-")
    assert evaluated.out.startswith("<!DOCTYPE html>")


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        ("--report r.txt", 2, "--report r.txt has the suffix '.txt', but an HTML page is written"),
        ("--report none/r.html", 1, "none' does not exist; create it or choose another path"),
        ("--history none/h", 1, "none' does not exist; create it or choose another path"),
        ("--report x.html -o x.html", 2, "--out x.html and --report x.html are the same"),
        ("--report x.html --history ./x.html", 2, "--report x.html and --history x.html are the"),
        ("--history labels.csv", 2, "--history labels.csv is also an input file"),
        ("--history -", 2, "--history - is standard output, but the summary is printed there"),
        ("--history old", 2, "--history old would replace a file that is not a history of a tr"),
        ("--history model.safetensors", 2, "--out model.safetensors and --history model.safete"),
        ("--history m.checkpoint -o m", 2, "--history m.checkpoint is the checkpoint of --out m;"),
        ("--report m.checkpoint -o m", 2, "has the suffix '.checkpoint'"),
        ("--report - --json", 2, "--report - and --json both write to standard output"),
    ],
)
def test_files_that_cannot_be_written_are_found_before_the_training(
    run: Run, labels: str, options: str, code: int, message: str
) -> None:
    Path("old").write_text('{"a": 1}\n')
    failed = run("train", labels, *FAST, *options.split(), code=code)
    assert message in one_line(failed)
    assert not Path("model.safetensors").exists()


def test_a_report_does_not_replace_the_model_that_is_evaluated(run: Run, labels: str) -> None:
    run("train", labels, *FAST, "-o", "m.html")
    failed = run("evaluate", "m.html", labels, "--report", "m.html", code=2)
    assert "--report m.html is also an input file" in one_line(failed)
    gpubp.load("m.html")


@pytest.mark.parametrize("error", [OSError("cannot write 'r.html': full"), ZeroDivisionError("x")])
def test_a_report_never_costs_the_model(
    run: Run, labels: str, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object) -> str:
        raise error

    monkeypatch.setattr(report_run, "_train_page", fail)
    failed = run("train", labels, *FAST, "--report", "r.html", code=1)
    assert f"the model is saved in model.safetensors, but {report_run_text(error)}" in (
        one_line(failed)
    )
    assert "verdict" in failed.out
    gpubp.load("model.safetensors")
    assert not Path("r.html").exists()


def report_run_text(error: Exception) -> str:
    if isinstance(error, OSError):
        return str(error)
    return f"there is no report: {type(error).__name__}: {error}"


@needs_full
def test_a_history_on_a_full_disk_does_not_cost_the_model(run: Run, labels: str) -> None:
    failed = run("train", labels, *FAST, "--history", "/dev/full", "--report", "r.html", code=1)
    message = one_line(failed)
    assert message.startswith("Error: the model is saved, but cannot write '/dev/full': ")
    gpubp.load("model.safetensors")
    assert "</html>" in read("r.html")


def test_a_history_is_replaced(run: Run, labels: str) -> None:
    Path("h").touch()
    for _ in range(2):
        run("train", labels, *FAST, "--history", "h")
        assert len(read("h").splitlines()) == 5


def test_files_of_a_sweep_are_not_its_checkpoint_or_its_journal(run: Run, labels: str) -> None:
    for name in ("checkpoint", "sweep.jsonl"):
        refused = run("sweep", labels, "-o", "m", "--csv", f"m.{name}", code=2)
        word = "journal" if "jsonl" in name else name
        assert f"--csv m.{name} is the {word} of --out m; give another" in one_line(refused)


@needs_pipes
def test_a_pipe_without_a_reader_ends_by_a_signal(run: Run, labels: str) -> None:
    os.mkfifo("h")
    command = [sys.executable, "-m", "gpubp", "train", labels, *FAST, "--history", "h"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        lines = iter(process.stderr.readline, "")
        assert any("columns" in line for line in lines)  # then it opens the pipe
        time.sleep(0.5)
        process.terminate()
        try:
            assert process.wait(5) == 143
        finally:
            process.kill()
    assert not Path("model.safetensors").exists()


def test_an_interrupted_training_has_both(
    run: Run, labels: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_loss, calls = Trainer.read_loss, iter(range(9))

    def interrupted(self: Trainer) -> float:
        if next(calls) == 3:
            raise KeyboardInterrupt
        return float(read_loss(self))

    options = ("--hidden", "4", "--epochs", "9", "--report", "r.html", "--history", "h.jsonl")
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "read_loss", interrupted)
        run("train", labels, *options, code=130)
    assert "The training was interrupted after 3 epochs" in read("r.html")
    *_, last = (json.loads(line) for line in read("h.jsonl").splitlines())
    assert (last["event"], last["stopped_by"], last["epochs"]) == ("end", "interrupt", 3)


def test_a_test_of_one_row(run: Run) -> None:
    write_csv("few.csv", **{name: of[:6] for name, of in features().items()}, y=Y[:6])
    run("train", "few.csv", *FAST, "--test-size", "0.1", "--report", "r.html")
    assert "On 1 test row that was not used for the training" in read("r.html")


def summary_line(found: Result, name: str) -> list[str]:
    return [line for line in found.out.splitlines() if line.startswith(f"{name} ")]


def test_the_summary_has_the_curve_of_the_loss(run: Run, labels: str) -> None:
    (line,) = summary_line(run("train", labels, *FAST), "loss")
    assert re.fullmatch(r"loss        [\d.]+ [▁▂▃▄▅▆▇█]{3} [\d.]+", line)
    quiet = run("train", labels, *FAST, "--quiet")
    assert not summary_line(quiet, "loss")
    held = run("train", labels, *FAST, "--validation-size", "0.3")
    assert len(summary_line(held, "validation")) == 1


def test_zeros_of_a_constant_target(run: Run) -> None:
    rng = np.random.default_rng(0)
    write_csv("data.csv", a=rng.normal(size=40), b=rng.normal(size=40), y=[1.5] * 39 + [1.25])
    run("train", "data.csv", *FAST, "--report", "r.html")
    assert "nan" not in read("r.html").lower().replace("balanced", "")
