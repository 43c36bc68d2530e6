"""Suites of benchmarks: their matrix of cases, and what is said of mistakes in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpubp.bench.cases import FLOOR, Case
from gpubp.bench.suite import SuiteError, parse_suite, read_suite, suite_names

NETWORK = '[[networks]]\nname = "a"\nsizes = [8, 4, 3]\nbatches = [16]\n'


def parsed(text: str) -> tuple[Case, ...]:
    return parse_suite(text, Path("my.toml")).cases


def test_built_in_suites_are_those_that_the_help_names() -> None:
    assert suite_names() == [
        *("batch", "cpu", "gpu", "gpu-steps", "inference", "population", "population-quick"),
        *("quick", "scaling"),
    ]
    for name in suite_names():
        suite = read_suite(name)
        assert suite.name == name
        keys = [case.key for case in suite.cases]
        assert len(set(keys)) == len(keys) >= 3


def test_cpu_has_the_networks_of_the_claims() -> None:
    cases = {case.network: case for case in read_suite("cpu").cases if case.peer == "gpubp"}
    names = {name: case.name for name, case in cases.items()}
    assert names["S"] == "S 64-100-10 b200 adam float32 cpu"
    assert names["M"] == "M 784-256-128-10 b128 adam float32 cpu"
    assert names["L"] == "L 784-1024-1024-10 b512 adam float32 cpu"
    assert names["T"] == "T 32-256-256-256-1 b256 adam float32 cpu"
    assert names["X"] == "X 2-2-1 b4 adam float32 cpu"
    assert (cases["I"].mode, cases["I"].rows) == ("inference", 1_000_000)
    assert (cases["S"].dataset, cases["T"].loss) == ("digits", "squared_error")
    assert read_suite("cpu").rounds >= 5


def test_batch_goes_from_32_to_65536_on_both_devices() -> None:
    cases = read_suite("batch").cases
    assert {case.device for case in cases} == {"cpu", "cuda"}
    assert min(case.batch for case in cases) == 32
    assert max(case.batch for case in cases) == 65_536
    assert {case.vary for case in cases} == {"batch"}


def test_population_has_the_networks_of_the_claims() -> None:
    suite = read_suite("population")
    cases = {case.network: case for case in suite.cases if case.peer == "gpubp_population"}
    assert [case.name for case in cases.values()] == [
        "P256 16-32-32-3 x256 b64 adam float32 cpu",
        "P64 64-100-10 x64 b200 adam float32 cpu",
        "P16 784-256-128-10 x16 b128 adam float32 cpu",
        "P1000 2-8-1 x1000 b4 adam float32 cpu",
    ]
    assert (cases["P256"].steps, cases["P256"].rows_in_all) == (256 * 16 * 20, 256 * 1024 * 20)
    assert cases["P1000"].steps == 1000 * 200
    assert suite.baseline == "gpubp_one_by_one"


def test_a_suite_is_a_matrix() -> None:
    cases = parsed(
        'devices = ["cpu", "cuda"]\nprecisions = ["float32", "float64"]\nsolvers = ["adam", "sgd"]'
        '\npeers = ["gpubp", "jax_scan"]\n' + NETWORK.replace("[16]", "[16, 32]")
    )
    assert len(set(cases)) == len(cases) == 2 * 2 * 2 * 2 * 2
    assert {case.batch for case in cases} == {16, 32}
    assert cases[0].rows == 50 * 16


def test_peers_of_one_device_are_left_out_on_the_other() -> None:
    cases = parsed(
        'devices = ["cpu", "cuda:1"]\npeers = ["sklearn_mlp", "torch_graph"]\n' + NETWORK
    )
    assert [(c.peer, c.device) for c in cases] == [
        ("sklearn_mlp", "cpu"),
        ("torch_graph", "cuda:1"),
    ]


def test_a_network_goes_before_the_whole_suite() -> None:
    text = 'peers = ["gpubp"]\nepochs = 3\nseed = 1\n'
    first, second = parsed(
        text + NETWORK + 'epochs = 7\npeers = ["floor"]\n' + NETWORK.replace('"a"', '"b"')
    )
    assert (first.epochs, first.peer, first.seed) == (7, FLOOR, 1)
    assert (second.epochs, second.peer, second.seed) == (3, "gpubp", 1)


def test_a_data_set_gives_rows_and_loss() -> None:
    text = '[[networks]]\nname = "a"\nsizes = [10, 4, 1]\nbatches = [16]\ndata = "diabetes"\n'
    case = parsed(text)[0]
    assert (case.rows, case.loss, case.steps) == (442, "squared_error", 10 * 28)


def test_a_case_survives_json() -> None:
    import json

    for case in parsed(NETWORK):
        assert Case.from_values(json.loads(case.to_json())) == case


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rounds = 3\nround = 4\n", "my.toml, line 2: unknown key 'round'; did you mean 'rounds'?"),
        (
            NETWORK + '\n# more\n[[networks]]\nname = "b"\nbathces = [2]\n',
            "my.toml, line 9: unknown key 'bathces'; did you mean 'batches'?",
        ),
        ("[[network]]\n", "my.toml, line 1: unknown key 'network'; did you mean 'networks'?"),
        ("\nseconds = true\n", "my.toml, line 2: seconds is True; give a number above 0"),
        ("rounds = 0\n", "my.toml, line 1: rounds is 0; give a whole number from 1 on"),
        (
            NETWORK + 'peers = ["gpubp", "torch_egaer"]\n',
            "my.toml, line 5: peers is ['gpubp', 'torch_egaer']; give a list of gpubp, "
            "gpubp_numpy, torch_eager, torch_graph, jax_scan, sklearn_mlp, gpubp_population, "
            "gpubp_population_numpy, gpubp_one_by_one, gpubp_one_by_one_numpy, jax_vmap, "
            "torch_func, torch_compile, floor; did you mean 'torch_eager'?",
        ),
        (
            NETWORK.replace("8", '"8"'),
            "my.toml, line 3: sizes is ['8', 4, 3]; give a list of units",
        ),
        (
            NETWORK.replace("sizes", "epochs").replace("[8, 4, 3]", "1"),
            "my.toml, line 1: the network has no sizes; add it",
        ),
        (NETWORK + "\n" + NETWORK, "my.toml, line 7: name 'a' is used twice"),
        (NETWORK.replace('"a"', '"a/b"'), "my.toml, line 2: name is 'a/b'; give a word"),
        (
            NETWORK + 'data = "digits"\n',
            "my.toml, line 3: sizes are [8, 4, 3] and the loss is cross_entropy; data 'digits' "
            "needs 64 inputs, 10 outputs and cross_entropy",
        ),
        (NETWORK.replace("8", "2"), "my.toml, line 3: sizes are [2, 4, 3]; drawn data needs 3"),
        (NETWORK.replace("[16]", "[16, 16]"), "my.toml, line 4: batches is [16, 16]; give each v"),
        (
            NETWORK + 'peers = ["gpubp", "gpubp"]\n',
            "my.toml, line 5: peers is ['gpubp', 'gpubp']; give each value only once",
        ),
        ("seed = false\n", "my.toml, line 1: seed is False; give a whole number from 0 to 2**32 "),
        (
            NETWORK + 'devices = ["cuda"]\npeers = ["sklearn_mlp"]\n',
            "my.toml has no case that can run: none of its peers supports its devices",
        ),
        (NETWORK + "rows = 10\n", "my.toml, line 4: batches has 16, but there are 10 rows"),
        ("rounds = 3\n", "my.toml has no [[networks]]"),
        (
            NETWORK + 'population = 2\nmode = "epochs"\n',
            "my.toml, line 6: mode is 'epochs'; a population is measured in mode 'training'",
        ),
        ("rounds = \n", "my.toml is not TOML: Invalid value (at line 1, column 10)"),
    ],
)
def test_a_mistake_is_named_with_its_line(text: str, message: str) -> None:
    with pytest.raises(SuiteError) as raised:
        parsed(text)
    assert str(raised.value).startswith(message)


def test_a_suite_that_is_not_there_is_guessed(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match=r"'quikc' cannot be read: .*; did you mean 'quick'\?"):
        read_suite("quikc")
    with pytest.raises(SuiteError, match="cannot be read"):
        read_suite(str(tmp_path))
    (tmp_path / "a.toml").write_bytes(b"\xff")
    with pytest.raises(SuiteError, match="not text in UTF-8"):
        read_suite(str(tmp_path / "a.toml"))
