"""Elementwise kernels in CUDA and NumPy, cuBLAS, C++ for the CPU; imported as gpubp.kernels."""
