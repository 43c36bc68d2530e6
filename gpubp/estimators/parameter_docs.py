"""Documentation of the parameters and attributes that both estimators have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from textwrap import fill
from typing import Any, TypeVar

from gpubp.backprop.hyperparameter_spec import HyperparameterSpec
from gpubp.backprop.losses import LOSS_NUMBERS, LOSSES, REGRESSION_LOSSES
from gpubp.backprop.solvers import SOLVER_NUMBERS, SOLVERS
from gpubp.kernels.activations import ACTIVATIONS
from gpubp.training.schedules import SCHEDULE_NUMBERS, SCHEDULES

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
        reset if `solver` or `fit_intercept` changes. The schedules 'cosine' and 'one_cycle',
        `warmup_epochs` and the row orders drawn from random_state start over in each fit.
        Consecutive fits equal one long fit bit for bit only with shuffle=False and without these
        schedules, warm-up, dropout and early_stopping.
    n_members : int or None, default=None
        Number of networks in an ensemble. They have the same shape and are trained together, with
        seeds of their own: ``check_random_state(random_state).randint(2**31 - 1, size=n_members)``.
        Predictions are means over the members. None trains one network. partial_fit, warm_start
        and callbacks are for one network only.
    member_rows : {{'all', 'bootstrap', 'folds'}}, default='all'
        Rows that each member of an ensemble trains on; ignored without n_members:

        - 'all': all rows.
        - 'bootstrap': as many rows, drawn with replacement.
        - 'folds': all but one of n_members folds, stratified by class for a classifier.

        The folds, or the bootstrap of each member in turn, are drawn from random_state after the
        seeds. With early_stopping, each member first holds out validation rows of its own, by its
        seed, unless X_val is given.
    rate_factors : dict or None, default=None
        Factors of the learning rate by kind of parameter, 'weights' or 'biases': a number for all
        layers, a sequence with one number per layer (the last is the output layer), or for
        'weights' the str 'fan_in': ``1 / sqrt(d)`` for a layer of d inputs. With factor f and
        learning rate r, a parameter changes by ``-f r u``, where u is the update of `solver` for
        the rate 1. A kind that is left out has factor 1; 0 freezes the parameters. With Adam and
        Lion, 'fan_in' is the NTK parametrisation (Yang and Hu, Feature Learning in Infinite-Width
        Neural Networks, ICML 2021); RealMLP uses it with {{'biases': 0.1}} (Holzmüller et al.,
        Better by Default, NeurIPS 2024). Not for solver='lbfgs'.
    decay_factors : dict or None, default=None
        Factors of `weight_decay`, as in rate_factors, for solver='adamw' and 'lion' only. With
        factor f, each update also subtracts ``f r weight_decay theta`` from the parameters theta.
        This does not depend on rate_factors. A kind that is left out has factor 1 for 'weights'
        and 0 for 'biases', so {{'biases': 1}} lets the biases decay too. The penalty `alpha` is for
        weights only, in any case.
"""

ATTRIBUTES = """
    coefs_, intercepts_ : list of ndarray
        Weights (d_l, d_{l+1}) and biases (d_{l+1},), one array per layer. Predictions, warm_start
        and partial_fit use their current values, so they can be changed by hand. Set on an
        estimator without fit, they are enough to predict, with `activation` and the loss; a
        classifier also needs its sorted `classes_`, and for a multi-label y
        ``out_activation_ = 'logistic'``. Arrays of another type than float32 are computed in
        float64.
    loss_, best_loss_ : float
        Loss of the last epoch and lowest loss of all epochs, both with the penalty. `best_loss_`
        is None with early_stopping. As in scikit-learn, solver='lbfgs' sets only `loss_`, and
        none of the other losses and scores.
    loss_curve_ : list of float
        Loss of each epoch.
    validation_scores_, best_validation_score_ : list of float, float, or None
        Validation score of each epoch, by `scoring`, and the highest one; None without
        early_stopping.
    validation_loss_curve_ : list of float or None
        Weighted loss of the validation rows after each epoch, without the penalty; None without
        early_stopping. After warm_start it has one value for each epoch that had validation rows.
    best_epoch_ : int or None
        Epoch with the best validation score or, without early_stopping, the lowest loss; counted
        from 1.
    n_iter_, t_ : int
        Number of epochs of the last fit (iterations for solver='lbfgs'), and number of rows
        trained on in all epochs.
    n_features_in_, n_layers_, n_outputs_ : int
        Number of columns of X, of layers including input and output, and of outputs of the
        network. With several quantiles the network has one output per column of y and level.
    out_activation_ : str
        Activation of the output layer. Predictions use the `activation`, the loss and the
        parameters of the loss as they were in fit; changes take effect in the next fit.
    device_, precision_ : str
        Device of the last fit, and precision of its matrix products.
    engine_ : {'numpy', 'compiled', 'cuda'}
        Kind of code that computed the steps of the last fit.
    stopped_by_ : {'max_epochs', 'no_improvement', 'non_finite', 'interrupt', 'callback'}
        Why the last fit stopped. 'non_finite': the loss or a weight was no longer finite; fit
        then raises ValueError, unless early_stopping can restore the weights of an earlier epoch,
        in which case it warns. 'callback': a callback of `set_callbacks` asked to stop.
        solver='lbfgs' stops by 'max_epochs' after max_iter iterations; it has three more values:
        'convergence', 'max_fun', and 'line_search' if the line search found no lower loss.
    members_ : list of estimators
        The members of an ensemble, as fitted single networks with attributes of their own:
        `n_iter_`, `loss_curve_`, `best_validation_score_`, `stopped_by_`, `random_state` (the seed)
        and so on. In an ensemble, `coefs_` and `intercepts_` have the members as first axis,
        (n_members, d_l, d_{l+1}) and (n_members, d_{l+1}); those of `members_` are views of them.
        Losses and scores are means over the members, where a member that stopped counts with its
        last value; `n_iter_` is the largest number of epochs and `t_` the sum of all rows.
        `stopped_by_` is the first of these reasons that stopped a member: 'interrupt',
        'non_finite', 'callback', 'line_search', 'max_fun', 'max_epochs', 'no_improvement',
        'convergence'.
    oob_score_ : float
        Accuracy or R^2 of the out-of-bag predictions, with member_rows='bootstrap' or 'folds': for
        each training row the mean over the members that neither trained on it nor held it out.
        Weighted by sample_weight, not by class_weight. Rows that no member left out do not count;
        NaN if the others have no weight.
{oob}
"""


_OOB = {
    "MLPClassifier": """\
    oob_decision_function_ : ndarray (n_samples, n_classes)
        The out-of-bag probabilities of each class; NaN for a row that no member left out.""",
    "MLPRegressor": """\
    oob_prediction_ : ndarray (n_samples,) or (n_samples, n_targets)
        The out-of-bag predictions; NaN for a row that no member left out.""",
}


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
    texts["attributes"] = texts["attributes"].replace("{oob}", _OOB[estimator.__name__])
    text = estimator.__doc__ or ""
    for name, value in texts.items():
        text = text.replace(f"{{{name}}}", value)
    estimator.__doc__ = text
    return estimator
