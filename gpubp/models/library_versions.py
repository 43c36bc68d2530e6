"""The versions of the libraries that trained a model."""

from __future__ import annotations

import platform

import numpy as np
import sklearn

from gpubp.version import __version__


def versions() -> dict[str, str]:
    """Return the versions of gpubp, NumPy, Python and scikit-learn."""
    return {
        "gpubp": __version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "scikit-learn": sklearn.__version__,
    }
