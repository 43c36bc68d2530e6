"""
A table with text, dates and gaps
=================================

``TableClassifier`` trains on a table without preparation. It finds the type of each column, encodes
the columns, fills the gaps, and chooses the network by the size of the table. This script writes a
small CSV file and trains on it, first on the command line, then in Python.
"""

# %%
# The table: who cancels a contract? Some cells are empty, and one column is an id.
import contextlib
import csv
import random
import tempfile
from pathlib import Path

from gpubp import TableClassifier, load
from gpubp.__main__ import main

draw = random.Random(0)


def customer(number):
    """Return a row: business customers leave if without support, others if the price is high."""
    plan = draw.choice(["basic", "family", "business"])
    price = round(draw.uniform(10, 60), 2)
    support = draw.choice(["yes", "no"])
    since = f"20{draw.randint(15, 24)}-{draw.randint(1, 12):02}-{draw.randint(1, 28):02}"
    reason = support == "no" if plan == "business" else price > 40
    left = "yes" if draw.random() < (0.85 if reason else 0.1) else "no"
    return [f"C{number:05}", plan, "" if draw.random() < 0.1 else price, support, since, left]


names = ["id", "plan", "price", "support", "since", "left"]
rows = [customer(number) for number in range(1500)]
folder = tempfile.TemporaryDirectory()
with Path(folder.name, "customers.csv").open("w", newline="") as file:
    csv.writer(file).writerows([names, *rows])

# %%
# ``main`` is the command ``gpubp``. The summary compares the network with a linear model and with a
# model that always predicts the most frequent class.
with contextlib.chdir(folder.name):
    main(["train", "customers.csv", "--target", "left", "--quiet", "-o", "customers.safetensors"])

# %%
# The model contains the encoding, so it predicts raw rows. It also accepts a plan that was not in
# the training data, and a missing price.
new = {
    "plan": ["basic", "business", "student"],
    "price": [12.5, 12.5, None],
    "support": ["no", "no", "no"],
    "since": ["2021-03-04", "2024-01-31", "2023-07-15"],
}
model = load(Path(folder.name, "customers.safetensors"))
for plan, probabilities in zip(new["plan"], model.predict_proba(new), strict=True):
    print(f"{plan:<9} leaves with probability {probabilities[1]:.2f}")

# %%
# In Python, the same estimator takes frames of pandas, polars and pyarrow, and dicts of columns.
# ``summary`` lists how each column is encoded.
columns = {name: list(cells) for name, *cells in zip(names, *rows, strict=True)}
model = TableClassifier(random_state=0).fit(columns, target="left")
for column in model.encoder_.summary():
    used = column["encoding"] if column["used"] else "left out"
    print(f"{column['column']:<8} {column['type']:<9} {used}")

folder.cleanup()
