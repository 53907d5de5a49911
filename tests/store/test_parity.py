"""Whether a case does its reference's work: files hold the facts, and sentences of users' frames are read."""

import json
from dataclasses import replace
from typing import get_args

import pytest

from rnnbench.store.parity import AGREES, IS_REFERENCE, UNKNOWN, Parity, ParityKind, parities

SAMPLES = {
    "unknown": UNKNOWN,
    "agrees": AGREES,
    "reference": IS_REFERENCE,
    "differs": Parity("differs", size=1.4, types=("float32", "bfloat16")),
    "unsound": Parity("unsound", unsound=(3, 40)),
    "beside unsound": Parity("beside unsound", why="torch: the old one"),
    "cached": Parity("cached", size=0.01),
    "uncompared": Parity("uncompared", why="no weight mapping: offer `weights_from`; or none"),
    "other": Parity("other", why="mine can't run here: no AVX-512"),
}
NOTE = "no gradient reaches weight_hh, bias"


def test_there_is_a_sample_of_each_kind() -> None:
    assert set(SAMPLES) == set(get_args(ParityKind))


@pytest.mark.parametrize("kind", SAMPLES)
def test_a_sentence_is_read_back_as_what_it_was_made_from(kind: str) -> None:
    parity = SAMPLES[kind]
    assert Parity.read(str(parity)) == parity
    if kind not in ("unknown", "other", "uncompared"):  # whose words are not ours
        for more in (replace(parity, is_late=True), replace(parity, note=NOTE)):
            assert Parity.read(str(more)) == more


@pytest.mark.parametrize("kind", SAMPLES)
def test_a_file_holds_the_kind_and_what_else_is_known(kind: str) -> None:
    for parity in (SAMPLES[kind], replace(SAMPLES[kind], is_late=True, note=NOTE)):
        line = json.loads(json.dumps(parity.to_json()))
        assert line["kind"] == kind
        assert Parity.from_json(line) == parity
    assert AGREES.to_json() == {"kind": "agrees"}


def test_a_users_frame_has_sentences_or_nothing_and_both_are_read() -> None:
    assert parities([AGREES, "is the reference", float("nan"), ""]) == [AGREES, IS_REFERENCE, UNKNOWN, UNKNOWN]


def test_the_reference_may_give_values_that_are_not_finite() -> None:
    parity = Parity("reference", unsound=(1, 2))
    assert str(parity) == "is the reference, 1 of 2 values are NaN or infinite"
    assert Parity.read(str(parity)) == parity
    assert parity.is_unsound
    assert not parity.is_only_timed


def test_only_what_agrees_before_and_after_does_equal_work() -> None:
    known = [AGREES, replace(AGREES, types=("float32", "float64")), replace(AGREES, note=NOTE)]
    assert all(parity.is_equal_work for parity in known)
    others = [parity for kind, parity in SAMPLES.items() if kind != "agrees"]
    assert not any(parity.is_equal_work for parity in [*others, replace(AGREES, is_late=True)])


def test_what_is_brief_leaves_out_reasons_and_advice() -> None:
    assert [parity.brief for parity in SAMPLES.values()] == [
        "",
        "agrees",
        "is the reference",
        "differs by 1.4e+00 of the maximum (float32 against bfloat16)",
        "3 of 40 values are NaN or infinite",
        "not compared, as torch: the old one's output is NaN or infinite",
        "agrees, but takes 1% of the time when values come again",
        "not compared",
        "mine can't run here: no AVX-512",
    ]
    assert [parity.word for parity in SAMPLES.values()] == [
        *("unknown", "agree", "unknown", "unknown", "unknown", "unknown", "cached?", "unknown", "unknown"),
    ]
