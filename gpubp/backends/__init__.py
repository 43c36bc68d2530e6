"""Arrays, products and recorded steps: on NumPy, compiled C++ or CuPy."""
