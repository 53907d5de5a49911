import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from rnnbench.store.folder import RunFolder, read_profiles
from rnnbench.store.profiles import CATEGORIES, PARTS, Cause, Kernels, Operator, Products, Profile

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
)
CAUSES = st.builds(Cause, st.just("copy"), st.text(), st.integers(0, 99), SECONDS)
BY_LIBRARY = st.dictionaries(st.text(), SECONDS, max_size=3)
PRODUCTS = st.builds(Products, st.text(), st.integers(0, 99), BY_LIBRARY, BY_LIBRARY)
TIMES: dict[str, tuple[float, ...]] = {"call": (1.0,)}
PROFILES = st.builds(
    Profile,
    case=st.text(),
    status=st.sampled_from(["profiled", "failed"]),
    reason=st.text(),
    times=st.dictionaries(st.text(), SECONDS, max_size=3),
    operators=st.lists(OPERATORS, max_size=3).map(tuple),
    causes=st.lists(CAUSES, max_size=3).map(tuple),
    products=st.none() | PRODUCTS,
    kernels=st.none() | st.just(Kernels(3, {"products": 1e-3}, 1)),
    no_kernels=st.text(),
    peak_bytes=st.none() | st.integers(0, 99),
    files=st.dictionaries(st.text(), st.text(), max_size=2),
    notes=st.lists(st.text(), max_size=2).map(tuple),
)


@given(PROFILES)
def test_a_profile_survives_its_line(taken: Profile) -> None:
    assert Profile.from_json(json.loads(json.dumps(taken.to_json()))) == taken


@given(PROFILES)
def test_keys_that_are_not_known_are_ignored_in_a_profile_and_in_its_parts(taken: Profile) -> None:
    line = json.loads(json.dumps(taken.to_json()))
    for entry in (line, *line["operators"], *line["causes"], *filter(None, [line["products"], line["kernels"]])):
        entry["of_a_newer_rnnbench"] = [1]
    assert Profile.from_json(line) == taken


def test_the_last_line_of_a_case_counts(tmp_path: Path) -> None:
    assert read_profiles(tmp_path) == {}
    first, other = Profile("a", times=TIMES), Profile("b", times=TIMES)
    folder = RunFolder(tmp_path)
    for entry in (Profile("a", "failed", "busy"), first, other):
        folder.add_profile(entry)
    folder.close()
    assert read_profiles(tmp_path) == {"a": first, "b": other}
