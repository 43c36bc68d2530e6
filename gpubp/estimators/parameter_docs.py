"""Documentation of the parameters that both estimators have, and their docstrings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from textwrap import fill
from typing import Any, TypeVar

from gpubp.backprop.hyperparameter_spec import HyperparameterSpec
from gpubp.backprop.initial_weights import WEIGHTS_INITS
from gpubp.backprop.losses import LOSS_NUMBERS, LOSSES, REGRESSION_LOSSES
from gpubp.backprop.solvers import SOLVER_NUMBERS, SOLVERS
from gpubp.estimators.attribute_docs import ATTRIBUTES, OOB
from gpubp.kernels.activations import ACTIVATIONS
from gpubp.training.schedules import SCHEDULE_NUMBERS, SCHEDULES, STRENGTH_SCHEDULES

Estimator = TypeVar("Estimator", bound=type)
WIDTH, INDENT = 99, " " * 8

PARAMETERS = """
    hidden_layer_sizes : int or sequence of int, default=(100,)
        Number of units of each hidden layer.
    activation : {activations} or sequence of them, default='relu'
        Activation of all hidden layers, or a sequence with one activation per hidden layer.

{activation_docs}

    solver : {solvers}, default='adam'
        Algorithm that updates the weights:

{solver_docs}

    alpha : float in [0, inf), default=0.0001
        L2 penalty of the weights; biases are not penalised. A batch of n rows adds
        ``alpha / (2 n) |W|^2`` to the loss.
    batch_size : int or 'auto', default='auto'
        Number of rows of a mini-batch. 'auto' is min(200, n_samples). Ignored by solver='lbfgs'.
    learning_rate : {schedules}, \
default='constant'
        Schedule of the learning rate:

