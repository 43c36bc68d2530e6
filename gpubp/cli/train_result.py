"""The end of `gpubp train`: save the model, unless the training diverged."""

from __future__ import annotations

import math
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gpubp.cli.output_files import free_name
from gpubp.cli.train_comparison import compared, no_comparison

if TYPE_CHECKING:
    from gpubp.cli.train_model import Trained
    from gpubp.models.table_estimators import TableClassifier, TableRegressor

    Model = TableClassifier | TableRegressor

Metrics = dict[str, Any]


def saved_result(trained: Trained, options: dict[str, Any]) -> dict[str, Any]:
    """Save the model to --out; return the result that the summary shows and --json prints.

    Raises ClickException if the training diverged. The file at --out is then unchanged, and the
    best epoch, if its outputs are finite, is saved next to it.
    """
    from gpubp.models.table_estimators import NonFiniteOutputError
    from gpubp.training.ranks import signals_later

    model, problem = trained.model, _divergence(trained)
    train, test, comparison = None, None, no_comparison(trained)
    try:
        if trained.history.epochs or problem is None:
            train = model.evaluate(trained.rows.table)
            if trained.test_rows is not None:
                test = model.evaluate(trained.test_rows.table)
        if problem is None and trained.test_rows is not None:
            comparison = compared(trained, trained.test_rows, train or {}, test or {})
    except NonFiniteOutputError as error:
        problem = problem or (_unusable(trained) if train is None else str(error))
    except BaseException:  # Ctrl-C or too little memory must not lose the trained model
        if problem is None:
            _save(model, options["out"])
        raise
    out: Path = options["out"]
    if problem is not None or train is None:
        raise click.ClickException(f"{problem}; {_kept(model, train, out)}{_advice(trained)}")
    with signals_later():  # until the model is saved
        result = _result(trained, train, test) | {"model": str(out)} | comparison
        model.about_ |= {"rows": trained.count, "scores": {"train": train, "test": test}}
        model.about_ |= {name: result[name] for name in ("baselines", "remarks", "verdict")}
        # Without the name of the file: the same rows give the same model, whatever file has them.
        model.about_["data"] = {k: v for k, v in result["data"].items() if k != "source"}
        model.about_["classes"] = result["classes"]
        replaced = _description(out)
        _save(model, out)
        if replaced is not None:
            click.echo(f"{out} replaces {replaced}", err=True)
    return result


def _divergence(trained: Trained) -> str | None:
    """Return a sentence on how the training diverged; None if it did not."""
    history, network = trained.history, trained.network
    if history.stopped_by != "non_finite" and math.isfinite(network.loss_):
        return None
    if history.minimum is None:
        return (
            f"training diverged in epoch {history.epochs + 1} at learning rate "
            f"{network.learning_rate_init:g}: the loss or a weight is not finite"
        )
    if not history.epochs:
        return "training diverged: the loss of the initial weights is not finite"
    return f"training diverged after iteration {history.epochs}: the loss is not finite"


def _unusable(trained: Trained) -> str:
    epochs = trained.history.epochs
    if trained.history.minimum is not None:
        return f"training diverged by iteration {epochs}: the outputs are not finite"
    return (
        f"training diverged by epoch {epochs} at learning rate "
        f"{trained.network.learning_rate_init:g}: the outputs are not finite"
    )


def _kept(model: Model, train: Metrics | None, out: Path) -> str:
    """Save the best epoch of a failed training next to ``out``; return a phrase that says so.

    train : metrics of the model on the training rows; None if its outputs are not finite.
    """
    from gpubp.reports.scores import metrics_text

    if train is None or (out.exists() and not out.is_file()):
        return "no model was saved"
    path = free_name(out, "diverged")
    _save(model, path)
    untouched = f", and {out} is unchanged" if out.exists() else ""
    return f"the best finite epoch ({metrics_text(train)}) is saved in {path}{untouched}"


def _advice(trained: Trained) -> str:
    from gpubp.models.table_presets import is_auto

    if trained.network.solver == "lbfgs":
        return "; look for huge values in the data"
    model = trained.model
    of_recipe = model.about_["preset"] == "tuned" and is_auto(model.learning_rate_init)
    if of_recipe and "started_from" not in model.about_:
        return "; try --preset plain"
    return f"; try --lr {trained.network.learning_rate_init / 10:g}"


def _save(model: Model, path: Path) -> None:
    # Imported here, so that a missing file is reported without importing scikit-learn.
    from gpubp.models.save_load import save
    from gpubp.storage.model_file import ModelFileError
    from gpubp.training.ranks import signals_later

    try:
        with signals_later():
            save(model, path)
    except ModelFileError as error:
        raise click.ClickException(
            f"{error}; the trained network is lost, so train it again afterwards"
        ) from None


def _description(path: Path) -> str | None:
    """Return a phrase on the contents of the file ``path``; None if there is no file."""
    from gpubp.storage.model_file import ModelFileError, read_model

    if not path.is_file():
        return None
    saved = datetime.fromtimestamp(path.stat().st_mtime).strftime("%Y-%m-%d %H:%M")
    try:
        header = read_model(path).header
        table = header.get("table") or header["schema"]  # its name in earlier versions
        targets = ", ".join(map(repr, table["targets"]))
        count = len(table["encoder"]["names"] if "encoder" in table else table["features"])
    except ModelFileError:
        return f"a file of {saved} that this gpubp cannot read as a model"
    except (KeyError, TypeError):
        return f"a model of {saved}, an estimator saved in Python"
    columns = f"{count} column{'s' * (count != 1)}"
    return f"a model of {saved}, a {table.get('task')} of {targets} from {columns}"


def _result(trained: Trained, train: Metrics, test: Metrics | None) -> dict[str, Any]:
    from gpubp.models.description import kept_epoch, kept_loss
    from gpubp.models.ensemble_facts import ensemble_of, layers_of, parameters_of, periodic_of

    history, network, rows = trained.history, trained.network, trained.count
    seen = history.minimum.nfev * rows if history.minimum else history.samples
    held = trained.model.about_["validation_rows"]
    return {
        "data": trained.data | {"validation": held, "train": rows - held},
        "task": trained.rows.task,
        "targets": list(trained.rows.targets),
        "device": network.device_,
        "engine": network.engine_,
        "dtype": str(network.coefs_[0].dtype),
        "precision": network.precision_,
        "rows": rows,
        "test_rows": 0 if trained.test_rows is None else len(trained.test_rows),
        "features": network.n_features_in_,
        "layers": layers_of(network),
        "periodic": periodic_of(network),
        "parameters": parameters_of(network),
        "preset": trained.model.about_["preset"],
        "started_from": trained.model.about_.get("started_from"),
        "ensemble": ensemble_of(network),
        "seed": network.random_state,
        "solver": network.solver,
        "epochs": history.epochs,
        "best_epoch": kept_epoch(network),
        "stopped_by": history.stopped_by,
        "time_limit": trained.model.about_.get("time_limit"),
        "memory": _memory(trained),
        "train": {"loss": kept_loss(network)} | train,
        "test": test,
        "seconds": history.seconds,
        "rows_per_second": seen / history.seconds,
    }


def _memory(trained: Trained) -> dict[str, int] | None:
    """Return the memory of a training on a table read block by block; None for others."""
    from gpubp.training.host_memory import peak_memory

    if trained.memory_limit is None:
        return None
    return {
        "limit": trained.memory_limit,
        "peak": peak_memory(),
        "sample_rows": len(trained.rows),
    }
