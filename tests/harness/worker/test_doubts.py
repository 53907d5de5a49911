"""What code names that makes it impossible to follow."""

import pickle
import pydoc
import sys

import pytest

from rnnbench.harness.protocol import Doubt
from rnnbench.harness.worker.doubts import (
    MAY_START_PROCESS,
    OPENS_PATHS,
    READS_TEXT,
    RUNS_ANY,
    doubtful_objects,
    doubts_of_names,
)


@pytest.mark.parametrize(
    ("names", "imports", "doubts"),
    [
        ({"eval"}, [], {RUNS_ANY}),
        ({".eval"}, [], set()),  # a module's own, as `model.eval()`
        ({"builtins.eval", ".eval"}, [], {RUNS_ANY}),
        ({".loads"}, [("pickle", ("loads",))], {RUNS_ANY}),  # from pickle import loads, in a function
        ({"p.loads", ".loads"}, [("pickle", ())], {RUNS_ANY}),  # import pickle as p
        ({"json.loads", ".loads"}, [("json", ())], set()),
        ({"subprocess.run", ".run"}, [], {MAY_START_PROCESS, OPENS_PATHS}),
        ({".run"}, [], set()),
        ({".__doc__"}, [], {READS_TEXT}),
        ({"torch.stack", ".stack"}, [], set()),
        ({"inspect.stack", ".stack"}, [], {READS_TEXT}),
        ({"open"}, [], set()),  # perhaps a function of the code: the object tells
        ({"path.open", ".open"}, [], {OPENS_PATHS}),
        ({"__file__"}, [], set()),
    ],
)
def test_names_are_doubts_by_their_kind(
    names: set[str], imports: list[tuple[str, tuple[str, ...]]], doubts: set[Doubt]
) -> None:
    assert {*doubts_of_names(names, imports)} == doubts


def test_objects_are_known_under_any_name_and_no_module_is_loaded_for_it() -> None:
    before = {*sys.modules}
    known = doubtful_objects()
    assert {*sys.modules} == before
    assert [known[id(value)] for value in (eval, pickle.loads, pydoc.locate, sys.modules)] == [{RUNS_ANY}] * 4
    assert known[id(open)] == {OPENS_PATHS}
    assert id(print) not in known
