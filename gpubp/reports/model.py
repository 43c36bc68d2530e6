"""The content of a model file as lines of text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gpubp.reports.columns import PIPE_WIDTH, columns_table
from gpubp.reports.scores import scores_table
from gpubp.reports.summary import (
    data_text,
    ensemble_text,
    epochs_text,
    fact_lines,
    limit_text,
    score_sections,
    stage_text,
    started_text,
    stopped_text,
    verdict_lines,
)

LABELS_SHOWN = 10


def model_lines(model: Mapping[str, Any], width: int = PIPE_WIDTH) -> Iterator[str]:
    """Yield lines of at most ``width`` cells about a model.

    model : the result of `describe`.
    """
    for name, text in _facts(model).items():
        yield from fact_lines(name, text, width)
    if model["columns"]:
        yield from ("", *columns_table(model["columns"], model["inputs"], width))
    yield from _scores(model, width)


def _scores(model: Mapping[str, Any], width: int) -> Iterator[str]:
    """Yield the scores of the training, in the form in which training printed them."""
    scores = {name: metrics for name, metrics in (model["scores"] or {}).items() if metrics}
    if not scores:
        yield from ("", *fact_lines("scores", "none: saved from Python", width))
    elif not model["verdict"]:  # the file of an earlier version
        yield from ("", "Scores at training", *(f"  {line}" for line in scores_table(scores)))
    else:
        for title, lines in score_sections(_as_result(model)):
            yield from ("", title, *(f"  {line}" for line in lines))
        yield from ("", *verdict_lines(model, width))


def _as_result(model: Mapping[str, Any]) -> dict[str, Any]:
    """Return the scores in the form that `score_sections` takes."""
    return {
        "task": model["task"],
        "layers": model["network"]["layers"],
        "rows": model["data"]["train"] + model["data"]["validation"],
        "test_rows": model["data"]["test"],
        "train": model["scores"]["train"],
        "test": model["scores"]["test"],
        "baselines": model["baselines"],
        "classes": model["class_scores"],
        "positive_class": model["positive_class"],
    }


def _facts(model: Mapping[str, Any]) -> dict[str, str]:
    versions = ", ".join(f"{name} {version}" for name, version in model["versions"].items())
    return {
        "model": f"{model['file']}, a {model['class']}, {model['bytes']:,} bytes",
        "saved": model["saved"],
        **model_facts(model),
        "versions": versions,
    }


def model_facts(model: Mapping[str, Any]) -> dict[str, str]:
    """Return lines about the data, the network and its training by their names.

    model : the result of `describe` or of `description_of`.
    """
    network, recipe, training = model["network"], model["recipe"], model["training"]
    layers = "-".join(str(size) for size in network["layers"])
    epochs = epochs_text(training, recipe["solver"])
    if training["stopped_by"] != "max_epochs":
        epochs += f", stopped by {stopped_text(training | {'time_limit': model['time_limit']})}"
    chosen = {name: value for name, value in recipe.items() if name in model["chosen"]}
    given = {name: value for name, value in recipe.items() if name not in chosen}
    preset = f"preset {model['preset']} and " if model["preset"] else ""
    facts = {
        "data": data_text(model["data"]) if model["data"] else "",
        "task": _task(model),
        "network": f"{layers}, {network['parameters']:,} parameters, {network['dtype']}",
        "ensemble": ensemble_text(model["ensemble"], model["task"]) if model["ensemble"] else "",
        "activation": f"{network['activation']}, outputs {network['output_activation']}",
        "recipe": settings_text(given),
        "chosen": f"{settings_text(chosen)} (by {preset}the size of the table)" if chosen else "",
        "start": started_text(model["started_from"]) if model["started_from"] else "",
        "time limit": limit_text(model["time_limit"]) if model["time_limit"] else "",
        "training": f"{epochs} on {training['device']}, loss {training['loss']:.4f}",
    }
    return {name: text for name, text in facts.items() if text}


def _task(model: Mapping[str, Any]) -> str:
    text = str(model["task"])
    if model["targets"]:
        text += f" of {', '.join(map(repr, model['targets']))}"
    if (classes := model["classes"]) is not None:
        rows = model["class_rows"]
        text += f", {len(classes):,} classes{' (training rows)' if rows else ''}: "
        text += _listed(classes, rows)
    return text


def settings_text(recipe: Mapping[str, Any]) -> str:
    """Return the parameters of a recipe as "solver adamw, rate 0.004, batch 32"."""
    words = {"input_stage": _stage_text}
    return ", ".join(f"{name} {words.get(name, _plain)(value)}" for name, value in recipe.items())


def _listed(labels: Sequence[Any], rows: Sequence[int] | None) -> str:
    """Return labels, each with its number of rows if that is known."""
    counts = [f" ({count:,})" for count in rows] if rows else [""] * len(labels)
    both = zip(labels[:LABELS_SHOWN], counts, strict=False)
    text = ", ".join(f"{label}{count}" for label, count in both)
    more = len(labels) - LABELS_SHOWN
    return f"{text} and {more:,} more" if more > 0 else text


def _stage_text(stage: Mapping[str, Any]) -> str:
    """Return "periodic features of 8 columns, tables of 2" for the parameter input_stage."""
    periodic, tables = stage.get("periodic") or (), stage.get("tables") or {}
    if isinstance(periodic, str):
        text = f"periodic features of {periodic} columns"
    else:
        text = stage_text(len(periodic), "") or "no periodic features"
    return f"{text}, tables of {len(tables)}" if tables else text


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Mapping):
        return " ".join(f"{key}={_plain(each)}" for key, each in value.items())
    return str(value)
