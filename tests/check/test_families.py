"""Which cases share a changed definition."""

import pytest

from rnnbench.check.families import changed_definitions, families, first_of_each
from tests.doubles import workload as small
from tests.doubles.workload import case

CASES = [case(cell, batch_size=size) for cell in ("vanilla", "gru") for size in (1, 2, 3)]
VANILLA, GRU = ([each.key for each in CASES if each.cell == cell] for cell in ("vanilla", "gru"))
MARGINS = dict.fromkeys(VANILLA + GRU, 0.025)


def reply(*parts: str, ok: bool = True) -> dict[str, object]:
    return {"ok": ok, "code": [*parts], "doubts": []}


@pytest.mark.parametrize(
    ("base", "head", "expected"),
    [
        (reply("a.py:A 1", "a.py:helper 1"), reply("a.py:A 2", "a.py:helper 1"), {"a.py:A"}),
        (reply("a.py:A 1"), reply("a.py:A 2", "b.py:new 1"), {"a.py:A", "b.py:new"}),
        (reply("a.py:<module> 1", "a.py:A 1"), reply("a.py:<module> 2", "a.py:A 1"), {"a.py"}),
        (reply("a.py:A 1"), reply("a.py:A 1"), set()),
        (reply("a.py:A 1"), reply(ok=False), set()),
    ],
)
def test_a_changed_definition_is_one_whose_code_differs_or_that_one_side_lacks(
    base: dict[str, object], head: dict[str, object], expected: set[str]
) -> None:
    assert changed_definitions({"base": base, "head": head}) == expected
    assert changed_definitions({"base": base}) == set()


def test_cases_that_reach_a_changed_definition_are_a_family_and_a_case_may_be_in_several() -> None:
    definitions = {key: frozenset({"util.py:gate"}) for key in VANILLA + GRU}
    definitions |= {key: frozenset({"util.py:gate", "cells.py:GRU"}) for key in GRU}
    assert families(definitions, CASES, MARGINS) == {"cells.py:GRU": tuple(GRU), "util.py:gate": tuple(VANILLA + GRU)}


def test_cases_of_a_cell_are_a_family_where_nobody_knows_what_changed() -> None:
    definitions = {key: frozenset({"cells.py:Vanilla"}) for key in VANILLA}
    assert families(definitions, CASES, MARGINS) == {"cells.py:Vanilla": tuple(VANILLA), "gru": tuple(GRU)}
    assert families({}, CASES, MARGINS) == {"gru": tuple(GRU), "vanilla": tuple(VANILLA)}


def test_definitions_with_the_same_cases_are_one_family_and_a_case_alone_is_none() -> None:
    definitions = {key: frozenset({"a.py:A", "b.py:B"}) for key in VANILLA}
    definitions |= {GRU[0]: frozenset({"c.py:C"}), GRU[1]: frozenset({"d.py:D"}), GRU[2]: frozenset({"e.py:E"})}
    assert families(definitions, CASES, MARGINS) == {"a.py:A and 1 other definition": tuple(VANILLA)}


def test_cases_with_unlike_margins_are_not_judged_together() -> None:
    assert families({}, CASES, MARGINS | {GRU[0]: 0.1}) == {"gru (margin 2.5%)": (*GRU[1:],), "vanilla": (*VANILLA,)}
    assert families({}, CASES[:2], {VANILLA[0]: 0.1, VANILLA[1]: 0.025}) == {}


def test_the_case_of_each_changed_definition_that_does_the_least_comes_first() -> None:
    cases = [small.case("gru", phase=phase, batch_size=size) for size in (8, 1) for phase in ("training", "inference")]
    other = small.case("lstm", batch_size=8)
    definitions = {case.key: frozenset({"mine.py:Mine"}) for case in cases}
    assert first_of_each([*cases, other], definitions) == [cases[3], other]