{schedule_docs}

    learning_rate_init : float in (0, inf), default=0.001
        Initial learning rate. Ignored by solver='lbfgs'.
    {power_t}
    max_iter : int, default=200
        Maximum number of epochs; of iterations for solver='lbfgs'.
    shuffle : bool, default=True
        Whether to shuffle the rows before each epoch. Ignored by solver='lbfgs'.
    random_state : int, RandomState or None, default=None
        Seed or generator for the initial weights, the validation split, the order of the rows and
        dropout. The first three are drawn as in scikit-learn. An int gives the same results in
        every call.
    {tol}
        For the other solvers: the smallest change of the loss, or of the validation score, that
        counts as an improvement.
    verbose : bool or int, default=False
        Whether to print the loss, and the validation score if there is one, after each epoch.
    warm_start : bool, default=False
        Whether fit continues from the weights of the last fit. It keeps the best score so far if
        it holds out the same rows again, and the best loss so far if the training rows, the loss
        and `alpha` are the same.
    {momentum}
    {nesterovs_momentum}
    early_stopping : bool, default=False
        Whether to score validation rows after each epoch, stop when the score no longer improves,
        and restore the weights of the best epoch. The validation rows are held out of X, or are
        those passed to fit as X_val and y_val. Ignored by solver='lbfgs'.
    validation_fraction : float in [0, 1), default=0.1
        Fraction of the rows that early_stopping holds out; ignored without it.
    {beta_1}
    {beta_2}
    {epsilon}
    n_iter_no_change : int or numpy.inf, default=10
        Training stops after more than this number of consecutive epochs without improvement.
        Ignored by solver='lbfgs'.
    {max_fun}
    device : {{'auto', 'cpu', 'cuda', 'cuda:N'}}, default='auto'
        Device for training and prediction. 'auto' is the value of the environment variable
        GPUBP_DEVICE; if it is not set, CUDA if a device is available and the work is large
        enough to run faster there, otherwise the CPU.
    dtype : {{'auto', 'float32', 'float64'}}, default='auto'
        Floating-point type of training. 'auto' is float32 on CUDA; on the CPU it is the dtype of
        X, or float64 for solver='lbfgs', as in scikit-learn.
    row_order : {{'auto', 'scikit-learn', 'hash'}}, default='auto'
        Method that shuffles the rows. 'scikit-learn' draws the same permutations as scikit-learn,
        on the host. 'hash' computes them on the device of the data and gives the same order on
        every device. 'auto' is 'hash' on CUDA for 100,000 rows or more, otherwise 'scikit-learn'.
    threads : int or None, default=None
        Number of threads on the CPU, of compiled steps or of BLAS. None is the value of the
        environment variable GPUBP_THREADS; if it is not set, 1 for small networks, otherwise all.
    precision : {{'float32', 'tf32', 'bfloat16'}}, default='float32'
        Precision to which CUDA rounds the factors of float32 matrix products. Sums, weights and
        the state of the optimizer stay float32. Has no effect on the CPU or with
        dtype='float64'.
    record : bool, default=True
        Whether to record a training step on CUDA once and replay it. False launches each kernel
        separately, for debugging; the results are the same.
    compiled : bool or 'auto', default='auto'
        Whether to compile the steps of training on the CPU at their first use, with the installed
        C++ compiler (g++, clang++ or the one that CXX names). The compiled code is kept in the
        user's cache folder. It computes with all threads, gives the same bits for any number of
        threads, and on x86 treats subnormal numbers as 0. 'auto' compiles if there is a compiler
        and the network and the data are large enough: the choice depends on their shapes only.
        `engine_` shows the choice. Unless False, large predictions are compiled too.
        GPUBP_COMPILED=1 makes 'auto' compile every training; GPUBP_COMPILED=0 never starts a
        compiler.
    {weight_decay}
        If it is ignored, a value other than the default issues a warning.
    fit_intercept : bool, default=True
        Whether the layers have biases. If False, `intercepts_` are 0.
    dropout : float in [0, 1) or sequence of float, default=0.0
        Fraction of the hidden units that each training step drops: one rate for all hidden
        layers, or one per hidden layer. Predictions use all units.
    input_dropout : float in [0, 1), default=0.0
        Fraction of the columns of X that each training step drops.
    warmup_epochs : float in [0, inf), default=0.0
        Number of epochs, or a fraction of one, in which the learning rate rises from 0, step by
        step. Ignored by solver='lbfgs'.
    clip_norm : float in (0, inf) or None, default=None
        Maximum norm of the gradient of each batch, without the penalty; a longer gradient is
        scaled down to it. None does not clip. Ignored by solver='lbfgs'.
    scoring : str, callable or None, default=None
        Metric for early_stopping, larger is better; ignored without early_stopping:

        - None: accuracy for a classifier, R^2 for a regressor.
        - 'loss': the negative validation loss.
        - Another str: the name of a scikit-learn scorer, such as 'roc_auc'.
        - A callable: ``scorer(estimator, X, y)`` returns a float. The estimator predicts with the
          weights of the epoch; X is an array or a CSR matrix.

        A scorer that takes sample_weight gets the weights of the validation rows.
    keep_optimizer_state : bool, default=False
        Whether fit with warm_start also continues from the state of the optimizer, as
        partial_fit does: momentum or moments, number of updates and learning rate. The state is
        reset if `solver` or `fit_intercept` changes. The schedules that depend on max_iter,
        `warmup_epochs` and the row orders drawn from random_state start over in each fit.
        Consecutive fits equal one long fit bit for bit only with shuffle=False and without these
        schedules, warm-up, dropout and early_stopping.
    n_members : int or None, default=None
        Number of networks in an ensemble. They have the same shape and are trained together, with
        seeds of their own: ``check_random_state(random_state).randint(2**31 - 1, size=n_members)``.
        Predictions are means over the members. None trains one network. With warm_start, each
        member continues from its own weights. partial_fit and callbacks are for one network only.
    member_rows : {{'all', 'bootstrap', 'folds'}}, default='all'
        Rows that each member of an ensemble trains on; ignored without n_members:

        - 'all': all rows.
        - 'bootstrap': as many rows, drawn with replacement.
        - 'folds': all but one of n_members folds, stratified by class for a classifier.

        The folds, or the bootstrap of each member in turn, are drawn from random_state after the
        seeds. With early_stopping, each member first holds out validation rows of its own, by its
        seed, unless X_val is given.
    input_stage : dict or None, default=None
        Features of single columns in front of the first dense layer, learned with it; a dict of:

        - 'periodic': columns of X with numbers, as a list of places or 'all'. Each adds 3 features
          V cos(2 pi w x + b) + v of 16 frequencies, with w, b, V, v of its own.
        - 'tables': {{column: levels}}, columns of X with categories, as numbers from 0 to
          levels - 1. A learned vector of 8 numbers for each level replaces the column.

        Every feature, and every other column, is multiplied by a learned scale. X should be scaled
        to about -3 to 3. Gorishniy, Rubachev and Babenko (2022); Holzmueller, Grinsztajn and
        Steinwart (2024).
    dropout_schedule : {strengths}, default='constant'
        Schedule of the rates of `dropout` and `input_dropout`, step by step over max_iter epochs;
        each call of partial_fit is a whole schedule:

