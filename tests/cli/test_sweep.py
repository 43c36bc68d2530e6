"""`gpubp sweep`: a newcomer's way, samplers, files, JSON, and wrong input."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpubp
from gpubp.cli.sweep import sweep
from gpubp.cli.sweep_help import GROUPS
from gpubp.selection.default_space import DEFAULT_SPACE
from gpubp.selection.space import parsed
from tests.cli.running import LABELS, ROOT, Result, Run, Y, features, one_line, write_csv

SPACE = """
hidden_layer_sizes = [[4], [6, 4]]
learning_rate_init = { low = 1e-3, high = 1e-1, log = true }
alpha = [0.0, 0.1]
max_iter = 3
"""
FAST = ("--space", "space.toml", "--cv", "2", "--trials", "4")


@pytest.fixture
def space(run: Run) -> str:
    """A folder with a table of numbers, one of labels and a small space."""
    write_csv("numbers.csv", **features(), y=Y)
    write_csv("labels.csv", **features(), y=LABELS)
    Path("space.toml").write_text(SPACE)
    return "space.toml"


def trials_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_a_newcomer(run: Run, space: str) -> None:
    done = run("sweep", "labels.csv", "--target", "y", *FAST, "-o", "best", "--csv", "trials.csv")
    assert "4 of 4 trials (random, seed 0), 2 folds each" in done.out
    assert re.search(r"^ +1 +\d +0\.\d{4}  0\.\d{4} .* s +(4|6-4) ", done.out, re.M)
    assert re.search(
        r"^best: alpha 0\S*, hidden_layer_sizes (4|6-4), learning_rate", done.out, re.M
    )
    assert "Scores on 8 test rows" in done.out
    assert "verdict" in done.out
    assert "4/4 trials" in done.err
    rows = trials_of(Path("trials.csv").read_text())
    assert [row["trial"] for row in rows] == ["1", "2", "3", "4"]
    best = next(row for row in rows if row["rank"] == "1")
    network = gpubp.load("best").network_
    assert network.learning_rate_init == float(best["learning_rate_init"])
    assert "-".join(map(str, network.hidden_layer_sizes)) == best["hidden_layer_sizes"]
    run("predict", "best", "labels.csv", "-o", "predictions.csv")
    run("evaluate", "best", "labels.csv")
    assert "verdict" in run("inspect", "best").out


def test_numbers_are_scaled_by_the_option_or_the_space(run: Run, space: str) -> None:
    run("sweep", "labels.csv", *FAST, "--scaling", "robust", "-o", "best")
    assert gpubp.load("best").encoder_.encodings_[0].description == "robust, clipped"
    Path("space.toml").write_text(SPACE + 'scaling = ["robust"]\n')
    run("sweep", "labels.csv", *FAST, "-o", "best")
    assert gpubp.load("best").scaling == "robust"


def test_the_preset_is_plain_unless_the_space_has_another(run: Run, space: str) -> None:
    run("sweep", "labels.csv", *FAST, "-o", "best")
    model = gpubp.load("best")
    assert (model.preset, model.about_["preset"]) == ("plain", "plain")
    assert model.encoder_.encodings_[0].description == "standardised"
    Path("space.toml").write_text('preset = "tuned"\nmax_iter = [1, 2]\nhidden_layer_sizes = 4\n')
    run("sweep", "labels.csv", *FAST, "-o", "best")
    assert gpubp.load("best").about_["preset"] == "tuned"


def test_the_model_is_that_of_train_with_the_best_parameters(run: Run, space: str) -> None:
    result = run("sweep", "numbers.csv", *FAST, "--json", "--quiet").events[-1]
    best = result["sweep"]["best"]["parameters"]
    sizes = ",".join(map(str, best["hidden_layer_sizes"]))
    options = ["--hidden", sizes, "--lr", best["learning_rate_init"], "--alpha", best["alpha"]]
    trained = run("train", "numbers.csv", *options, "--epochs", 3, "--json", "-o", "again")
    again = trained.events[-1]
    assert (again["test"], again["baselines"]) == (result["test"], result["baselines"])
    for W, V in zip(
        gpubp.load("model.safetensors").network_.coefs_,
        gpubp.load("again").network_.coefs_,
        strict=True,
    ):
        np.testing.assert_array_equal(W, V, strict=True)


def test_json(run: Run, space: str) -> None:
    events = run("sweep", "numbers.csv", *FAST, "--json").events
    assert [event["event"] for event in events] == ["progress"] * 4 + ["trial"] * 4 + ["result"]
    assert [event["finished"] for event in events[:4]] == [1, 2, 3, 4]
    trials, result = events[4:8], events[8]
    assert sorted(trial["rank"] for trial in trials) == [1, 2, 3, 4]
    for trial in trials:
        assert trial["score"] == pytest.approx(np.mean(trial["scores"]))
        assert trial["std"] == pytest.approx(np.std(trial["scores"]))
        assert trial["seconds"] > 0
    found = result["sweep"]
    assert [found[key] for key in ("trials", "finished", "failed", "resumed")] == [4, 4, 0, 0]
    assert (found["metric"], found["stopped_by"]) == ("r2", None)
    best = next(trial for trial in trials if trial["rank"] == 1)
    assert found["best"] == {key: value for key, value in best.items() if key != "event"}
    quiet = run("sweep", "numbers.csv", *FAST, "--json", "--quiet", "-o", "quiet").events
    assert [event["event"] for event in quiet] == ["trial"] * 4 + ["result"]


@pytest.mark.parametrize("sampler", ["grid", "halving", "tpe"])
def test_samplers(run: Run, space: str, sampler: str) -> None:
    options: list[Any] = ["--cv", 2, "--sampler", sampler, "--json", "--quiet"]
    if sampler == "tpe":
        pytest.importorskip("optuna")
    if sampler == "grid":
        Path(space).write_text("hidden_layer_sizes = [[3], [4]]\nalpha = [0.0, 0.1, 1]")
    else:
        options += ["--trials", 6]
    *trials, result = run("sweep", "numbers.csv", "--space", space, *options).events
    found = result["sweep"]
    assert len(trials) == found["finished"] == found["trials"]
    if sampler == "halving":
        assert [t["iteration"] for t in trials] == sorted(t["iteration"] for t in trials)
        assert found["best"]["iteration"] == trials[-1]["iteration"] > 1
        assert found["best"]["rows"] > trials[0]["rows"]
    else:
        assert len(trials) == 6


def test_several_targets_and_no_test(run: Run, space: str) -> None:
    write_csv("two.csv", **features(), y=Y, z=-Y)
    args = ("two.csv", "--target", "y,z", "--drop", "a", "--test-size", 0)
    result = run("sweep", *args, *FAST, "--json", "--quiet").events[-1]
    assert (result["targets"], result["test"], result["features"]) == (["y", "z"], None, 2)


def test_scoring_ranks_the_trials(run: Run, space: str) -> None:
    args = ("labels.csv", *FAST, "--scoring", "neg_log_loss", "--json", "--quiet")
    *trials, result = run("sweep", *args).events
    assert result["sweep"]["metric"] == "neg_log_loss"
    assert max(trial["score"] for trial in trials) == result["sweep"]["best"]["score"] < 0


def test_files_on_standard_output(run: Run, space: str) -> None:
    done = run("sweep", "numbers.csv", *FAST, "--csv", "-", "--html", "page.html")
    assert len(trials_of(done.out)) == 4
    assert "verdict" in done.err
    text = Path("page.html").read_text()
    assert text.startswith("<!DOCTYPE html>")
    assert "<script" not in text
    done = run("sweep", "numbers.csv", *FAST, "--html", "-")
    assert done.out.startswith("<!DOCTYPE html>")
    assert done.out.endswith("</html>\n")


@pytest.mark.parametrize("more", [(), ("--json",)])
def test_a_reader_that_ends_early_does_not_lose_the_model(
    run: Run, space: str, more: tuple[str, ...]
) -> None:
    command = [sys.executable, "-m", "gpubp", "sweep", "numbers.csv", *FAST, *more]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        errors = process.stderr.read()
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
    assert gpubp.load("model.safetensors").network_.n_iter_ == 3


def test_ensembles(run: Run, space: str) -> None:
    Path(space).write_text("hidden_layer_sizes = [[3]]\nmax_iter = 2\nn_members = [1, 3]")
    args = ("numbers.csv", "--space", space, "--sampler", "grid", "--cv", 2)
    run("sweep", *args)
    assert gpubp.load("model.safetensors").n_members in (1, 3)


def test_a_model_without_a_file_has_no_journal(run: Run, space: str) -> None:
    run("sweep", "numbers.csv", *FAST, "-o", "/dev/null")
    assert not list(Path("/dev").glob("*.jsonl"))
    message = one_line(run("sweep", "numbers.csv", *FAST, "-o", "/dev/null", "--resume", code=2))
    assert "--resume needs a journal, but --out /dev/null is not a file" in message


def test_the_space_is_printed_as_toml(run: Run) -> None:
    printed = run("sweep", "--print-space").out
    assert printed == DEFAULT_SPACE
    assert {"hidden_layer_sizes", "learning_rate_init"} < set(parsed(printed))
    Path("mine.toml").write_text(printed)
    args = ("iris", "--trials", 1, "--cv", 2, "--json", "--quiet")
    mine = run("sweep", *args, "--space", "mine.toml", "-o", "a").events[-1]
    built_in = run("sweep", *args, "-o", "b").events[-1]
    assert mine["sweep"]["best"]["scores"] == built_in["sweep"]["best"]["scores"]


def test_all_options_are_under_a_heading(run: Run) -> None:
    grouped = {name for names in GROUPS.values() for name in names}
    assert grouped == {param.name for param in sweep.params if param.name != "data"} | {"help"}
    text = run("sweep", "--help").out
    assert re.findall(r"^(\w+):$", text, re.M) == list(GROUPS)


WRONG_INPUT = [
    ("nothing.csv", 1, "nothing.csv: no such file; check the path"),
    ("labels.csv --target z", 1, "labels.csv has no column 'z'"),
    ("numbers.csv --space none.toml", 2, "none.toml cannot be read: No such file"),
    ("numbers.csv --space labels.csv", 2, "labels.csv: it is not TOML"),
    ("numbers.csv --trials 0", 2, "0 is not in the range x>=1"),
    ("numbers.csv --cv 1", 2, "1 is not in the range x>=2"),
    ("numbers.csv --cv 33", 2, "--cv 33 needs 33 rows, but there are 32 to train on"),
    ("labels.csv --cv 20", 2, "--cv 20 needs a class with 20 rows, but the largest has 11"),
    ("numbers.csv --time-limit 0", 2, "'0' is not a time above 0; give one, such as 60s, 5m or"),
    ("numbers.csv --time-limit 5d", 2, "'5d' is not a time above 0"),
    ("numbers.csv --sampler rnadom", 2, "did you mean 'random'?"),
    ("numbers.csv --sampler grid", 2, "the built-in space has ranges"),
    ("numbers.csv --sampler grid --trials 3 --space space.toml", 2, "--trials has no effect"),
    ("numbers.csv --sampler grid --space space.toml", 2, "learning_rate_init is a range"),
    ("numbers.csv --scoring acuracy", 2, "did you mean 'accuracy'"),
    ("labels.csv --scoring r2 --space space.toml", 2, "--scoring r2 does not fit the target"),
    ("numbers.csv --epochs 3", 2, "No such option --epochs; set max_iter in the file of --space"),
    ("numbers.csv --learning-rate-init 1", 2, "set learning_rate_init in the file of --space"),
    ("numbers.csv --samples grid", 2, "--sampler"),
    ("numbers.csv --resume", 2, "there is no sweep in model.sweep.jsonl; leave --resume out"),
    ("numbers.csv --html page.csv", 2, "the suffix '.csv', but an HTML page is written"),
    ("numbers.csv --csv numbers.csv", 2, "--csv numbers.csv is also an input file"),
    ("numbers.csv --csv - --html -", 2, "--csv - and --html - are the same; give two files"),
    ("numbers.csv --csv best -o ./best", 2, "--out best and --csv best are the same"),
    ("numbers.csv --csv - --json", 2, "both write to standard output"),
    ("numbers.csv -o -", 2, "a model file is binary"),
    ("numbers.csv -o nowhere/model", 1, "nowhere' does not exist"),
]


@pytest.mark.parametrize(("args", "code", "message"), WRONG_INPUT)
def test_wrong_input(run: Run, space: str, args: str, code: int, message: str) -> None:
    failed = run("sweep", *args.split(), code=code)
    assert message in one_line(failed)
    assert not Path("model.safetensors").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "space.toml: it has no parameter"),
        ("alpha = [0.1", "space.toml: it is not TOML"),
        ("alhpa = [0.1]", "space.toml: unknown parameter 'alhpa'; did you mean 'alpha'?"),
        ("lr = [0.1]", "did you mean 'learning_rate_init'?"),
        ("loss = ['huber']", "space.toml: unknown parameter 'loss'"),
        ("alpha = [-1.0]", "space.toml: alpha = -1.0: it must be a float in the range [0.0, inf)"),
        ("alpha = { low = 2, high = 1 }", "low is 2, which must be below high, 1"),
    ],
)
def test_a_space_that_cannot_be_used(run: Run, space: str, text: str, message: str) -> None:
    Path(space).write_text(text)
    assert message in one_line(run("sweep", "labels.csv", *FAST, code=2))


def test_a_single_class(run: Run, space: str) -> None:
    write_csv("one.csv", **features(), y=["a"] * 40)
    failed = run("sweep", "one.csv", *FAST, "--task", "classification", code=1)
    assert "y" in one_line(failed)


def test_a_time_limit_too_short_for_a_trial(run: Run, space: str) -> None:
    Path(space).write_text("max_iter = 1000000\nn_iter_no_change = 1000000")
    args = ("numbers.csv", "--space", space, "--trials", 1)
    failed = run("sweep", *args, "--time-limit", "0.2s", code=1)
    assert "no trial was finished in --time-limit 0.2 s; give more time" in one_line(failed)
    assert not Path("model.safetensors").exists()


def test_a_time_limit_keeps_the_finished_trials(run: Run, space: str) -> None:
    Path(space).write_text("max_iter = [1, 1000000]\nn_iter_no_change = 1000000")
    args = ("numbers.csv", "--space", space, "--sampler", "grid", "--cv", 2)
    Path("t.csv").write_text("old")
    # The best is trained after the limit.
    done = run("sweep", *args, "--time-limit", "1s", "--csv", "t.csv")
    assert "1 of 2 trials" in done.out
    assert "time limit reached" in done.out
    assert gpubp.load("model.safetensors").max_iter == 1
    assert len(trials_of(Path("t.csv").read_text())) == 1


def test_trials_that_fail_are_counted(run: Run, space: str) -> None:
    Path(space).write_text("drop = [[], ['nothing']]\nhidden_layer_sizes = [[3]]\nmax_iter = 2")
    args = ("numbers.csv", "--space", space, "--sampler", "grid", "--cv", 2, "--csv", "t.csv")
    done: Result = run("sweep", *args)
    assert "; 1 failed" in done.out
    assert re.search(r"2 fits failed out of a total of 4.*'nothing'", done.out)
    assert trials_of(Path("t.csv").read_text())[1]["score"] == ""
    Path(space).write_text("drop = [['nothing'], ['more']]")
    failed = run("sweep", *args, "-o", "other", code=1)
    assert re.search("all trials failed: .*'(nothing|more)'", one_line(failed))


def test_options_of_a_file(run: Run, space: str) -> None:
    Path("options.toml").write_text('trials = 3\ncv = 2\nspace = "space.toml"\ntarget = "y"')
    done = run("sweep", "numbers.csv", "--config", "options.toml", "--json", "--quiet")
    assert len(done.events) == 4
    assert json.loads(done.out.splitlines()[-1])["sweep"]["folds"] == 2
