"""What a suite measures, read without pydantic: the same as by pydantic, or not at all."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnbench.errors import UserError
from rnnbench.suite import suites
from rnnbench.suite.axes import USUAL_VALUES
from rnnbench.suite.file import Sweep
from rnnbench.suite.places import content_of, shipped
from rnnbench.suite.plain import USUAL_NUMBERS, outline, outline_of
from rnnbench.suite.suites import Suite
from tests.suite.test_suites import ARGUMENTS, FAULTS

ANYTHING: list[Any] = [
    0,
    1,
    7,
    -1,
    2.5,
    0.5,
    1e9,
    float("nan"),
    True,
    False,
    "",
    "gru",
    "none",
    [],
    [[1]],
    {},
    {"a": 1},
]
AXIS_VALUES: dict[str, list[Any]] = {
    "cell": [
        "gru",
        "lstm",
        "windows",
        "no",
        "m.x:A",
        "m.x:A(theta=1)",
        "m.x:A(1)",
        "a b:C",
        "checks.py:A",
        "lost.py:A",
    ],
    "reference": ["lstm", "none", "gru", "windows", "lstn", "m.x:B", "lost.py:B"],
    "implementation": ["loop", "torch.nn", "hoisted", "per_item", "reference", "lop"],
    "phase": ["inference", "training", "step", "loading", "epoch"],
    "input": ["features", "tokens:10", "tokens:0", "frames:3x8x8"],
    "dtype": ["float32", "float31"],
    "dropout": [0.0, 0.1, 1.0, 0, float("inf")],
    "optimizer": ["sgd", "adam-fused", "m.x:f", "adamant"],
    "loss": ["mse", "m.x:loss", "mean"],
    "clip": [0.0, 1.5, 1, -0.5],
    "bidirectional": [True, 1],
    "samples": [64, 0],
    "workers": [0, 2],
    "arguments": [{"theta": 1}, {"theta": [1, 2], "norm": True}, {"threads": 1}, {"a b": 1}, {"theta": []}],
    "batch_size": [1, 1 << 63, "1"],
    "nonlinearity": ["relu", "sigmoid"],
}
VALUES = st.one_of(st.sampled_from(ANYTHING), st.floats(allow_nan=True), st.integers())


def of_axis(axis: str) -> st.SearchStrategy[Any]:
    own = st.sampled_from(AXIS_VALUES.get(axis, ANYTHING))
    return st.one_of(own, st.lists(own, max_size=2), st.sampled_from(ANYTHING))


KEYS = st.sampled_from([*USUAL_VALUES, "reference", "arguments", "file", "hiden_size"])
SWEEPS = st.dictionaries(KEYS, st.none(), max_size=3).flatmap(
    lambda keys: st.fixed_dictionaries({key: of_axis(key) for key in ("cell", *keys)})
)
NUMBER_TABLES = st.dictionaries(st.sampled_from([*USUAL_NUMBERS, "most_replicates", "margins"]), VALUES, max_size=2)
CONTENTS = st.fixed_dictionaries(
    {"name": st.sampled_from(["mine", "mine", "mine", "a b", "", 3]), "sweep": st.lists(SWEEPS, max_size=2)},
    optional={"measure": NUMBER_TABLES, "check": NUMBER_TABLES, "description": VALUES, "title": VALUES},
)


@pytest.mark.parametrize("name", sorted(shipped()))
def test_every_suite_of_rnnbench_is_read_plainly_and_measures_what_pydantic_reads(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = suites.read(name)
    monkeypatch.setattr(suites, "read", None)
    assert outline(shipped()[name]) == whole.outline
    assert whole.outline.count() == len(whole.cases())
    if len(whole.cases()) < 1000:
        assert outline(shipped()[name]).groups({}, "cuda:1") == whole.groups({}, "cuda:1")


@given(CONTENTS)
def test_what_is_read_plainly_is_valid_and_measures_what_pydantic_reads(content: dict[str, Any]) -> None:
    root = Path(__file__).parents[1] / "doubles"
    found = outline_of(content, Path("mine.toml"), root)
    if found is not None:
        whole = Suite.model_validate(content | {"file": Path("mine.toml")}, context={"root": root})
        assert found == whole.outline
        assert found.cases() == whole.cases()
        assert found.count() == len(found.cases())


def test_a_users_suite_with_arguments_and_usual_settings_is_read_plainly(tmp_path: Path) -> None:
    (tmp_path / "mine.py").touch()
    text = f"name = 'mine'\n[measure]\nreplicates = 2\nmax_replicates = 3\n[check]\nmargin = 0.1\n{ARGUMENTS}"
    (tmp_path / "mine.toml").write_text(text)
    whole = suites.read(str(tmp_path / "mine.toml"))
    content = content_of(whole.file)
    assert outline_of(content, whole.file, tmp_path) == whole.outline
    assert len(whole.cases()) == 5


@pytest.mark.parametrize("kind", FAULTS)
def test_a_suite_with_a_fault_is_refused_in_the_words_of_whoever_measures_it(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(f'name = "mine"\n{FAULTS[kind]}')
    with pytest.raises(UserError) as of_whole:
        suites.read(str(file))
    with pytest.raises(UserError) as of_outline:
        outline(file)
    assert str(of_outline.value) == str(of_whole.value)


def test_the_usual_values_are_those_of_every_axis_of_a_sweep() -> None:
    fields = Sweep.model_fields
    assert {axis: fields[axis].default for axis in fields.keys() - {"cell", "reference", "arguments"}} == USUAL_VALUES
