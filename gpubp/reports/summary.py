"""The result of a training as text: data, network, scores and verdict."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from gpubp.reports.columns import PIPE_WIDTH
from gpubp.reports.scores import classes_table, scores_table

INDENT = 12  # of the texts after their names
MOST_HEAD = 16  # of the name of a model above its scores

Sections = list[tuple[str, Sequence[str]]]


def fact_lines(name: str, text: str, width: int = PIPE_WIDTH) -> list[str]:
    """Return a text after its name in lines of at most ``width`` cells; long words stay whole."""
    return textwrap.wrap(
        text,
        width,
        initial_indent=f"{name:<{INDENT}}",
        subsequent_indent=" " * INDENT,
        break_long_words=False,
        break_on_hyphens=False,
    )


def data_text(data: Mapping[str, Any]) -> str:
    """Return "churn.csv: 1,200 rows, 11 columns; 960 to train, 240 to test (random, seed 0)"."""
    text = f"{data['source']}: " if "source" in data else ""  # a model file has none
    text += f"{_counted(data['rows'], 'row')}, "
    text += f"{_counted(data['columns'], 'column')}; "
    if data["without_target"]:
        text += f"{data['without_target']:,} without a target, "
    uses = {"train": data["train"], "validate": data["validation"], "test": data["test"]}
    text += ", ".join(f"{count:,} to {use}" for use, count in uses.items() if count)
    drawn = uses["validate"] or uses["test"]
    return f"{text} (random, seed {data['seed']})" if drawn else text


def training_facts(result: Mapping[str, Any]) -> dict[str, str]:
    """Return lines about data, task, network and training by their names."""
    layers = "-".join(str(size) for size in result["layers"])
    dtype, precision = result["dtype"], result["precision"]
    numbers = dtype if precision == dtype else f"{dtype} with {precision} products"
    epochs = epochs_text(result, result["solver"])
    facts = {
        "data": data_text(result["data"]),
        "task": result["task"],
        "network": f"{layers}, {result['parameters']:,} parameters, {numbers}",
    }
    if result["preset"] == "tuned":
        facts["preset"] = f"tuned{stage_text(result['periodic'], ', ')}"
    if result["ensemble"]:
        facts["ensemble"] = ensemble_text(result["ensemble"], result["task"])
    facts |= {
        "training": (
            f"{epochs} in {result['seconds']:.2f} s, {result['rows_per_second']:,.0f} rows/s on "
            f"{result['device']}, loss {result['train']['loss']:.4f}"
        ),
    }
    if result["stopped_by"] != "max_epochs":
        facts["stopped by"] = stopped_text(result)
    if result["time_limit"]:
        facts["time limit"] = limit_text(result["time_limit"])
    if result.get("memory"):
        facts["memory"] = memory_text(result["memory"])
    return facts


def memory_text(memory: Mapping[str, int]) -> str:
    """Return "peak 612 MB for a limit of 500 MB; ..." for a table read block by block."""
    peak, limit = (round(memory[name] / 1e6) for name in ("peak", "limit"))
    return (
        f"peak {peak:,} MB for a limit of {limit:,} MB; the columns and the training scores are "
        f"those of a sample of {_counted(memory['sample_rows'], 'row')}"
    )


def stage_text(periodic: int, before: str) -> str:
    """Return "periodic features of 8 columns" after ``before``; "" for no such columns."""
    return f"{before}periodic features of {_counted(periodic, 'column')}" if periodic else ""


def stopped_text(training: Mapping[str, Any]) -> str:
    """Return the reason for which a training stopped: of a callback, the time limit, if any."""
    reason = training["stopped_by"]
    over = reason == "callback" and training["time_limit"]
    return "time limit" if over else str(reason).replace("_", " ")


def limit_text(limit: Mapping[str, Any]) -> str:
    """Return "60 s, 1 network instead of 4 (by the speed of the machine)", for example."""
    text = f"{limit['seconds']:g} s"
    reduced = limit["reduced"]
    return f"{text}, {reduced} (by the speed of the machine)" if reduced else f"{text}, kept"


def started_text(start: Mapping[str, Any]) -> str:
    """Return "the weights of churn.safetensors, after 16 epochs"."""
    return f"the weights of {start['model']}, after {_counted(start['epochs'], 'epoch')}"


def ensemble_text(ensemble: Mapping[str, Any], task: str) -> str:
    """Return "5 members, each without one of 5 folds; out-of-fold accuracy 0.9312"."""
    rows, members = ensemble["member_rows"], ensemble["members"]
    text, held = _counted(members, "member"), ensemble["validation"]
    held = "" if held is None else f", with {100 * held:g} % of them held out for validation"
    if rows == "all":
        return f"{text}, each on all rows{held}"
    way = f"each without one of {members} folds" if rows == "folds" else "each on a bootstrap"
    name = "accuracy" if task == "classification" else "R²"
    score = ensemble["oob_score"]
    kind = "out-of-fold" if rows == "folds" else "out-of-bag"
    known = score is not None and math.isfinite(score)
    return f"{text}, {way}{held}" + (f"; {kind} {name} {score:.4f}" if known else "")


def epochs_text(training: Mapping[str, Any], solver: str) -> str:
    """Return "all 60 epochs done", or "12 epochs (weights of epoch 2 kept)" if training stopped.

    training : "epochs", "stopped_by", and the "best_epoch" of early stopping, or None.
    """
    epochs, best = training["epochs"], training["best_epoch"]
    unit = "iteration" if solver == "lbfgs" else "epoch"
    every = training["stopped_by"] == "max_epochs" and epochs > 1
    text = f"all {epochs:,} {unit}s done" if every else _counted(epochs, unit)
    return text if best in (None, epochs) else f"{text} (weights of epoch {best:,} kept)"


def score_sections(result: Mapping[str, Any]) -> Sections:
    """Return tables of scores, each with its title.

    result : "task", "layers", "train" and "test" metrics, "rows" and "test_rows" counts,
        "baselines", "classes" and "positive_class", as in the result of `gpubp train`. Without
        test rows, only the scores on the training rows are shown.
    """
    train = {name: value for name, value in result["train"].items() if name != "loss"}
    test, baselines = result["test"], result["baselines"]
    n_classes = result["layers"][-1] if result["task"] == "classification" else 0
    scores, title = {"train": train}, f"Scores on the {_counted(result['rows'], 'training row')}"
    if test:
        title = (
            f"Scores on {_counted(result['test_rows'], 'test row')} (train: the network on the "
            f"{_counted(result['rows'], 'row')} it learned from)"
        )
        scores |= {"network": test}
        scores |= {_head(name, of): of["scores"] for name, of in baselines.items()}
    lines = scores_table(scores, positive=result["positive_class"], classes=n_classes)
    found: Sections = [(title, [*lines, *_legend(baselines)])]
    if result["classes"]:
        found.append(("Class by class, test rows", classes_table(result["classes"])))
    return found


def _head(name: str, baseline: Mapping[str, Any]) -> str:
    label = str(baseline["label"] or name)
    return label if len(label) <= MOST_HEAD else f"{label[: MOST_HEAD - 7]}...{label[-4:]}"


def _legend(baselines: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return a line for each baseline that was trained on a part of the rows."""
    return [
        f"{_head(name, of)}: {of['model']}"
        for name, of in baselines.items()
        if of["model"].endswith(" rows")
    ]


def verdict_lines(result: Mapping[str, Any], width: int = PIPE_WIDTH) -> list[str]:
    """Return the remarks and then the verdict, in lines of at most ``width`` cells."""
    lines = []
    for remark in result["remarks"]:
        if result["verdict"] not in remark:
            lines += fact_lines("note", remark, width)
    return [*lines, *fact_lines("verdict", result["verdict"], width)]


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
