"""The documentation of the parameters and attributes that both estimators have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from textwrap import fill
from typing import Any, TypeVar

from gpubp.backprop.hyperparameter_spec import HyperparameterSpec
from gpubp.backprop.losses import LOSS_NUMBERS, LOSSES, REGRESSION_LOSSES
from gpubp.backprop.optimizers import SOLVER_NUMBERS, SOLVERS
from gpubp.kernels.activations import ACTIVATIONS
from gpubp.training.schedules import SCHEDULE_NUMBERS, SCHEDULES

Estimator = TypeVar("Estimator", bound=type)
WIDTH, INDENT = 99, " " * 8

PARAMETERS = """
    hidden_layer_sizes : int or sequence of int, default=(100,)
        Units of each hidden layer.
    activation : {activations} or sequence of them, default='relu'
        Activation of the hidden layers: of all, or of each.

{activation_docs}

    solver : {solvers}, default='adam'
        How the weights are updated:

{solver_docs}

    alpha : float, default=0.0001
        L2 penalty on the weights, not on the biases: ``alpha / (2 n) |W|^2`` in a batch of n rows.
    batch_size : int or 'auto', default='auto'
        Rows of a mini-batch; 'auto' is min(200, n_samples).
    learning_rate : {schedules}, \
default='constant'
        Schedule of the learning rate:

{schedule_docs}

    learning_rate_init : float, default=0.001
        Initial learning rate.
    {power_t}
    max_iter : int, default=200
        Largest number of epochs, or of iterations of solver='lbfgs'.
    shuffle : bool, default=True
        Whether each epoch takes the rows in a new order.
    random_state : int, RandomState or None, default=None
        Draws initial weights, validation split and row order, as scikit-learn draws them.
    {tol}
        For the other solvers: the smallest improvement of the loss, or validation score, that
        counts.
    verbose : bool or int, default=False
        Whether to print a line an epoch.
    warm_start : bool, default=False
        Whether fit goes on from the weights of the last fit. The best score so far counts where
        the same rows are held out again, the best loss where the same rows and loss are trained on.
    {momentum}
    {nesterovs_momentum}
    early_stopping : bool, default=False
        Whether to hold rows out (or take those given to fit as X_val and y_val), stop when their
        score no longer improves, and put the weights of the best epoch back.
    validation_fraction : float, default=0.1
        Part of the rows that early_stopping holds out.
    {beta_1}
    {beta_2}
    {epsilon}
    n_iter_no_change : int, default=10
        Epochs without improvement after which training stops.
    {max_fun}
    device : {{'auto', 'cpu', 'cuda', 'cuda:N'}}, default='auto'
        Where to train and predict; 'auto' is the device in the environment variable
        GPUBP_DEVICE, or without it CUDA if a device answers and the work is large enough to
        gain from it.
    dtype : {{'auto', 'float32', 'float64'}}, default='auto'
        Precision of training; 'auto' is on the CPU the dtype of X, or float64 for
        solver='lbfgs', as scikit-learn has it, and float32 on CUDA.
    row_order : {{'auto', 'scikit-learn', 'hash'}}, default='auto'
        How epochs are shuffled: drawn on the host as scikit-learn draws, or hashed where the
        data lies, the same on every device. 'auto' hashes from 100,000 rows on, on CUDA only.
    threads : int or None, default=None
        BLAS threads on the CPU; None takes the number in the environment variable
        GPUBP_THREADS, or without it one for small networks, else all.
    precision : {{'float32', 'tf32', 'bfloat16'}}, default='float32'
        To what the factors of float32 matrix products are rounded on CUDA; sums, weights and
        the optimizer stay float32. The CPU, and dtype='float64', round nothing.
    record : bool, default=True
        False runs each step on CUDA launch by launch, for debugging; the numbers stay the same.
    compiled : bool or None, default=None
        Whether elementwise steps on the CPU are compiled for it, by the C++ compiler that is
        installed (g++, clang++, or what CXX names), at their first use; they are kept in the
        user's cache. It is training that uses them: predictions need no compiler. On x86
        subnormal numbers count as 0 then. None compiles if the environment variable
        GPUBP_COMPILED is 1 and there is a compiler; with GPUBP_COMPILED=0 no compiler is
        started, and NumPy computes these steps.
    {weight_decay}
    fit_intercept : bool, default=True
        Whether layers have biases; without, `intercepts_` are 0.
    dropout : float or sequence of float, default=0.0
        Part of the hidden units that each step of training drops, from 0 on and below 1: one
        rate, or one for each hidden layer. Prediction uses all units.
    input_dropout : float, default=0.0
        The same for the columns of X.
    warmup_epochs : float, default=0.0
        Epochs in which the learning rate rises from 0, step by step.
    clip_norm : float or None, default=None
        The longest that the gradient of the data loss of a batch may be; None for any length.
    scoring : str, callable or None, default=None
        The score of early_stopping, without which it is not used: None is accuracy or R^2,
        "loss" minus the validation loss; or one of scikit-learn's names, such as 'roc_auc', or
        scorer(estimator, X, y) -> float, with an estimator that predicts by the weights of the
        epoch, and an array or CSR matrix of rows. Either is handed the weights of the rows if it
        takes sample_weight.
    keep_optimizer_state : bool, default=False
        Whether fit with warm_start goes on with the optimizer's state too, as partial_fit does: its
        momentum or moments, count of updates and learning rate, until `solver` changes. What
        depends on the epoch begins anew in each fit: the learning rates of 'cosine', 'one_cycle'
        and `warmup_epochs`, and with shuffle=True the orders of the rows, which random_state
        draws. So several fits equal one of as many epochs, bit for bit, only without these, with
        shuffle=False, and without dropout and early_stopping.
