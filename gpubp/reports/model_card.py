"""A model card: the content of a model file as Markdown, for people who use the model."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from gpubp.models.score_text import METRICS, metric_name, numbers_text
from gpubp.reports.markdown import bullets, code, table, text
from gpubp.reports.model import LABELS_SHOWN, settings_text
from gpubp.reports.summary import data_text, ensemble_text, epochs_text, limit_text, stopped_text

Model = Mapping[str, Any]

MOST_COLUMNS = 200  # rows of the table of columns
MOST_CLASSES = 50
_HEAD = {"precision": "precision", "recall": "recall", "f1": "F1"}
_KINDS = {
    "number": "a gap counts as the median of training",
    "boolean": "a gap, and a text that is neither word, counts as the more frequent word",
    "date": "a gap becomes 0 in every part",
    "category": "a value that training has not seen has the output of other values, or none",
}


def model_card(model: Model) -> str:
    """Return the model card of a model.

    model : the result of `describe`. Only what the file says is in the card.
    """
    lines = [*_front(model), f"# {_title(model)}", ""]
    sections = {
        "Model": _model(model),
        "Training data": _data(model),
        "Evaluation": _scores(model),
        "Intended use and limits": _limits(model),
        "Training": _training(model),
        "How to use": _use(model),
        "Versions": bullets(f"{name} {version}" for name, version in model["versions"].items()),
    }
    for title, section in sections.items():
        found = list(section)
        if found:
            lines += [f"## {title}", "", *found, ""]
    return "\n".join(lines)


def _front(model: Model) -> Iterator[str]:
    """Yield the metadata that model hubs read, as YAML."""
    yield from ("---", "library_name: gpubp")
    if model["columns"]:
        yield f"pipeline_tag: tabular-{model['task']}"
    yield from ("tags:", "- tabular", f"- {model['task']}", "- multilayer-perceptron", "---", "")


def _title(model: Model) -> str:
    if not model["targets"]:
        return f"A {model['class']} of gpubp"
    return f"{model['task'].capitalize()} of {', '.join(map(text, model['targets']))}"


def _model(model: Model) -> Iterator[str]:
    network = model["network"]
    layers = "-".join(str(size) for size in network["layers"])
    used = [column for column in model["columns"] or () if column["used"]]
    if model["targets"]:
        noun = "column" if len(used) == 1 else "columns"
        targets = ", ".join(map(code, model["targets"]))
        yield f"This model predicts {targets} of a row of a table from {len(used):,} {noun}."
    else:
        yield f"This model has {model['inputs']:,} inputs without names."
    yield ""
    facts = [
        f"Kind: {model['class']}, a {model['task']}",
        f"Network: multilayer perceptron {layers}, {network['parameters']:,} parameters, "
        f"{network['dtype']}, activation {network['activation']}, outputs "
        f"{network['output_activation']}",
    ]
    if model["ensemble"]:
        facts.append(f"Ensemble: {ensemble_text(model['ensemble'], model['task'])}")
    if model["classes"] is not None:
        facts.append(f"Classes: {_classes(model)}")
    yield from bullets([*facts, f"File: {model['bytes']:,} bytes, saved {model['saved']}"])


def _classes(model: Model) -> str:
    labels, rows = model["classes"], model["class_rows"]
    counts = [f" ({count:,} training rows)" for count in rows] if rows else [""] * len(labels)
    return _first([f"{code(label)}{count}" for label, count in zip(labels, counts, strict=False)])


def _data(model: Model) -> Iterator[str]:
    if model["data"]:
        yield from (f"{data_text(model['data'])}. The file does not say where they are from.", "")
    if not model["columns"]:
        return
    rows = []
    for column in model["columns"][:MOST_COLUMNS]:
        encoding = column["encoding"] if column["used"] else _reason(column)
        rows.append([code(column["column"]), column["type"], f"{column['gaps']:,}", text(encoding)])
    yield from table(["column", "kind", "gaps", "encoded as"], rows)
    more = len(model["columns"]) - MOST_COLUMNS
    if more > 0:
        yield from ("", f"... and {more:,} more columns.")


def _reason(column: Mapping[str, Any]) -> str:
    found = [each for each in column["remarks"] if each.startswith("left out")]
    return found[0] if found else "left out"


def _scores(model: Model) -> Iterator[str]:
    scores = model["scores"] or {}
    models = {"test rows": scores.get("test"), "training rows": scores.get("train")}
    for name, of in (model["baselines"] or {}).items():
        models[f"{of['label'] or name}, test rows"] = of["scores"]
    known = {name: of for name, of in models.items() if of}
    if not known:
        yield "The file has no scores."
        return
    if model["data"]:
        test, train = (model["data"][part] for part in ("test", "train"))
        validation = model["data"]["validation"]
        yield (
            f"Scores of the model on {test:,} test rows, which training did not see, and on the "
            f"{train + validation:,} rows of training"
            + ("; and of simpler models on the test rows." if len(known) > 2 else ".")
        )
        yield ""
    yield from table(["score", *map(text, known)], _score_rows(model, known))
    if model["class_scores"]:
        yield from ("", "Class by class, on the test rows:", "", *_class_rows(model))
    if model["verdict"]:
        yield from ("", f"Verdict: {text(model['verdict'])}.")


def _score_rows(model: Model, known: Mapping[str, Mapping[str, Any]]) -> Iterator[list[str]]:
    """Yield a row for each score, then for each score of each target if there are several."""
    classes = model["network"]["layers"][-1] if model["task"] == "classification" else 0
    for name in dict.fromkeys(name for of in known.values() for name in of):
        if name in METRICS:
            title = metric_name(name, model["positive_class"], classes)
            numbers = numbers_text([of.get(name) for of in known.values()], name)
            yield [text(title), *numbers]
    by_target = [of.get("per_target", {}) for of in known.values()]
    for target in dict.fromkeys(target for of in by_target for target in of):
        for name in METRICS:
            values = [of.get(target, {}).get(name) for of in by_target]
            if any(value is not None for value in values):
                yield [f"{METRICS[name]} of {code(target)}", *numbers_text(values, name)]


def _class_rows(model: Model) -> Iterator[str]:
    rows = [
        [
            code(of["label"]),
            f"{of['rows']:,}",
            *(numbers_text([of[name]], name)[0] for name in _HEAD),
        ]
        for of in model["class_scores"][:MOST_CLASSES]
    ]
    yield from table(["class", "rows", *_HEAD.values()], rows)
    more = len(model["class_scores"]) - MOST_CLASSES
    if more > 0:
        yield from ("", f"... and {more:,} more classes.")


def _limits(model: Model) -> Iterator[str]:
    """Yield what follows from the training data, without a claim about other data."""
    columns = model["columns"]
    if not columns:
        return
    yield "The scores hold for rows like those of the training data; nothing is known about others."
    yield ""
    kinds = {column["type"] for column in columns if column["used"]}
    facts = [f"Columns of kind {kind}: {of}." for kind, of in _KINDS.items() if kind in kinds]
    left_out = [code(column["column"]) for column in columns if not column["used"]]
    if left_out:
        facts.append(f"Columns that are not used: {_first(left_out)}.")
    verdict = model["verdict"]
    for remark in model["remarks"] or ():
        if not (verdict and verdict in remark):  # the evaluation has the verdict
            facts.append(f"{text(remark[:1].upper() + remark[1:])}.")
    yield from bullets(facts)


def _first(items: list[str]) -> str:
    """Return the first LABELS_SHOWN items as text, and the number of the others."""
    more = len(items) - LABELS_SHOWN
    return ", ".join(items[:LABELS_SHOWN]) + (f" and {more:,} more" if more > 0 else "")


def _training(model: Model) -> Iterator[str]:
    training, recipe = model["training"], model["recipe"]
    epochs = epochs_text(training, recipe["solver"])
    if training["stopped_by"] != "max_epochs":
        epochs += f", stopped by {stopped_text(training | {'time_limit': model['time_limit']})}"
    facts = [
        f"Recipe: {text(settings_text(recipe))}",
        f"Epochs: {epochs}",
        f"Device: {training['device']}",
        f"Training loss: {training['loss']:.4f}",
    ]
    if model["preset"]:
        facts.insert(0, f"Preset: {model['preset']}")
    if model["time_limit"]:
        facts.append(f"Time limit: {limit_text(model['time_limit'])}")
    yield from bullets(facts)


def _use(model: Model) -> Iterator[str]:
    file = shlex.quote(model["file"])
    if model["columns"]:
        yield from ("```sh", f"gpubp predict {file} new_rows.csv -o predictions.csv")
    else:
        yield "```sh"
    yield from (f"gpubp export {file} model.onnx    # for ONNX runtimes, without gpubp", "```", "")
    rows = 'gpubp.read_table("new_rows.csv")' if model["columns"] else "X"
    lines = ["import gpubp", "", f"model = gpubp.load({model['file']!r})", f"model.predict({rows})"]
    if model["task"] == "classification":
        lines.append(f"model.predict_proba({rows})")
    yield from ("```python", *lines, "```")
