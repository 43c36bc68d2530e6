"""Where the packages are; all else about the project stands in pyproject.toml."""

from setuptools import find_packages, setup

# The wheel has kernels/ and bench/ of a checkout as gpubp.kernels and gpubp.bench.
MOVED = find_packages(include=["kernels", "kernels.*", "bench", "bench.*"])

setup(
    packages=[
        *find_packages(include=["gpubp", "gpubp.*"]),
        *(f"gpubp.{package}" for package in MOVED),
    ]
)