"""

ATTRIBUTES = """
    coefs_, intercepts_ : list of ndarray
        Weights (d_l, d_{l+1}) and biases (d_{l+1},) by layer. Changed by hand, they count. Set
        before any fit, they suffice to predict, with `activation` and the loss; a classifier needs
        its sorted `classes_` too, and of a multi-label y `out_activation_`, 'logistic'.
        warm_start and partial_fit go on from them. Of other types than float32 they are computed
        in float64.
    loss_, best_loss_ : float
        Loss of the last and of the best epoch, with the penalty. As scikit-learn's,
        solver='lbfgs' sets of the losses and scores `loss_` alone.
    loss_curve_ : list of float
        Loss of each epoch.
    validation_scores_, best_validation_score_ : list of float, float, or None
        Scores of the rows held out, with early_stopping, by `scoring`.
    validation_loss_curve_ : list of float or None
        Loss of those rows after each epoch, weighted, without the penalty; in warm_start too, one
        an epoch that had such rows.
    best_epoch_ : int or None
        Epoch of the best validation score, or without early_stopping of the lowest loss, from 1.
    n_iter_, t_ : int
        Epochs of the last fit, or iterations of solver='lbfgs', and rows trained on in all
        epochs.
    n_features_in_, n_layers_, n_outputs_ : int
        Columns of X, layers with input and output, and outputs of the network: of several
        quantiles, one for each column of y at each level.
    out_activation_ : str
        Activation of the outputs. Predictions are those of the fit: an `activation`, loss or number
        of a loss that is set afterwards counts from the next fit on.
    device_, precision_ : str
        Where the last fit ran, and the precision of its matrix products.
    stopped_by_ : {'max_epochs', 'no_improvement', 'non_finite', 'interrupt', 'callback'}
        Why the last fit stopped; 'non_finite' where the loss or a weight was no longer finite,
        which raises ValueError, unless early_stopping has the weights of an earlier epoch to put
        back: then it warns. 'callback' where one of `set_callbacks` asked to. Of
        solver='lbfgs': 'convergence', 'max_epochs' (that is, max_iter), 'max_fun' or
        'line_search', which found no lower loss, too.
"""


def choices(names: Iterable[str]) -> str:
    """Return ``names`` as numpydoc writes a choice."""
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
            docs[name] += f" For solver={only} only; the rate of any other is constant."
    return docs


def _number(name: str, argument: str, of: Mapping[str, HyperparameterSpec]) -> str:
    """Return the documentation of an estimator's number.

    argument : the estimator's argument that chooses an entry. of : the entries that take it, with
    the parameter that it is there.
    """
    first = next(iter(of.values()))
    kind = first.kind.__name__
    kind = f"{kind} or sequence of {kind}" if first.several else kind
    text = " ".join(
        meaning(f"{argument}=", of)
        + [
            f"For {argument}='{entry}', {first.default} stands for its own default, {own.default}."
            for entry, own in of.items()
            if own.default != first.default
        ]
    )
    return f"{name} : {kind}, default={first.default!r}\n{_filled(text)}"


def meaning(prefix: str, of: Mapping[str, HyperparameterSpec]) -> list[str]:
    """Return sentences: what a number means for each of the entries that take it.

    prefix : stands before the names of entries, such as "solver=".
    """
    by_doc: dict[str, list[str]] = {}
    for name, parameter in of.items():
        by_doc.setdefault(parameter.doc, []).append(f"'{name}'")
    return [
        f"For {prefix}{', '.join(names)}: {doc[0].lower()}{doc[1:]}"
        for doc, names in by_doc.items()
    ]


def _texts() -> dict[str, str]:
    """Return what the tables say, by the names that stand for it in a docstring."""
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
        "loss_names": choices(losses),
        "loss_docs": _listed(_docs(losses)),
    }


def documented(estimator: Estimator) -> Estimator:
    """Fill in what the tables say, and what both estimators have; return the estimator."""
    texts = _texts()
    texts |= {
        "parameters": PARAMETERS.format(**texts).rstrip(),
        "attributes": ATTRIBUTES.rstrip(),
    }
    text = estimator.__doc__ or ""
    for name, value in texts.items():
        text = text.replace(f"{{{name}}}", value)
    estimator.__doc__ = text
    return estimator
