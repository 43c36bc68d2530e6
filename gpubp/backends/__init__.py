"""Backends: arrays, matrix products and recorded steps with NumPy, compiled C++ or CuPy."""
