"""Public name of `gpubp.backprop.losses`, which is imported at first use."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def __getattr__(name: str) -> Any:
    return getattr(import_module("gpubp.backprop.losses"), name)


def __dir__() -> list[str]:
    return dir(import_module("gpubp.backprop.losses"))
