"""The suites for a GPU take as long as they claim, according to the estimate."""

import re

import pytest

from rnnbench import suites
from rnnbench.expressions import parse_only
from rnnbench.harness.coordinator.preliminaries import OBSERVING_SHARE
from rnnbench.store.records import Case, Group
from tests.gpu.estimate import Estimate, call_seconds, estimate, lines

MINUTES = {"cuda": 8, "published": 8, "cuda-full": 100, "published-full": 65}
CORES = ("cuda", "published")


def groups(name: str, *only: str) -> list[Group]:
    return suites.read(name).groups(parse_only(only), None, most=None)


def estimated(name: str) -> Estimate:
    return estimate(groups(name), suites.read(name).settings)


@pytest.mark.parametrize("name", MINUTES)
def test_a_suite_takes_the_minutes_that_its_description_states(name: str) -> None:
    result, suite = estimated(name), suites.read(name)
    hours, minutes = re.search(r"about (?:(\d+) h )?(\d+) min", suite.content.description).groups("0")
    stated = int(hours) * 60 + int(minutes)
    assert stated == MINUTES[name]
    assert result.total / 60 == pytest.approx(stated, rel=0.15)
    assert suite.settings.budget_seconds is not None
    assert result.total < 1.01 * suite.settings.budget_seconds
    assert result.observing < OBSERVING_SHARE * suite.settings.budget_seconds


@pytest.mark.parametrize("name", CORES)
def test_a_core_has_forty_groups_at_most_and_six_replicates(name: str) -> None:
    assert len(groups(name)) <= 40
    assert f"{len(groups(name))} groups" in suites.read(name).content.description
    assert suites.read(name).settings.replicates == 6


@pytest.mark.parametrize("name", CORES)
def test_the_full_suite_has_all_cases_of_its_core(name: str) -> None:
    full = {case.key for group in groups(f"{name}-full") for case in group.cases}
    assert {case.key for group in groups(name) for case in group.cases} <= full


@pytest.mark.parametrize(
    ("name", "only", "number"),
    [
        ("cuda", "cell=lstm batch_size=32 hidden_size=512 seq_len=32", 8),
        ("cuda", "cell=lstm,gru batch_size=32,256 hidden_size=512,2048 seq_len=256 dtype=float32,bfloat16", 96),
        ("cuda-full", "cell=lstm implementation=compiled batch_size=32 hidden_size=512 seq_len=32", 4),
        ("published", "batch_size=16 seq_len=1024 hidden_size=768", 18),
    ],
)
def test_what_a_gpu_is_to_show_first_can_be_selected(name: str, only: str, number: int) -> None:
    assert sum(len(group.cases) for group in groups(name, only)) == number


def test_a_loop_is_bound_by_its_operators_and_a_large_product_by_the_device() -> None:
    only = "cell=lstm phase=inference batch_size=32,256 hidden_size=512,2048 seq_len=256 dtype=float32"
    seconds = {
        (case.workload.batch_size, case.workload.hidden_size, case.implementation): call_seconds(case)
        for group in groups("cuda", only)
        for case in group.cases
    }
    assert seconds[32, 512, "loop"] == pytest.approx(13 * 256 * 10e-6, rel=0.1)  # 13 operators a step
    assert seconds[32, 512, "loop"] > 3 * seconds[32, 512, "cudagraph"] > 3 * seconds[32, 512, "torch.nn"]
    assert seconds[256, 2048, "loop"] == seconds[256, 2048, "torch.nn"]


def test_a_case_that_is_skipped_takes_no_time() -> None:
    [group] = groups("cuda-full", "cell=combined phase=inference dtype=float32 batch_size=1 hidden_size=128")
    cases = [case for case in group.cases if case.implementation != "hoisted"]
    settings = suites.read("cuda-full").settings
    assert Case("combined", "hoisted", group.workload) in group.cases
    assert estimate([group], settings) == estimate([Group(group.workload, tuple(cases))], settings)


def test_the_table_has_a_line_for_each_suite() -> None:
    table = list(lines(["cuda", "published"]))
    assert [line.split()[0] for line in table] == ["suite", "cuda", "published"]
