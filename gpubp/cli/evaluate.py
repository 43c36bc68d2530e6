"""`gpubp evaluate`: the scores of a trained model on a table with known targets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from gpubp.cli.completion import DATA
from gpubp.cli.options import Names, device_option
from gpubp.cli.predict import load_table_model
from gpubp.cli.table_input import read_data, read_options, reading
