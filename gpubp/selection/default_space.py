"""The space that `gpubp sweep` searches unless another one is given.

bench/NOTES.md, "The space of `gpubp sweep`", has the spaces that were compared.
"""

from __future__ import annotations

DEFAULT_SPACE = """\
# Parameters of TableClassifier and TableRegressor. A list: one of its values. A range: low to high,
# with log = true on a log scale. A single value is used by every trial. All other parameters are
# chosen by the size of the table.
hidden_layer_sizes = [[64], [128], [256], [512], [128, 64], [256, 128]]
learning_rate_init = { low = 1e-3, high = 1.6e-2, log = true }
weight_decay = { low = 1e-3, high = 3.0, log = true }
dropout = { low = 0.0, high = 0.5 }
"""
