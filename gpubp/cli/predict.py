"""`gpubp predict`: write the predictions of a trained model for the rows of a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gpubp.cli.completion import DATA
from gpubp.cli.options import Names, Repeatable, device_option, refuse_input
from gpubp.cli.output_files import OutputPath, check_output, is_stdout, open_output
from gpubp.cli.signals import signals_as_interrupts
from gpubp.cli.table_input import read_options, reading, strays_told

if TYPE_CHECKING:
    from gpubp.models.table_estimators import TableClassifier, TableRegressor
    from gpubp.tables.read import ReadOptions
    from gpubp.tables.table import Table
    from gpubp.tables.write import Block

CHUNK_ROWS = 65_536
_NOT_WRITTEN = (
    *(".gz", ".zst", ".zip", ".bz2", ".xz", ".xlsx", ".xls", ".ods", ".json", ".jsonl", ".ndjson"),
    *(".npy", ".npz", ".duckdb", ".ddb", ".db", ".feather", ".arrow", ".safetensors"),
)
CHUNK_CELLS = 4_000_000  # cells of the model's columns per chunk: wide tables get fewer rows
# Encoded numbers per chunk, 32 MB as float32: categories with many outputs get fewer rows, but
# at least FEWEST_CHUNK_ROWS, since each chunk has a fixed cost.
CHUNK_INPUTS, FEWEST_CHUNK_ROWS = 8_000_000, 8192


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("data", type=DATA)
@click.option(
    "-o",
    "--out",
    type=OutputPath(),
    help="File to write: Parquet if it ends in .parquet, else CSV; - for stdout.  "
    "[default: stdout]",
)
@click.option("--proba", is_flag=True, help="Add a column with the probability of each label.")
@click.option(
    "--std",
    is_flag=True,
    help="Add the standard deviation of each number over the members of an ensemble; for labels, "
    "with --proba, that of each probability.",
)
@click.option(
    "--keep",
    cls=Repeatable,
    type=Names(),
    help="Columns of DATA to copy unchanged to the output.",
)
@reading
@device_option
def predict(model: Path, data: str, **options: Any) -> None:
    """Write the predictions of MODEL for the rows of DATA.

    DATA is a file of any kind that gpubp train reads, a built-in data set, or - for CSV on standard
    input. Columns are matched by name; columns that the model does not know are ignored.
    """
    from gpubp.tables.write import is_parquet, write_csv, write_parquet

    out: Path | None = options["out"]
    refuse_input("-o", out, model, data)
    estimator = load_table_model(model, options["device"])
    names = _names(estimator, options["proba"], options["std"])
    keep: tuple[str, ...] = options["keep"] or ()
    if doubled := [name for k, name in enumerate(keep) if name in names or name in keep[:k]]:
        raise click.UsageError(
            f"--keep {','.join(keep)} gives two columns called {doubled[0]!r}; leave it out"
        )
    if out is not None:
        _check_suffix(out)
        check_output("-o", out)
    chunks = _chunks(data, estimator, read_options(options, estimator, data), keep)
    blocks = (_block(estimator, chunk, keep, names, options["std"]) for chunk in chunks)
    with strays_told(), signals_as_interrupts():  # removes temporary copies of the input
        if out is not None and is_parquet(out) and not is_stdout(out):
            write_parquet(out, blocks)
            return
        with open_output(out) as file:
            write_csv(file, blocks)


def _check_suffix(out: Path) -> None:
    """Raise UsageError if the suffix is that of a format that cannot be written."""
    if out.suffix.lower() in _NOT_WRITTEN and not out.is_char_device():
        raise click.UsageError(
            f"-o {out} has the suffix {out.suffix!r}, but predictions are written as CSV or "
            "Parquet; give a name that ends in .csv or .parquet"
        )


def load_table_model(path: Path, device: str) -> TableClassifier | TableRegressor:
    """Return the table model in the file at ``path``; ModelFileError for an array estimator."""
    from gpubp.models.save_load import load
    from gpubp.models.table_estimators import TableEstimator
    from gpubp.storage.model_file import ModelFileError

    model = load(path, device=device)
    if not isinstance(model, TableEstimator):
        raise ModelFileError(
            f"{path} holds an estimator of arrays, which has no column names; load it in Python "
            "with gpubp.load, or train a model with gpubp train"
        )
    return model


def _chunks(
    data: str,
    model: TableClassifier | TableRegressor,
    options: ReadOptions,
    keep: Sequence[str],
) -> Iterator[Table]:
    from gpubp.cli.table_input import read_data
    from gpubp.tables.read import DATASETS, read_chunks

    if data in DATASETS:
        return iter([read_data(data, options)])
    known = model.encoder_.column_names_
    few = max(FEWEST_CHUNK_ROWS, CHUNK_INPUTS // model.encoder_.n_features_out_)
    rows = min(CHUNK_ROWS, few, max(1, CHUNK_CELLS // len(known)))
    as_text = {*keep, *model.encoder_.text_columns_}
    return read_chunks(data, rows, options, known=known, as_text=as_text)


def _names(model: TableClassifier | TableRegressor, proba: bool, std: bool) -> list[str]:
    """Return the names of the prediction columns; UsageError for options of another model."""
    from gpubp.models.table_estimators import TableClassifier

    is_classifier = isinstance(model, TableClassifier)
    if proba and not is_classifier:
        raise click.UsageError(
            "--proba is for classification, but this model is a regression; leave it out"
        )
    if std and not hasattr(model.network_, "members_"):
        raise click.UsageError(
            "--std is for an ensemble, but this model is one network; leave it out, or train with "
            "--members 5, for example"
        )
    if std and is_classifier and not proba:
        raise click.UsageError("--std of labels goes with --proba; give both, or leave it out")
    targets = model.target_names_
    ends = [""] if len(targets) == 1 else [f"_{name}" for name in targets]
    names = [f"prediction{end}" for end in ends]
    if proba:
        labels = targets if model.is_multilabel_ else model.classes_
        ends = [f"_{label}" for label in labels]
        names += [f"proba{end}" for end in ends]
    return names + [f"std{end}" for end in ends if std]


def _block(
    model: TableClassifier | TableRegressor,
    chunk: Table,
    keep: Sequence[str],
    names: Sequence[str],
    std: bool,
) -> Block:
    """Return the columns to write for the rows of ``chunk``, by name."""
    import numpy as np

    from gpubp.models.table_estimators import TableRegressor

    chunk.require(keep)
    kept = {name: _as_written(chunk, name) for name in keep}
    if not len(chunk):  # a file with only a header must still have the columns of the model
        model.encode(chunk)
        return kept | dict.fromkeys(names, np.empty(0))
    if isinstance(model, TableRegressor):
        # float64 even from a float32 network: the mean of the target may be far larger than its
        # standard deviation.
        found = model.predict(chunk, return_std=True) if std else (model.predict(chunk),)
        numbers = [column for of in found for column in of.reshape(len(chunk), -1).T]
        return kept | dict(zip(names, numbers, strict=True))
    P, *S = model.predict_proba(chunk, return_std=True) if std else (model.predict_proba(chunk),)
    labels = model.most_probable(P).reshape(len(P), -1).T
    numbers = [column for of in (P, *S) for column in of.T]
    return kept | dict(zip(names, [*labels, *numbers], strict=False))  # P only with --proba


def _as_written(chunk: Table, name: str) -> Any:
    import numpy as np

    from gpubp.tables.column import TextColumn
    from gpubp.tables.column_types.numbers import written

    if name in chunk.written:
        return chunk.written[name]
    column = chunk.columns[name]
    if isinstance(column, TextColumn):
        return column.texts()
    # As text, because a block with gaps would otherwise turn whole numbers into floats.
    return np.where(column.is_gap(), "", np.array(written(column.values), object))
