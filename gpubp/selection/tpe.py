"""Candidates by a tree-structured Parzen estimator (TPE) of optuna, which learns from scores."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from gpubp.selection.evaluation import Evaluation
from gpubp.selection.folds import Fold
from gpubp.selection.samplers import Params, ParamSpace

# Distributions are drawn by their quantiles; 0 and 1 may be infinite.
_LEAST = 1e-6


def _optuna() -> Any:
    """Return the module optuna; raise ModuleNotFoundError with the way to install it."""
    try:
        import optuna
    except ImportError:
        raise ModuleNotFoundError(
            "sampler='tpe' needs optuna, which is not installed; run pip install 'gpubp[sweep]', "
            "or choose another sampler",
            name="optuna",
        ) from None
    return optuna


class Tpe:
    """Asks optuna for candidates, and tells it their scores.

    space : as param_space of MLPSearchCV. n_iter : the number of candidates in all.
    """

    def __init__(self, space: ParamSpace, n_iter: int, random_state: Any) -> None:
        self._spaces = [space] if isinstance(space, Mapping) else list(space)
        for each in self._spaces:
            _check(each)
        self._optuna = _optuna()
        seed = int(check_random_state(random_state).randint(np.iinfo(np.int32).max))
        self._study = self._new_study(seed, max(1, min(10, n_iter // 3)))
        self._trials: dict[str, list[Any]] = {}
        self._scores: dict[str, float] = {}

    def _new_study(self, seed: int, n_random: int) -> Any:
        """Return an optuna study. n_random : candidates before the first that is learned."""
        optuna = self._optuna
        verbosity = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        try:
            with warnings.catch_warnings():  # constant_liar is experimental in optuna 4
                warnings.simplefilter("ignore")
                sampler = optuna.samplers.TPESampler(
                    seed=seed, n_startup_trials=n_random, constant_liar=True
                )
            return optuna.create_study(direction="maximize", sampler=sampler)
        finally:
            optuna.logging.set_verbosity(verbosity)

    def ask(self, n: int) -> list[Params]:
        """Return up to ``n`` new candidates; fewer if the space seems to be exhausted."""
        candidates: list[Params] = []
        for _ in range(10 * n):
            if len(candidates) == n:
                break
            trial = self._study.ask()
            params = self._params(trial)
            key = repr(sorted(params.items()))
            if key in self._scores:
                self._tell(trial, self._scores[key])
            elif key in self._trials:
                self._trials[key].append(trial)
            else:
                self._trials[key] = [trial]
                candidates.append(params)
        return candidates

    def tell(self, candidates: Sequence[Params], scores: np.ndarray) -> None:
        """Report the mean test scores of candidates."""
        for params, score in zip(candidates, scores.tolist(), strict=True):
            key = repr(sorted(params.items()))
            self._scores[key] = score
            for trial in self._trials.pop(key):
                self._tell(trial, score)

    def _tell(self, trial: Any, score: float) -> None:
        if math.isfinite(score):
            self._study.tell(trial, score)
        else:
            self._study.tell(trial, state=self._optuna.trial.TrialState.FAIL)

    def _params(self, trial: Any) -> Params:
        """Return the values of a trial, drawn by optuna in the order of the names."""
        place = 0
        if len(self._spaces) > 1:
            place = trial.suggest_categorical("space", range(len(self._spaces)))
        space = self._spaces[place]
        return {name: _suggested(trial, f"{place} {name}", space[name]) for name in sorted(space)}


def _suggested(trial: Any, name: str, values: Any) -> Any:
    """Return a value of a list, or a draw from a distribution of scipy."""
    if hasattr(values, "rvs"):
        value = values.ppf(trial.suggest_float(name, _LEAST, 1 - _LEAST))
        return int(value) if hasattr(values, "pmf") else float(value)
    if len(values) == 1:
        return values[0]
    return values[trial.suggest_categorical(name, range(len(values)))]


def _check(space: Mapping[str, Any]) -> None:
    for name, values in space.items():
        if hasattr(values, "rvs") and not hasattr(values, "ppf"):
            raise ValueError(
                f"sampler='tpe' needs the quantiles of a distribution, but that of {name!r} has "
                "no method ppf; use a distribution of scipy.stats, or a list of values"
            )


def run(
    evaluate: Evaluation, sampler: Tpe, n_iter: int, round_size: int, folds: Sequence[Fold]
) -> None:
    """Evaluate ``n_iter`` candidates in rounds of ``round_size``."""
    done = 0
    while done < n_iter:
        candidates = sampler.ask(min(round_size, n_iter - done))
        if not candidates:
            warnings.warn(
                f"sampler='tpe' found only {done} different candidates in param_space, fewer than "
                f"n_iter={n_iter}",
                UserWarning,
                stacklevel=5,
            )
            return
        sampler.tell(candidates, evaluate(candidates, folds))
        done += len(candidates)
