"""The CUDA side: per-element formulas, each a CUDA body with its NumPy twin."""
