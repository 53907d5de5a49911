"""Suite files: what they mean, and every fault of one named at once."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnbench import suites
from rnnbench.errors import UserError
from rnnbench.store.records import AXES, Group
from rnnbench.suite_file import CheckSettings
from rnnbench.suites import Suite, parse_only


def suite(folder: Path, text: str) -> Suite:
    file = folder / "mine.toml"
    file.write_text('name = "mine"\n' + text)
    return suites.read(str(file))


def groups(chosen: Suite, *only: str, device: str | None = None) -> list[Group]:
    return chosen.groups(parse_only(only), device, most=suites.MOST_CASES)


@pytest.mark.parametrize(
    "name", ["notebook", "quick", "cpu", "cuda", "cuda-full", "published", "published-full", "data", "training"]
)
def test_every_shipped_suite_can_be_read_and_each_group_has_one_reference(name: str) -> None:
    for group in groups(suites.read(name)):
        assert sum(case.is_reference for case in group.cases) == 1
        assert {case.workload for case in group.cases} == {group.workload}


def test_the_notebook_suite_has_the_tutorials_sizes() -> None:
    workloads = [group.workload for group in groups(suites.read("notebook"))]
    sizes = {(w.batch_size, w.seq_len, w.input_size, w.hidden_size, w.output_size, w.num_layers) for w in workloads}
    assert sizes == {(batch, 5, 10, 20, 5, layers) for batch in (32, 128) for layers in (1, 3)}


def test_cells_with_the_same_reference_share_its_case(tmp_path: Path) -> None:
    [group] = groups(suite(tmp_path, '[[sweep]]\ncell = ["vanilla", "combined"]'))
    assert [(case.cell, case.implementation) for case in group.cases] == [
        ("vanilla", "loop"),
        ("torch.nn.RNN", "torch.nn"),
        ("combined", "loop"),
    ]


def test_a_sweep_is_the_product_of_its_axes_and_overrides_the_defaults(tmp_path: Path) -> None:
    sweeps = "[[sweep]]\ncell = 'gru'\n[[sweep]]\ncell = 'lstm'\nbatch_size = 7"
    text = "[defaults]\nbatch_size = [1, 2]\nseq_len = 3\n" + sweeps
    found = [(g.workload.reference, g.workload.batch_size, g.workload.seq_len) for g in groups(suite(tmp_path, text))]
    assert found == [("gru", 1, 3), ("gru", 2, 3), ("lstm", 7, 3)]


def test_the_same_case_in_two_sweeps_is_measured_once(tmp_path: Path) -> None:
    [group] = groups(suite(tmp_path, '[[sweep]]\ncell = "gru"\n[[sweep]]\ncell = "gru"'))
    assert len(group.cases) == 2


def test_only_keeps_the_reference_of_what_it_keeps() -> None:
    kept = groups(suites.read("quick"), "cell=lstm implementation=hoisted", "batch_size=1 seq_len=16 hidden_size=64")
    assert {(case.cell, case.implementation) for group in kept for case in group.cases} == {
        ("lstm", "hoisted"),
        ("torch.nn.LSTM", "torch.nn"),
    }


def test_a_cases_key_is_an_only_expression_that_selects_it() -> None:
    quick = suites.read("quick")
    wanted = groups(quick)[3].cases[0]
    [group] = groups(quick, wanted.key)
    assert wanted in group.cases
    assert all(case == wanted or case.is_reference for case in group.cases)


def test_device_replaces_the_suites_own() -> None:
    assert {group.workload.device for group in groups(suites.read("quick"), device="cuda:1")} == {"cuda:1"}


@pytest.mark.parametrize(
    ("only", "words"),
    [
        ("hidden=3", "no axis 'hidden' .did you mean 'hidden_size'"),
        ("cell", "want cell=VALUE"),
        ("cell=", "want cell=VALUE"),
        ("cell=gru,", "want cell=VALUE"),
        ("cell=gru cell=lstm", "cell is named twice"),
        ("hidden_size=3", "hidden_size=3: the suite has hidden_size=64,256"),
        ("cell=glu", "cell=glu .did you mean 'gru'.*: the suite has cell=vanilla,combined,lstm,gru,"),
        ("cell=deep hidden_size=256", "no case has all of these values at once"),
    ],
)
def test_an_only_that_can_not_be_met_says_what_could(only: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        groups(suites.read("quick"), only)


@given(st.text(max_size=30))
def test_any_only_is_understood_or_refused_in_words(text: str) -> None:
    understood = all(term.partition("=")[0] in AXES for term in text.split())
    if not understood:
        with pytest.raises(UserError, match="--only"):
            parse_only([text])
    elif not text.split():
        assert parse_only([text]) == {}


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


def test_every_fault_is_named_at_once_with_its_place_and_what_would_be_right(tmp_path: Path) -> None:
    with pytest.raises(UserError) as raised:
        suite(tmp_path, FAULTY)
    lines = str(raised.value).splitlines()
    assert all(line.startswith(f"{tmp_path}/mine.toml: ") for line in lines)
    for words in (
        "measure.replicats: unknown key (did you mean 'replicates'?)",
        "measure.windows: 3: input should be a multiple of 2",
        "measure.cold_cache: 'yes': input should be a valid boolean",
        "defaults.batchsize: unknown key (did you mean 'batch_size'?)",
        "sweep[0].implementation[0]: 'lop' is not one of loop, hoisted, transposed, compiled, cudagraph, "
        "sequence, torch.nn-cell, torch.nn-padded, torch.nn, per_item, vectorised (did you mean 'loop'?)",
        "sweep[0].seq_len[0]: 0 is not a whole number of 1 or more",
        "sweep[0].hidden_size: empty; want at least one value",
        "sweep[0].output_size[0]: '3' is not a whole number of 1 or more",
        "sweep[1].cell: missing",
        "sweep[1].hiden_size: unknown key (did you mean 'hidden_size'?)",
        "sweep[0].cell: 'lstmm': no such cell (did you mean 'lstm'?); there are vanilla, combined",
        "sweep[0].cell: 'nowhere.py:Mine': no file ",
        "sweep[1].reference: 'lstn' is not one of rnn, lstm, gru, none (did you mean 'lstm'?)",
    ):
        assert any(words in line for line in lines), words
    assert len(lines) == 13


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[sweep]\ncell = 1", r"not TOML: .*at line 2, column \d"),
        ("", "sweep: missing"),
        ("sweep = 3", "sweep: 3: want tables, each below a line "),
        ('[sweep]\ncell = "gru"', r"sweep: .*: want tables, each below a line \[\[sweep\]\]"),
        ("sweep = [3]", r"sweep\[0\]: 3: "),
        ("sweep = []", "sweep: empty"),
        ('defaults = 3\n[[sweep]]\ncell="gru"', "defaults: want a table, found 3"),
        ('[[sweep]]\ncell = [["gru"]]', r"sweep\[0\].cell\[0\]: \['gru'\]"),
        ('[[sweep]]\ncell = "gru"\ndropout = -0.1', r"dropout\[0\]: -0.1: input should be greater than or equal to 0"),
        (
            '[measure]\ndeadline_seconds = 1e9\n[[sweep]]\ncell = "gru"',
            "deadline_seconds: 1000000000.0: input should be less",
        ),
        ('[[sweep]]\ncell = "gru"\nbatch_size = true', r"batch_size\[0\]: True is not a whole number"),
        ('[[sweep]]\ncell = "gru"\nbatch_size = 9223372036854775808', r"batch_size\[0\]: 9\d+ is too large; want less"),
        ('[measure]\nbudget_seconds = inf\n[[sweep]]\ncell = "gru"', "budget_seconds: inf: .* a finite number"),
        (
            '[measure]\nreplicates = 30\nmost_replicates = 29\n[[sweep]]\ncell = "gru"',
            "replicates: 30 is more than most_replicates, 29; want",
        ),
    ],
)
def test_a_file_of_the_wrong_shape_is_refused_in_words(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        suite(tmp_path, text)


def test_a_name_that_no_folder_can_have_is_refused_in_words(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('name = "../mine"\n[[sweep]]\ncell = "gru"\n')
    with pytest.raises(UserError, match=r"name: '\.\./mine' can't name a run; want letters, digits, '\.', "):
        suites.read(str(file))


def test_of_very_many_faults_the_first_are_told(tmp_path: Path) -> None:
    with pytest.raises(UserError) as raised:
        suite(tmp_path, f"[[sweep]]\ncell = 'gru'\nbatch_size = {[0] * 1000}")
    lines = str(raised.value).splitlines()
    assert len(lines) == 21
    assert lines[-1].endswith("mine.toml: and 980 faults more")


@given(st.binary(max_size=60))
def test_any_file_is_read_or_refused_in_words(tmp_path_factory, content: bytes) -> None:
    file = tmp_path_factory.mktemp("suites") / "mine.toml"
    file.write_bytes(content)
    with pytest.raises(UserError, match=r"mine\.toml: "):
        suites.read(str(file))


@pytest.mark.parametrize(
    ("name", "words"),
    [("quik", r"did you mean 'quick'\?\); there are: ci, cpu, cuda"), ("no/such.toml", "no suite file no/such.toml")],
)
def test_a_suite_that_does_not_exist_says_which_do(name: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        suites.read(name)


def test_a_suite_in_the_current_folder_hides_a_shipped_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "suites").mkdir()
    (tmp_path / "suites" / "quick.toml").write_text('name = "mine"\n[[sweep]]\ncell = "gru"')
    monkeypatch.chdir(tmp_path)
    assert suites.read("quick").name == "mine"
    assert suites.read("notebook").name == "notebook"


def test_a_million_cases_are_asked_about_before_they_are_made(tmp_path: Path) -> None:
    sizes = list(range(1, 79))
    chosen = suite(tmp_path, f'[[sweep]]\ncell = "gru"\nbatch_size = {sizes}\nseq_len = {sizes}\nhidden_size = {sizes}')
    with pytest.raises(UserError, match=r"949,104 cases, more than 20,000; narrow them with --only, or confirm"):
        groups(chosen)
    assert len(groups(chosen, "batch_size=3 seq_len=4")) == 78


def test_a_users_own_cell_is_timed_against_the_layer_that_its_sweep_names(tmp_path: Path) -> None:
    (tmp_path / "cell.py").write_text("")
    [group] = groups(suite(tmp_path, '[[sweep]]\ncell = "cell.py:Mine"\nreference = "lstm"'))
    assert [case.cell for case in group.cases] == ["cell.py:Mine", "torch.nn.LSTM"]


@pytest.mark.parametrize("reference", ["", 'reference = "none"'])
def test_without_a_reference_a_cell_of_ones_own_stands_alone(tmp_path: Path, reference: str) -> None:
    (tmp_path / "cell.py").write_text("")
    text = f'[[sweep]]\ncell = ["cell.py:Mine", "gru"]\nimplementation = ["loop", "torch.nn"]\n{reference}'
    found = groups(suite(tmp_path, text))
    assert [(group.workload.reference, [case.cell for case in group.cases]) for group in found] == [
        ("none", ["cell.py:Mine"]),
        ("gru", ["gru", "torch.nn.GRU"]),
    ]
    with pytest.raises(UserError, match=r"cell=glu .*: the suite has cell=cell.py:Mine,gru,torch.nn.GRU"):
        groups(suite(tmp_path, text), "cell=glu")


def test_margins_are_the_suites_own_unless_a_rule_selects_the_case(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(
        'name = "mine"\n[check]\nmargin = 0.03\n'
        'margins = [{only = "cell=gru", margin = 0.1}, {only = "cell=gru batch_size=1", margin = 0.2}]\n'
        '[[sweep]]\ncell = ["lstm", "gru"]\nbatch_size = [1, 2]\nimplementation = "loop"\n'
    )
    suite = suites.read(str(file))
    cases = [case for group in suite.groups({}, None, most=None) for case in group.cases]
    found = {
        f"{case.cell} {case.workload.batch_size}": suites.margins(suite.content.check, cases)[case.key]
        for case in cases
    }
    assert found == {"lstm 1": 0.03, "lstm 2": 0.03, "gru 1": 0.2, "gru 2": 0.1}
    changed = suite.with_check(margin=0.5, budget_seconds=None).content.check
    assert set(suites.margins(changed, cases).values()) == {0.5}
    assert changed.budget_seconds == 120


def test_a_margin_rule_that_names_no_axis_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('name = "mine"\n[check]\nmargins = [{only = "cel=gru", margin = 0.1}]\n[[sweep]]\ncell = "gru"\n')
    with pytest.raises(UserError, match=r"mine.toml: check.margins\[0\].only: cel=gru: no axis 'cel' \(did you mean"):
        suites.read(str(file))
    rule = CheckSettings.model_validate({"margins": [{"only": "cel=gru", "margin": 0.1}]})  # a stored run's
    with pytest.raises(UserError, match=r"check.margins\[0\].only: cel=gru: no axis 'cel'"):
        suites.margins(rule, [])


LOADING = "[[sweep]]\ncell = 'windows'\nphase = 'loading'\nimplementation = ['per_item', 'vectorised']\n"


def test_a_data_set_is_held_against_itself_loaded_item_by_item(tmp_path: Path) -> None:
    both = suite(tmp_path, LOADING.replace("'windows'", "['regular', 'windows']") + "samples = 64\nworkers = [0, 2]")
    found = [
        (group.workload.reference, group.workload.workers, [(case.cell, case.implementation) for case in group.cases])
        for group in groups(both)
    ]
    assert found == [
        (name, workers, [(name, "per_item"), (name, "vectorised")])
        for name in ("regular", "windows")
        for workers in (0, 2)
    ]
    assert all(case.is_reference == (case.implementation == "per_item") for g in groups(both) for case in g.cases)


def test_only_what_loads_has_samples_and_workers(tmp_path: Path) -> None:
    text = "[[sweep]]\ncell = 'gru'\nphase = ['step', 'epoch']\nsamples = 64\nworkers = [0, 1]"
    found = [(g.workload.phase, g.workload.samples, g.workload.workers) for g in groups(suite(tmp_path, text))]
    assert found == [("step", 0, 0), ("epoch", 64, 0), ("epoch", 64, 1)]


def test_a_key_of_a_case_that_loads_selects_it_alone(tmp_path: Path) -> None:
    chosen = suite(tmp_path, LOADING + "workers = [0, 1]")
    for wanted in groups(chosen)[0].cases:
        [group] = groups(chosen, wanted.expression)
        assert group.workload == wanted.workload


def test_cells_and_data_sets_do_not_mix_in_a_sweep(tmp_path: Path) -> None:
    with pytest.raises(UserError) as raised:
        suite(tmp_path, "[[sweep]]\ncell = ['windows', 'gru']\nphase = 'epoch'\nimplementation = 'per_item'")
    faults = [line.partition("mine.toml: ")[2] for line in str(raised.value).splitlines()]
    assert faults == [
        "sweep[0].cell: 'gru' can't be swept with data sets, which want cell = regular, windows, overlapping",
        "sweep[0].phase: 'epoch' can't be swept with data sets, which want phase = loading",
    ]


def test_a_number_of_workers_may_be_none_and_not_less(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"sweep\[0\]\.workers\[0\]: -1 is not a whole number of 0 or more"):
        suite(tmp_path, LOADING + "workers = -1")


def test_a_trillion_cases_are_refused_without_being_made(tmp_path: Path) -> None:
    sizes = list(range(1, 10_001))
    chosen = suite(tmp_path, f'[[sweep]]\ncell = "gru"\nbatch_size = {sizes}\nseq_len = {sizes}\nhidden_size = {sizes}')
    with pytest.raises(UserError, match=r"2,000,000,000,000 cases, and a run holds 1,000,000 at most; narrow them"):
        chosen.groups({}, None, most=None)


@pytest.mark.parametrize("text", ["a = " + "[" * 100_000, "a = " + "1" * 10_000])
def test_a_file_that_is_nested_without_end_or_has_endless_numbers_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(UserError, match="not TOML: "):
        suite(tmp_path, text)


def test_a_suite_may_want_more_replicates_than_are_usual(tmp_path: Path) -> None:
    assert suite(tmp_path, '[measure]\nreplicates = 30\n[[sweep]]\ncell = "gru"').settings.replicates == 30


def test_each_group_knows_the_first_sweep_that_has_it_on_whatever_device(tmp_path: Path) -> None:
    text = (
        "[[sweep]]\ncell = 'gru'\nbatch_size = [1, 2]\n[[sweep]]\ncell = ['gru', 'lstm']\nbatch_size = [2, 3]\n"
        "[[sweep]]\ncell = 'windows'\nphase = 'loading'\nimplementation = 'per_item'\nworkers = 2"
    )
    for device in (None, "cuda:1"):
        found = groups(suite(tmp_path, text), device=device)
        sweeps = [(group.workload.reference, group.workload.batch_size, group.sweep) for group in found]
        assert sweeps == [
            ("gru", 1, 0),
            ("gru", 2, 0),
            ("gru", 3, 1),
            ("lstm", 2, 1),
            ("lstm", 3, 1),
            ("windows", 32, 2),
        ]
