"""What a model file holds, as lines for a person."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gpubp.reports.columns import PIPE_WIDTH, columns_table
from gpubp.reports.scores import scores_table

LABELS_SHOWN = 10


def model_lines(model: Mapping[str, Any], width: int = PIPE_WIDTH) -> Iterator[str]:
    """Yield lines of at most ``width`` cells about a model, as `describe` describes it."""
    for name, text in _facts(model).items():
        yield from textwrap.wrap(
            text,
            width,
            initial_indent=f"{name:<12}",
            subsequent_indent=" " * 12,
            break_long_words=False,
            break_on_hyphens=False,
        )
    scores = {name: metrics for name, metrics in (model["scores"] or {}).items() if metrics}
    if scores:
        yield from ("", "Scores at training", *(f"  {line}" for line in scores_table(scores)))
    if model["columns"]:
        yield from ("", *columns_table(model["columns"], model["inputs"], width))


def _facts(model: Mapping[str, Any]) -> dict[str, str]:
    network, recipe, training = model["network"], model["recipe"], model["training"]
    layers = "-".join(str(size) for size in network["layers"])
    unit = "iterations" if recipe["solver"] == "lbfgs" else "epochs"
    facts = {
        "model": f"{model['file']}, a {model['class']}, {model['bytes']:,} bytes",
        "saved": model["saved"],
        "task": _task(model),
        "network": f"{layers}, {network['parameters']:,} parameters, {network['dtype']}",
        "activation": f"{network['activation']}, outputs {network['output_activation']}",
        "recipe": ", ".join(f"{name} {_plain(value)}" for name, value in recipe.items()),
        "training": (
            f"{training['epochs']} {unit} on {training['device']}, loss {training['loss']:.4f}, "
            f"stopped by {training['stopped_by'].replace('_', ' ')}"
        ),
        "versions": ", ".join(f"{name} {version}" for name, version in model["versions"].items()),
    }
    return {name: text for name, text in facts.items() if text}


def _task(model: Mapping[str, Any]) -> str:
    text = str(model["task"])
    if model["targets"]:
        text += f" of {', '.join(map(repr, model['targets']))}"
    if (classes := model["classes"]) is not None:
        text += f", {len(classes):,} classes: {_listed(classes)}"
    return text


def _listed(labels: Sequence[Any]) -> str:
    text = ", ".join(str(label) for label in labels[:LABELS_SHOWN])
    more = len(labels) - LABELS_SHOWN
    return f"{text} and {more:,} more" if more > 0 else text


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Mapping):
        return " ".join(f"{key}={_plain(each)}" for key, each in value.items())
    return str(value)