{strength_docs}

        The 'flat_cos' of RealMLP (Holzmüller et al., Better by Default, 2024).
    weight_decay_schedule : {strengths}, default='constant'
        Schedule of `weight_decay`, with the same choices as `dropout_schedule`, in addition to
        that of the learning rate. Ignored by solvers without weight decay.
    drop_last : bool, default=False
        Whether each epoch leaves out the last rows of its order that do not fill a batch, so that
        all steps have batch_size rows. With shuffle, other rows are left out in each epoch. The
        losses are those of the other rows. Ignored by solver='lbfgs', and by a training on fewer
        rows than batch_size.
    weights_init : {inits}, default='glorot_uniform'
        Distribution of the initial weights, drawn from random_state:

{init_docs}

        He et al., Delving Deep into Rectifiers (2015).
    rate_factors : dict or None, default=None
        Factors of the learning rate by kind of parameter: for 'weights' or 'biases' a number for
        all layers, or a sequence with one number per layer (the last is the output layer); for
        'weights' also the str 'fan_in', ``1 / sqrt(d)`` for a layer of d inputs; for the parts
        'scale', 'periodic' and 'tables' of an input_stage a number. With factor f and learning
        rate r, a parameter changes by ``-f r u``, where u is the update of `solver` for the rate
        1. A kind that is left out has factor 1; 0 freezes the parameters. With Adam and Lion,
        'fan_in' is the NTK parametrisation (Yang and Hu, Feature Learning in Infinite-Width
        Neural Networks, ICML 2021); RealMLP uses it with {{'biases': 0.1}} (Holzmüller et al.,
        Better by Default, NeurIPS 2024). Not for solver='lbfgs'.
    decay_factors : dict or None, default=None
        Factors of `weight_decay`, as in rate_factors, for solver='adamw' and 'lion' only. With
        factor f, each update also subtracts ``f r weight_decay theta`` from the parameters theta.
        This does not depend on rate_factors. A kind that is left out has factor 1 for 'weights'
        and 0 for others, so {{'biases': 1}} lets the biases decay too. The penalty `alpha` is for
        weights only, in any case.
"""


def choices(names: Iterable[str]) -> str:
    """Return ``names`` in numpydoc's notation for a choice: {'a', 'b'}."""
    return "{" + ", ".join(f"'{name}'" for name in sorted(names)) + "}"


def _filled(text: str, indent: str = INDENT) -> str:
    return fill(
        text, WIDTH, initial_indent=INDENT, subsequent_indent=indent, break_on_hyphens=False
    )


def _listed(docs: Mapping[str, str]) -> str:
    """Return the documentation of a table's entries as a list."""
    return "\n".join(_filled(f"- '{name}': {doc}", f"{INDENT}  ") for name, doc in docs.items())


def _docs(entries: Mapping[str, Any]) -> dict[str, str]:
    return {name: entry.doc for name, entry in entries.items()}


