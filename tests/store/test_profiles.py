import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnbench.errors import UserError
from rnnbench.store.folder import RunFolder, read_profiles
from rnnbench.store.profiles import CATEGORIES, PARTS, Cause, Kernels, Operator, Profile

SECONDS = st.lists(st.integers(0, 10**9).map(lambda n: n / 1e9), max_size=3).map(tuple)
OPERATORS = st.builds(
    Operator,
    st.text(),
    st.text(),
    st.sampled_from(list(CATEGORIES)),
    st.sampled_from(PARTS),
    st.integers(1, 99),
    st.integers(0, 99),
    SECONDS,
    SECONDS,
    st.none() | st.just(1e-6),
)
CAUSES = st.builds(Cause, st.just("copy"), st.text(), st.integers(0, 99), SECONDS, st.text())
PROFILES = st.builds(
    Profile,
    case=st.text(),
    status=st.sampled_from(["profiled", "failed"]),
    reason=st.text(),
    times=st.dictionaries(st.text(), SECONDS, max_size=3),
    operators=st.lists(OPERATORS, max_size=3).map(tuple),
    causes=st.lists(CAUSES, max_size=3).map(tuple),
    kernels=st.none() | st.just(Kernels(3, {"products": 1e-3}, 1)),
    memory=st.lists(st.tuples(st.integers(0, 9).map(float), st.integers(0, 9)), max_size=3).map(tuple),
    memory_parts=st.just((("forward", 0.0),)),
    files=st.dictionaries(st.text(), st.text(), max_size=2),
    notes=st.lists(st.text(), max_size=2).map(tuple),
)


@given(PROFILES)
def test_a_profile_survives_its_line(profile: Profile) -> None:
    assert Profile.from_json(json.loads(json.dumps(profile.to_json()))) == profile


def test_the_last_line_of_a_case_counts(tmp_path: Path) -> None:
    assert read_profiles(tmp_path) == {}
    folder = RunFolder(tmp_path)
    folder.add_profile(Profile("a", "failed", "busy"))
    folder.add_profile(Profile("a", times={"call": (1.0,)}))
    folder.add_profile(Profile("b"))
    folder.close()
    assert read_profiles(tmp_path) == {"a": Profile("a", times={"call": (1.0,)}), "b": Profile("b")}


@pytest.mark.parametrize("line", ['{"x": 1}', '{"case": "a", "operators": [{"name": "x", "seconds": [1]}]}'])
def test_a_line_that_is_no_profile_is_said_in_one_line(tmp_path: Path, line: str) -> None:
    (tmp_path / "profiles.jsonl").write_text(line + "\n")
    with pytest.raises(UserError, match=r"profiles\.jsonl: a line is no profile"):
        read_profiles(tmp_path)
