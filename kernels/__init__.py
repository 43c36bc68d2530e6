"""Elementwise kernels in CUDA and NumPy, cuBLAS, C++ on the CPU; imported as gpubp.kernels."""
