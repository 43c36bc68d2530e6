"""Bad arguments get one red line that says what is wrong, and nothing is lost."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import gpubp
from gpubp.__main__ import main
from tests.cli.running import FAST, LABELS, Run, X, Y, features, one_line, write_csv


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        ("missing.csv", 1, "missing.csv: no such file; check the path"),
        ("digit", 1, "digit: no such file; did you mean the data set 'digits'?"),
        ("folder", 1, "folder is a directory; give a file"),
        ("folder.csv", 1, "folder.csv is a directory; give a file"),
        ("notes.docx", 1, "notes.docx has suffix '.docx'"),
        ("sheet.xlsx", 1, "save the sheet as CSV"),
        ("http://a.b/c.csv", 1, "is an address; download the file and give its path"),
        ("bad.npz", 1, "bad.npz is not a readable .npz file"),
        ("bad.npy", 1, "bad.npy is not a readable .npy file"),
        ("X.npy", 1, "X.npy has no target"),
        ("X.npy --target-file missing.npy", 1, "missing.npy: no such file"),
        ("X.npy --target-file short.npy", 1, "X.npy: X has 40 rows and y 3; give equal numbers"),
        ("X.npy --target-file bad.npy", 1, "bad.npy is not a readable .npy file"),
        ("data.csv --target-file short.npy", 1, "a target file is only for an .npy file"),
        ("iris --target-file short.npy", 2, "--target-file goes with an .npy file, not with"),
        ("data.csv --target Label", 1, "has no column 'Label'; did you mean 'label'?"),
        ("data.csv --target a,labl", 1, "has no column 'labl'; did you mean 'label'?"),
        ("data.csv --target zzz", 1, "has no column 'zzz'; it has 'a', 'b', 'c', 'label'"),
        ("data.csv --target a,a", 1, "targets are 'a', 'a'; give every column only once"),
        ("data.csv --target a,,b", 2, "'--target': 'a,,b' has an empty name"),
        ("data.csv --target a,b --task classification", 1, "classification takes one"),
        ("data.csv --task regression", 1, "'label' was taken as the target, since it is the last"),
        ("data.csv --class-weight no=1,sure=2", 2, "has 'sure', which is not a label of the"),
        ("data.csv --class-weight no", 2, "'no' is not of the form label=weight; give balanced"),
        ("data.csv --class-weight no=-1", 2, "'no=-1' is not of the form label=weight"),
        ("diabetes --class-weight balanced", 2, "--class-weight is for classification, but this"),
        ("data.csv --loss huber", 2, "--loss is for regression, but this is a classification"),
        ("data.csv --huber-delta 2", 2, "--huber-delta is for --loss huber, got --loss squared"),
        (
            "data.csv --scoring acuracy",
            2,
            "is not a scorer of scikit-learn; did you mean 'accuracy'",
        ),
        ("data.csv --momentum 0.5", 2, "--momentum is for --solver sgd, which was not given"),
        ("data.csv --schedule adaptive", 2, "is for --solver sgd, but no --solver was given"),
        ("data.csv --scoring r2 --validation-size 0.2", 2, "--scoring r2 does not fit the target"),
        ("rare.csv --class-weight p=0,q=0", 2, "class_weight must have a number above 0"),
        ("negative.csv --loss poisson", 2, "loss='poisson' is for targets of 0 or more"),
        ("data.csv --delimiter ab", 2, "'ab' is not one character between fields"),
        ("data.csv --encoding klingon", 2, "'klingon' is not an encoding; give one, such as"),
        ("data.csv --decimal x", 2, "'x' is not one of '.', ','"),
        ("iris --decimal ,", 2, "is a built-in data set, which takes no options for reading"),
        ("data.csv --drop a,,b", 2, "--drop: 'a,,b' has an empty name"),
        ("data.csv --drop aa", 1, "data.csv has no column 'aa'; did you mean 'a'?"),
        ("data.csv --numeric a --categorical a", 1, "choose one"),
        ("data.csv --drop a,label", 2, "--drop names 'label', which is the target; leave it out"),
        ("data.csv --query delete", 1, "query"),
        ("data.csv --test-size 0.99", 2, "--test-size 0.99 leaves 0 of 40 rows to train on"),
        ("data.csv --test-size 1", 2, "'--test-size': 1.0 is not in the range 0<=x<1"),
        ("data.csv --test-size nan", 2, "'--test-size': 'nan' is not a finite number"),
        ("data.csv --validation-size 0.01", 2, "--validation-size 0.01 splits 32 rows into 31"),
        ("data.csv --validation-size 0.99", 2, "--validation-size 0.99 splits 32 rows into 0"),
        (
            "rare.csv --test-size 0 --validation-size 0.3",
            2,
            "needs 2 rows of each class to train on",
        ),
        ("data.csv --hidden 0", 2, "'--hidden': '0' is not a list of layer sizes"),
        ("data.csv --hidden 8,,8", 2, "'--hidden': '8,,8' is not a list of layer sizes"),
        (
            "data.csv --hidden 1e3",
            2,
            "give whole numbers from 1 to 1,000,000, such as 128,64, or none",
        ),
        ("data.csv --hidden 999999,999999", 1, "Unable to allocate"),
        ("data.csv --lr nan", 2, "'--lr': 'nan' is not a finite number"),
        ("data.csv --lr inf", 2, "'--lr': 'inf' is not a finite number"),
        ("data.csv --lr 0", 2, "'--lr': 0.0 is not in the range x>0"),
        ("data.csv --alpha -1", 2, "'--alpha': -1.0 is not in the range x>=0"),
        ("data.csv --alpha inf", 2, "'--alpha': 'inf' is not a finite number"),
        ("data.csv --epochs ten", 2, "'--epochs': 'ten' is not a whole number; give one"),
        ("data.csv --lr x", 2, "'--lr': 'x' is not a number; give one"),
        ("data.csv --activation sigmoid", 2, "'tanh'; did you mean 'logistic'?"),
        ("data.csv --solver Adam", 2, "'sgd'; did you mean 'adam'?"),
        ("data.csv --epochs 0", 2, "'--epochs': 0 is not in the range x>=1"),
        ("data.csv --batch-size 0", 2, "'--batch-size': 0 is not in the range x>=1"),
        ("data.csv --seed -1", 2, "'--seed': -1 is not in the range"),
        ("data.csv --seed 4294967296", 2, "'--seed': 4294967296 is not in the range"),
        ("data.csv --threads 0", 2, "'--threads': 0 is not in the range"),
        ("data.csv --threads 1000000", 2, "is not in the range 1<=x<=999999"),
        ("data.csv --activation swish", 2, "'swish' is not one of 'elu', 'gelu', 'identity'"),
        ("data.csv --solver newton", 2, "'newton' is not one of 'adam', 'adamw', 'lbfgs'"),
        ("data.csv --dtype float16", 2, "'float16' is not one of"),
        ("data.csv --task cluster", 2, "'cluster' is not one of"),
        ("data.csv --device gpu", 2, "must be auto, cpu, cuda or cuda:N, got 'gpu'"),
        ("data.csv --device cuda:99", 2, "use device 'cpu'"),
        ("data.csv --patienc 3", 2, "Did you mean"),
        ("data.csv iris", 2, "gpubp evaluate model.safetensors iris; "),
        ("data.csv --max-iter 5", 2, "No such option --max-iter; did you mean --epochs?"),
        ("data.csv --random_state 5", 2, "did you mean --seed?"),
        ("data.csv --early-stopping", 2, "did you mean --validation-size?"),
        ("data.csv --learning-rate 1", 2, "did you mean --lr or --schedule?"),
        ("data.csv --config missing.toml", 2, "missing.toml cannot be read: No such file"),
        ("data.csv --config folder", 2, "folder cannot be read: Is a directory"),
    ],
)
def test_bad_arguments_of_train(run: Run, args: str, code: int, message: str) -> None:
    write_csv("data.csv", **features(), label=LABELS)
    write_csv("negative.csv", **features(), y=Y - 600)
    write_csv("rare.csv", a=np.arange(12), label=["p"] * 11 + ["q"])
    for folder in ("folder", "folder.csv"):
        Path(folder).mkdir()
    for name in ("bad.npz", "bad.npy", "notes.docx", "sheet.xlsx"):
        Path(name).write_text("hello")
    np.save("X.npy", X)
    np.save("short.npy", [1, 2, 3])
    Path("model.safetensors").write_text("old")
    assert message in one_line(run("train", *args.split(), code=code))
    assert Path("model.safetensors").read_text() == "old"


@pytest.mark.parametrize(
    ("command", "args", "code", "message"),
    [
        ("predict", "missing data.csv", 1, "missing: no such file; check the path or train"),
        ("predict", "data.csv data.csv", 1, "data.csv: not a safetensors file"),
        ("predict", "folder data.csv", 1, "folder: a directory; give the path of the model file"),
        ("predict", "cut data.csv", 1, "cut: truncated"),
        ("predict", "newer data.csv", 1, "newer: was written by a newer gpubp"),
        ("predict", "bare data.csv", 1, "bare holds an estimator of arrays, which has no column"),
        ("predict", "text missing.csv", 1, "missing.csv: no such file"),
        ("predict", "text empty.csv", 1, "empty.csv is empty"),
        ("predict", "text -", 1, "standard input is empty"),
        ("predict", "text fewer.csv", 1, "fewer.csv has no column 'c'; did you mean 'C'?"),
        ("predict", "text iris", 1, "iris lacks 3 columns 'a', 'b', 'c'"),
        ("predict", "text word.csv", 1, "word.csv, data row 21, column 'b': 'x' is not a number"),
        ("predict", "text large.csv", 1, "large.csv, data row 31, column 'b': 1e+300 is too large"),
        ("predict", "text data.csv --keep zz", 1, "data.csv has no column 'zz'"),
        ("predict", "text data.csv --keep a,a", 2, "--keep a,a gives two columns called 'a'"),
        ("predict", "number data.csv --proba", 2, "--proba is for classification, but this"),
        ("predict", "text data.csv --device gpu", 2, "must be auto, cpu, cuda or cuda:N, got"),
        ("predict", "text data.csv --device cuda:99", 2, "use device 'cpu'"),
        ("predict", "text", 2, "Missing argument 'DATA'"),
        ("evaluate", "missing data.csv", 1, "missing: no such file"),
        ("evaluate", "bare data.csv", 1, "bare holds an estimator of arrays"),
        ("evaluate", "text fewer.csv", 1, "fewer.csv has no column 'label'"),
        ("evaluate", "text data.csv --target lable", 1, "no column 'lable'; did you mean 'label'"),
        ("evaluate", "text data.csv --target a", 1, "column 'a' has labels such as"),
        ("evaluate", "text data.csv --target label,a", 1, "2 targets were given, but the model"),
        ("evaluate", "number data.csv --target label", 1, "'label': 'may, be' is not a number"),
        ("evaluate", "text data.csv --target ,", 2, "has an empty name"),
        ("evaluate", "text data.csv --device gpu", 2, "must be auto, cpu, cuda or cuda:N"),
        ("evaluate", "text data.csv --target-file y.npy", 1, "a target file is only for an .npy"),
    ],
)
def test_bad_arguments_of_predict_and_evaluate(
    run: Run, models: Path, command: str, args: str, code: int, message: str
) -> None:
    os.chdir(models)
    failed = run(command, *args.split(), code=code)
    assert message in one_line(failed)
    assert failed.out == ""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with models and tables, some of them bad."""
    folder = tmp_path_factory.mktemp("models")
    word, large = X.astype(object), X.copy()
    word[20:, 1], large[30, 1] = "x", 1e300
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        Path("folder").mkdir()
        Path("empty.csv").touch()
        write_csv("data.csv", **features(), label=LABELS)
        write_csv("word.csv", **features(word))
        write_csv("large.csv", **features(large))
        write_csv("fewer.csv", a=X[:, 0], b=X[:, 1], C=X[:, 2])
        write_csv("numbers.csv", **features(), y=Y)
        assert main(["train", "data.csv", "--quiet", "-o", "text", *FAST]) == 0
        assert main(["train", "numbers.csv", "--quiet", "-o", "number", *FAST]) == 0
        gpubp.save(gpubp.load("text").network_, "bare")
        Path("cut").write_bytes(Path("text").read_bytes()[:-9])
        with pytest.MonkeyPatch.context() as later:
            later.setattr("gpubp.storage.model_file.FORMAT_VERSION", 99)
            gpubp.save(gpubp.load("text"), "newer")
    return folder


