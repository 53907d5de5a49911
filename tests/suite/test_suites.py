"""Suite files: their meaning, and that all faults of a file are reported together."""

from pathlib import Path

import pytest
from syrupy.assertion import SnapshotAssertion

from rnnbench.errors import UserError
from rnnbench.store.records import Group
from rnnbench.suite import suites
from rnnbench.suite.expressions import expression, parse_only
from rnnbench.suite.file import MAX_WITHIN_BUDGET, Settings
from rnnbench.suite.outline import values
from rnnbench.suite.suites import Suite


def suite(folder: Path, text: str) -> Suite:
    file = folder / "mine.toml"
    file.write_text('name = "mine"\n' + text)
    return suites.read_suite(str(file))


def groups(chosen: Suite, *only: str, device: str | None = None) -> list[Group]:
    return chosen.groups(parse_only(only), device)


@pytest.mark.parametrize(
    "name", ["notebook", "quick", "cpu", "cuda", "cuda-full", "published", "published-full", "data", "training"]
)
def test_every_shipped_suite_can_be_read_and_each_group_has_one_reference(name: str) -> None:
    for group in groups(suites.read_suite(name)):
        assert sum(case.is_reference for case in group.cases) == 1
        assert {case.workload for case in group.cases} == {group.workload}


def test_quick_has_each_cell_at_a_small_a_middle_and_a_large_size_in_both_phases() -> None:
    loads = [(case, case.workload) for group in groups(suites.read_suite("quick")) for case in group.cases]
    own = [(case, load) for case, load in loads if not case.is_reference]
    assert len(loads) == 70
    for cell in ("vanilla", "combined", "lstm", "gru", "deep"):
        for phase in ("inference", "training"):
            of_cell = [load for case, load in own if case.cell == cell and load.phase == phase]
            sizes = {(load.batch_size, load.seq_len, load.hidden_size) for load in of_cell}
            assert sizes == {(1, 16, 64), (32, 16, 64), (32, 64, 256)}


OWN = ["cell.py:Mine"]
EXPANDED = {
    "cells with the same reference share its case": (
        '[[sweep]]\ncell = ["vanilla", "combined"]',
        [("rnn", 32, 0, 0, ["vanilla", "torch.nn.RNN", "combined"])],
    ),
    "a sweep overrides the defaults": (
        "[defaults]\nbatch_size = [1, 2]\n[[sweep]]\ncell = 'gru'\n[[sweep]]\ncell = 'lstm'\nbatch_size = 7",
        [
            ("gru", 1, 0, 0, ["gru", "torch.nn.GRU"]),
            ("gru", 2, 0, 0, ["gru", "torch.nn.GRU"]),
            ("lstm", 7, 0, 0, ["lstm", "torch.nn.LSTM"]),
        ],
    ),
    "the same case in two sweeps is measured once": (
        '[[sweep]]\ncell = "gru"\n[[sweep]]\ncell = "gru"',
        [("gru", 32, 0, 0, ["gru", "torch.nn.GRU"])],
    ),
    "a cell of one's own is timed against the layer that its sweep names": (
        '[[sweep]]\ncell = "cell.py:Mine"\nreference = "lstm"',
        [("lstm", 32, 0, 0, [*OWN, "torch.nn.LSTM"])],
    ),
    "and without one it stands alone": (
        '[[sweep]]\ncell = ["cell.py:Mine", "gru"]',
        [("none", 32, 0, 0, OWN), ("gru", 32, 0, 0, ["gru", "torch.nn.GRU"])],
    ),
    "or with none": ('[[sweep]]\ncell = "cell.py:Mine"\nreference = "none"', [("none", 32, 0, 0, OWN)]),
    "a data set is held against itself": (
        "[[sweep]]\ncell = 'windows'\nphase = 'loading'\nimplementation = ['per_item', 'vectorised']\n"
        "samples = 64\nworkers = [0, 2]",
        [("windows", 32, 64, workers, ["windows", "windows"]) for workers in (0, 2)],
    ),
    "only what loads has samples and workers": (
        "[[sweep]]\ncell = 'gru'\nphase = ['step', 'epoch']\nsamples = 64\nworkers = 1",
        [("gru", 32, samples, workers, ["gru", "torch.nn.GRU"]) for samples, workers in ((0, 0), (64, 1))],
    ),
}


