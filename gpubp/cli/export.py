"""`gpubp export`: write a model as an ONNX file."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gpubp.cli.options import refuse_input
from gpubp.cli.output_files import OutputPath, check_output, refuse_stdout

if TYPE_CHECKING:
    from gpubp.models.onnx.export import Export


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("out", type=OutputPath())
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def export(model: Path, out: Path, as_json: bool) -> None:
    """Write MODEL to OUT, an ONNX file, which runs without gpubp.

    The graph contains the encoding: it has one input per column, and its predictions are compared
    with those of MODEL before OUT is written. It needs the package onnx.
    """
    _check_out(model, out)
    from gpubp.models.onnx.packages import import_onnx

    try:
        import_onnx()
    except ModuleNotFoundError as error:
        raise click.UsageError(str(error)) from None
    from gpubp.models.onnx.export import export_onnx
    from gpubp.models.save_load import load
    from gpubp.reports.terminal import to_json

    estimator, replaced = load(model, device="cpu"), _description(out)
    done = export_onnx(estimator, out)
    if replaced is not None:
        click.echo(f"{out} replaces {replaced}", err=True)
    found = _as_json(done, model, out)
    click.echo(to_json(found) if as_json else "\n".join(_lines(found)))


def _check_out(model: Path, out: Path) -> None:
    """Raise an error if ``out`` cannot be written, or is not called like an ONNX file."""
    refuse_stdout("OUT", out, "an ONNX file is binary")
    if out.suffix.lower() != ".onnx":
        raise click.UsageError(
            f"OUT {out} has the suffix {out.suffix!r}, but an ONNX file is written; give a name "
            "that ends in .onnx"
        )
    refuse_input("OUT", out, model)
    check_output("OUT", out)


def _description(out: Path) -> str | None:
    """Return a phrase on the file at ``out``; None if there is none."""
    if not out.is_file():
        return None
    found = out.stat()
    saved = datetime.fromtimestamp(found.st_mtime).strftime("%Y-%m-%d %H:%M")
    return f"a file of {saved} with {found.st_size:,} bytes"


def _as_json(done: Export, model: Path, out: Path) -> dict[str, Any]:
    from gpubp.models.onnx.graph import OPSET

    return {
        "model": str(model),
        "file": str(out),
        "bytes": out.stat().st_size,
        "opset": OPSET,
        "inputs": done.inputs,
        "outputs": done.outputs,
        "rows": done.rows,
        "differences": done.differences,
    }


def _lines(found: dict[str, Any]) -> list[str]:
    """Return the result as lines of text."""
    from gpubp.reports.summary import fact_lines

    inputs, outputs = (
        ", ".join(f"{name} {kind}" for name, kind in found[key].items())
        for key in ("inputs", "outputs")
    )
    largest = " and ".join(f"{of:.1g} by {name}" for name, of in found["differences"].items())
    facts = {
        "file": f"{found['file']}, {found['bytes']:,} bytes, ONNX opset {found['opset']}",
        "inputs": inputs,
        "outputs": outputs,
        "check": f"largest difference in {found['rows']} rows: {largest}",
        "use": f"onnxruntime.InferenceSession({found['file']!r}).run(None, columns), with one "
        "NumPy array per input in the dict columns",
    }
    return [line for name, text in facts.items() for line in fact_lines(name, text)]