def test_a_failed_prediction_leaves_the_output(
    run: Run, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gpubp.cli.predict.CHUNK_ROWS", 7)
    Path("out.csv").write_text("old")
    args = (models / "text", models / "word.csv", "-o", "out.csv")
    assert "word.csv, data row 22, column 'b'" in one_line(run("predict", *args, code=1))
    assert Path("out.csv").read_text() == "old"
    assert os.listdir() == ["out.csv"]  # noqa: PTH208


def test_a_failed_training_leaves_the_output(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(*args: Any, **options: Any) -> None:
        raise OSError(28, "No space left on device")

    Path("model.safetensors").write_text("old")
    monkeypatch.setattr("pathlib.Path.write_bytes", full_disk)
    failed = run("train", "iris", *FAST, code=1)
    assert "cannot write 'model.safetensors': No space left on device" in one_line(failed)
    assert "the trained network is lost, so train it again afterwards" in one_line(failed)
    assert Path("model.safetensors").read_text() == "old"
    assert os.listdir() == ["model.safetensors"]  # noqa: PTH208


@pytest.mark.parametrize(
    ("data", "size"), [("iris", 4 * (4 * 6 + 6 + 6 * 3 + 3)), ("breast_cancer", 4 * (30 * 6 + 13))]
)
def test_a_disk_without_room_for_the_model_is_found_before_training(
    run: Run, data: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = size - 1
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=free))
    Path("model.safetensors").write_text("old")
    failed = run("train", data, *FAST, code=1)
    message = f"it takes {size:,} bytes, but only {free:,} are free; free some or choose another"
    assert f"cannot write 'model.safetensors': {message}" in one_line(failed)
    assert "epoch" not in failed.out
    assert Path("model.safetensors").read_text() == "old"
    free = size
    run("train", data, *FAST)


def test_defects_of_ours_are_not_hidden(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def defect(*args: Any, **options: Any) -> None:
        raise KeyError("x")

    monkeypatch.setattr("gpubp.tables.read.load_dataset", defect)
    with pytest.raises(KeyError):
        run("train", "iris")