@pytest.mark.parametrize("kind", EXPANDED)
def test_a_sweep_is_the_product_of_its_axes_in_groups_that_each_have_one_reference(tmp_path: Path, kind: str) -> None:
    (tmp_path / "cell.py").write_text("")
    text, expected = EXPANDED[kind]
    found = groups(suite(tmp_path, text))
    loads = [(group.workload, [case.cell for case in group.cases]) for group in found]
    assert [(work.reference, work.batch_size, work.samples, work.workers, cells) for work, cells in loads] == expected
    references = [sum(case.is_reference for case in group.cases) for group in found]
    assert references == [int(group.workload.reference != "none") for group in found]


def test_only_keeps_the_reference_of_what_it_keeps() -> None:
    chosen = groups(
        suites.read_suite("quick"), "cell=lstm implementation=hoisted", "batch_size=1 seq_len=16 hidden_size=64"
    )
    assert {(case.cell, case.implementation) for group in chosen for case in group.cases} == {
        ("lstm", "hoisted"),
        ("torch.nn.LSTM", "torch.nn"),
    }


def test_device_replaces_the_suites_own() -> None:
    assert {group.workload.device for group in groups(suites.read_suite("quick"), device="cuda:1")} == {"cuda:1"}


def test_a_value_that_the_suite_lacks_is_an_error_beside_others_that_it_has() -> None:
    quick = suites.read_suite("quick")
    with pytest.raises(UserError, match=r"cell=gruu .did you mean 'gru'.*: the suite has cell=vanilla,"):
        groups(quick, "cell=lstm,gruu")
    with pytest.raises(UserError, match="batch_size=7,9: the suite has batch_size=1,32"):
        groups(quick, "cell=lstm batch_size=1,7,9")
    assert quick.groups(parse_only(["cell=lstm,gruu"]), None, knows_all=False) == groups(quick, "cell=lstm")
    assert groups(quick, "cell=lstm,torch.nn.GRU device=cuda", device="cuda")


FAULTY = """
[measure]
replicats = 3
windows = 3
cold_cache = "yes"
[defaults]
batchsize = [1]
[[sweep]]
cell = ["lstmm", "nowhere.py:Mine"]
implementation = ["lop"]
seq_len = [0, 5]
hidden_size = []
output_size = "3"
[[sweep]]
hiden_size = [3]
reference = "lstn"
"""


