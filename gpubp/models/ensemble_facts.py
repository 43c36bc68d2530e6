"""An ensemble in the values that `gpubp train` and `gpubp inspect` show."""

from __future__ import annotations

from typing import Any

from gpubp.estimators.fitted_stage import fitted_stage
from gpubp.estimators.given_weights import weights_of


def layers_of(network: Any) -> list[int]:
    """Return the units of each layer, inputs first; in an ensemble, those of each member."""
    sizes = weights_of(network.coefs_, network.intercepts_).sizes
    return [int(network.n_features_in_), *sizes[1:]]  # an input stage has more outputs than inputs


def periodic_of(network: Any) -> int:
    """Return the number of columns with periodic features."""
    stage = fitted_stage(network)
    return 0 if stage is None else len(stage.periodic)


def parameters_of(network: Any) -> int:
    """Return the number of weights, biases and parameters of the input stage of each member."""
    Ws, bs, _, _, members = weights_of(network.coefs_, network.intercepts_)
    stage = fitted_stage(network)
    own = 0 if stage is None else stage.n_parameters
    return sum(array.size for array in (*Ws, *bs)) // (members or 1) + own


def ensemble_of(network: Any) -> dict[str, Any] | None:
    """Return the members of an ensemble, their rows and their score; None for one network.

    "oob_score" is None if the members trained on all rows, and "validation" the fraction of its
    rows that each member holds out for early stopping, or None.
    """
    members = weights_of(network.coefs_, network.intercepts_).members
    if members is None:
        return None
    score = getattr(network, "oob_score_", None)
    held = float(network.validation_fraction) if network.early_stopping else None
    return {
        "members": members,
        "member_rows": network.member_rows,
        "validation": held,
        "oob_score": score,
    }