def _schedule_docs() -> dict[str, str]:
    """Return the documentation of each schedule, with the solvers that it is limited to."""
    docs = _docs(SCHEDULES)
    for name, schedule in SCHEDULES.items():
        if schedule.solvers is not None:
            only = ", ".join(map(repr, schedule.solvers))
            docs[name] += f" Only for solver={only}; with other solvers the rate is constant."
    return docs


def _number(name: str, argument: str, of: Mapping[str, HyperparameterSpec]) -> str:
    """Return the documentation of a numeric parameter of an estimator.

    argument : the parameter of the estimator that chooses an entry, such as "solver".
    of : entry -> the parameter of that entry, for all entries that take it.
    """
    first = next(iter(of.values()))
    kind = first.kind.__name__ + _interval(first)
    kind = f"{kind} or sequence of {kind}" if first.several else kind
    text = " ".join(
        meaning(f"{argument}=", of)
        + [
            f"With {argument}='{entry}', {first.default} stands for its default {own.default}."
            for entry, own in of.items()
            if own.default != first.default
        ]
        # `tol` has a meaning for every solver; PARAMETERS adds that of the others.
        + [f"Ignored with any other {argument}."] * (name != "tol")
    )
    return f"{name} : {kind}, default={first.default!r}\n{_filled(text)}"


def _interval(spec: HyperparameterSpec) -> str:
    """Return the allowed values as an interval, such as " in [0, 1)"; "" for True or False."""
    if spec.kind is bool:
        return ""
    left = "(" if spec.closed == "neither" else "["
    right = "]" if spec.closed == "both" and spec.high is not None else ")"
    return f" in {left}{spec.low:g}, {'inf' if spec.high is None else f'{spec.high:g}'}{right}"


def meaning(prefix: str, of: Mapping[str, HyperparameterSpec]) -> list[str]:
    """Return sentences that say what a parameter means for the entries that take it.

    prefix : text before the name of an entry, such as "solver=".
    """
    by_doc: dict[str, list[str]] = {}
    for name, parameter in of.items():
        by_doc.setdefault(parameter.doc, []).append(f"'{name}'")
    return [
        f"For {prefix}{', '.join(names)}: {doc[0].lower()}{doc[1:]}"
        for doc, names in by_doc.items()
    ]


def _texts() -> dict[str, str]:
    """Return the texts of the tables by placeholder: the name in braces in a docstring."""
    losses = {name: LOSSES[name] for name in sorted(REGRESSION_LOSSES)}
    numbers = {name: _number(name, "solver", of) for name, of in SOLVER_NUMBERS.items()}
    numbers |= {name: _number(name, "learning_rate", of) for name, of in SCHEDULE_NUMBERS.items()}
    numbers |= {
        name: _number(name, "loss", {loss: parameter})
        for name, (loss, parameter) in LOSS_NUMBERS.items()
    }
    return numbers | {
        "activations": choices(ACTIVATIONS),
        "activation_docs": _listed(_docs(ACTIVATIONS)),
        "solvers": choices(SOLVERS),
        "solver_docs": _listed(_docs(SOLVERS)),
        "schedules": choices(SCHEDULES),
        "schedule_docs": _listed(_schedule_docs()),
        "strengths": choices(STRENGTH_SCHEDULES),
        "strength_docs": _listed(_docs(STRENGTH_SCHEDULES)),
        "inits": choices(WEIGHTS_INITS),
        "init_docs": _listed(_docs(WEIGHTS_INITS)),
        "loss_names": choices(losses),
        "loss_docs": _listed(_docs(losses)),
    }


def documented(estimator: Estimator) -> Estimator:
    """Replace the placeholders in the docstring of ``estimator``; return the estimator."""
    texts = _texts()
    texts |= {
        "parameters": PARAMETERS.format(**texts).rstrip(),
        "attributes": ATTRIBUTES.rstrip(),
    }
    texts["attributes"] = texts["attributes"].replace("{oob}", OOB[estimator.__name__])
    text = estimator.__doc__ or ""
    for name, value in texts.items():
        text = text.replace(f"{{{name}}}", value)
    estimator.__doc__ = text
    return estimator