LOADING = "[[sweep]]\ncell = 'windows'\nphase = 'loading'\nimplementation = ['per_item', 'vectorised']\n"
GRU = '[[sweep]]\ncell = "gru"\n'
FAULTS = {
    "many faults": FAULTY,
    "no sweep": "",
    "sweep is a number": "sweep = 3",
    "sweep is a table": '[sweep]\ncell = "gru"',
    "sweep is a list of numbers": "sweep = [3]",
    "sweep is empty": "sweep = []",
    "defaults is a number": f"defaults = 3\n{GRU}",
    "a list in a list": '[[sweep]]\ncell = [["gru"]]',
    "a negative share": f"{GRU}dropout = -0.1",
    "a yes for a number": f"{GRU}batch_size = true",
    "too large for a number of 64 bits": f"{GRU}batch_size = 9223372036854775808",
    "a deadline of years": f"[measure]\ndeadline_seconds = 1e9\n{GRU}",
    "an endless budget": f"[measure]\nbudget_seconds = inf\n{GRU}",
    "more replicates than the most": f"[measure]\nreplicates = 30\nmax_replicates = 29\n{GRU}",
    "a margin for an axis that there is not": f"[check]\nmargins = [{{only = 'cel=gru', margin = 0.1}}]\n{GRU}",
    "cells beside data sets": "[[sweep]]\ncell = ['windows', 'gru']\nphase = 'epoch'\nimplementation = 'per_item'",
    "keys that no suite has": 'file = "other.toml"\ntitle = "mine"\n[[sweep]]\ncell = "gru"',
    "fewer than no workers": f"{LOADING}workers = -1",
    "arguments for a shipped cell": f"{GRU}arguments = {{theta = 1}}",
    "a name that no argument has": '[[sweep]]\ncell = "m.x:A"\narguments = {"a b" = 1}',
    "an axis as an argument": '[[sweep]]\ncell = "m.x:A"\narguments = {threads = 1}',
    "an argument without a value": '[[sweep]]\ncell = "m.x:A"\narguments = {theta = []}',
    "a table as an argument": '[[sweep]]\ncell = "m.x:A"\narguments = {theta = {a = 1}}',
    "an endless argument": '[[sweep]]\ncell = "m.x:A"\narguments = {theta = [1, inf]}',
    "an argument without a name": '[[sweep]]\ncell = "m.x:A(3)"',
    "an argument that would be run": "[[sweep]]\ncell = \"m.x:A(a=open('x'))\"",
    "arguments in stars": '[[sweep]]\ncell = "m.x:A(**b)"',
}


@pytest.mark.parametrize("kind", FAULTS)
def test_every_fault_is_named_at_once_with_its_place_and_what_would_be_right(
    tmp_path: Path, kind: str, snapshot: SnapshotAssertion
) -> None:
    with pytest.raises(UserError) as raised:
        suite(tmp_path, FAULTS[kind])
    assert str(raised.value).replace(str(tmp_path), "FOLDER") == snapshot


@pytest.mark.parametrize(
    "only",
    [
        "hidden=3",
        "cell",
        "cell=",
        "cell=gru,",
        "cell=gru cell=lstm",
        "hidden_size=3",
        "cell=glu",
        "cell=deep hidden_size=64 seq_len=64",
        "",
        " ",
    ],
)
def test_an_only_that_can_not_be_met_says_what_could(tmp_path: Path, only: str, snapshot: SnapshotAssertion) -> None:
    with pytest.raises(UserError) as raised:
        groups(suites.read_suite("quick"), only)
    assert str(raised.value) == snapshot(name="--only")
    rules = f"[{{only = 'cell=gru device=cuda', margin = 0.1}}, {{only = '{only}', margin = 0.1}}]"
    with pytest.raises(UserError) as raised:
        suites.refuse_idle_margins(suite(tmp_path, f"[check]\nmargins = {rules}\n{GRU}"))
    assert str(raised.value).replace(str(tmp_path), "FOLDER") == snapshot(name="a margin")


@pytest.mark.parametrize("name", ["quik", "no/such.toml"])
def test_a_suite_that_does_not_exist_says_which_do(name: str, snapshot: SnapshotAssertion) -> None:
    with pytest.raises(UserError) as raised:
        suites.read_suite(name)
    assert str(raised.value) == snapshot


def test_a_budget_ends_a_run_and_not_the_default_of_max_replicates() -> None:
    assert Settings().max_replicates == 20
    assert Settings(budget_seconds=40).max_replicates == MAX_WITHIN_BUDGET
    assert Settings().with_changes({"budget_seconds": 40}).max_replicates == MAX_WITHIN_BUDGET
    assert Settings(max_replicates=8).with_changes({"precision": 0.01, "budget_seconds": 40}).max_replicates == 8
    assert Settings(budget_seconds=40).with_changes({}).budget_seconds == 40


