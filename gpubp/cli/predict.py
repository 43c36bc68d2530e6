"""`gpubp predict`: the predictions of a trained model for the rows of a table."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gpubp.cli.completion import DATA
from gpubp.cli.options import device_option, refuse_input
from gpubp.cli.output_files import OutputPath, open_output

if TYPE_CHECKING:
    import numpy as np

    from gpubp.models.table_model import TableModel
    from gpubp.tables.table import Table

CHUNK_ROWS = 65_536


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("data", type=DATA)
@click.option(
    "-o", "--out", type=OutputPath(), help="CSV to write; - for stdout.  [default: stdout]"
)
@click.option("--proba", is_flag=True, help="Add the probability of each label.")
@device_option
def predict(model: Path, data: str, out: Path | None, proba: bool, device: str) -> None:
    """Write the predictions of MODEL for the rows of DATA as CSV.

    DATA is a .csv, .npz or .npy, a built-in data set, or - for CSV on standard input. Columns are
    matched by name, and those that the model does not know are ignored.
    """
    refuse_input("-o", out, model, data)
    table_model = load_table_model(model, device)
    if proba and table_model.schema.task != "classification":
        raise click.UsageError("--proba is for classification, and this model is a regression")
    with open_output(out) as file:
        rows = csv.writer(file, lineterminator="\n")
        for k, chunk in enumerate(_chunks(data)):
            lines = _lines(table_model, chunk, proba)
            if k == 0:  # not before the first rows are known to be good
                rows.writerow(_header(table_model, proba))
            rows.writerows(lines)


def load_table_model(path: Path, device: str) -> TableModel:
    """Return the model at ``path``, which must know the columns it was trained on."""
    from gpubp.models.save_load import load
    from gpubp.models.table_model import TableModel
    from gpubp.storage.model_file import ModelFileError

    model = load(path, device=device)
    if not isinstance(model, TableModel):
        raise ModelFileError(
            f"{path}: an estimator that was saved without its columns; load it in Python with "
            "gpubp.load, or train with gpubp train"
        )
    return model


def _chunks(data: str) -> Iterator[Table]:
    from gpubp.tables.read import DATASETS, load_dataset, read_chunks

    if data in DATASETS:
        return iter([load_dataset(data)])
    return read_chunks(data, CHUNK_ROWS)


def _header(model: TableModel, proba: bool) -> list[str]:
    targets = model.schema.targets
    names = ["prediction"] if len(targets) == 1 else [f"prediction_{name}" for name in targets]
    return names + ([f"proba_{label}" for label in model.classes_] if proba else [])


def _lines(model: TableModel, chunk: Table, proba: bool) -> Iterator[tuple[object, ...]]:
    """Yield the rows of the output; numbers have the digits that their dtype has."""
    import numpy as np

    if model.schema.task == "regression":
        # In float64 even from a float32 network: the target's mean may dwarf its deviation.
        return _as_text(model.predict(chunk).reshape(len(chunk), -1))
    P = model.predict_proba(chunk)
    labels = model.classes_[np.argmax(P, axis=1)].tolist()
    if not proba:
        return ((label,) for label in labels)
    return ((label, *row) for label, row in zip(labels, _as_text(P), strict=True))


def _as_text(numbers: np.ndarray) -> Iterator[tuple[object, ...]]:
    return (tuple(str(number) for number in row) for row in numbers)