def test_a_million_cases_are_refused_before_they_are_made(tmp_path: Path) -> None:
    sizes = list(range(1, 79))
    chosen = suite(tmp_path, f'[[sweep]]\ncell = "gru"\nbatch_size = {sizes}\nseq_len = {sizes}\nhidden_size = {sizes}')
    with pytest.raises(UserError, match=r"949,104 cases are more than 100,000; sweep fewer values"):
        groups(chosen)


def test_margins_are_the_suites_own_unless_a_rule_selects_the_case(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(
        'name = "mine"\n[check]\nmargin = 0.03\n'
        'margins = [{only = "cell=gru", margin = 0.1}, {only = "cell=gru batch_size=1", margin = 0.2}]\n'
        '[[sweep]]\ncell = ["lstm", "gru"]\nbatch_size = [1, 2]\nimplementation = "loop"\n'
    )
    suite = suites.read_suite(str(file))
    cases = [case for group in suite.groups({}, None) for case in group.cases]
    margins = {
        f"{case.cell} {case.workload.batch_size}": suites.margins(suite.check, cases)[case.key] for case in cases
    }
    assert margins == {"lstm 1": 0.03, "lstm 2": 0.03, "gru 1": 0.2, "gru 2": 0.1}
    changed = suite.with_check(margin=0.5, budget_seconds=None).check
    assert set(suites.margins(changed, cases).values()) == {0.5}
    assert changed.budget_seconds == 120


def test_each_group_knows_the_first_sweep_that_has_it_on_whatever_device(tmp_path: Path) -> None:
    text = (
        "[[sweep]]\ncell = 'gru'\nbatch_size = [1, 2]\n[[sweep]]\ncell = ['gru', 'lstm']\nbatch_size = [2, 3]\n"
        "[[sweep]]\ncell = 'windows'\nphase = 'loading'\nimplementation = 'per_item'\nworkers = 2"
    )
    for device in (None, "cuda:1"):
        all_groups = groups(suite(tmp_path, text), device=device)
        sweeps = [(group.workload.reference, group.workload.batch_size, group.sweep) for group in all_groups]
        assert sweeps == [
            ("gru", 1, 0),
            ("gru", 2, 0),
            ("gru", 3, 1),
            ("lstm", 2, 1),
            ("lstm", 3, 1),
            ("windows", 32, 2),
        ]


ARGUMENTS = """
[[sweep]]
cell = ["mine.py:A", "mine.py:B(depth=2)"]
reference = "gru"
arguments = {theta = [16, 32], norm = true, mode = "a b"}
"""


def test_arguments_of_constructors_are_swept_as_axes_are(tmp_path: Path) -> None:
    (tmp_path / "mine.py").touch()
    chosen = suite(tmp_path, ARGUMENTS)
    [group] = groups(chosen)
    first, reference, *others = [case.cell for case in group.cases]
    assert (first, reference) == ("mine.py:A(theta=16,norm=True,mode='a b')", "torch.nn.GRU")
    assert others[-1] == "mine.py:B(depth=2,theta=32,norm=True,mode='a b')"
    assert len(group.cases) == 1 + 2 * 2
    assert chosen.arguments == ["theta", "norm", "mode", "depth"]
    assert values(chosen.cases())["theta"] == ["16", "32"]


@pytest.mark.parametrize(
    ("only", "cells"), [("theta=16", 3), ("theta=16 depth=2", 2), ("norm=true", 5), ("mode='a b' theta=16,32", 5)]
)
def test_only_can_name_an_argument(tmp_path: Path, only: str, cells: int) -> None:
    (tmp_path / "mine.py").touch()
    chosen = suite(tmp_path, ARGUMENTS)
    [group] = chosen.groups(parse_only([only], arguments=chosen.arguments), None)
    assert len(group.cases) == cells  # the reference is kept
    for case in group.cases:
        again = parse_only([expression(case)])
        assert [kept for other in chosen.groups(again, None) for kept in other.cases if kept == case]
