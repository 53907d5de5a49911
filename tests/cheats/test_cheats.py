"""Known cheats: through the command line, in the requests of a worker, and in the caller's own process."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import rnnbench
from rnnbench.harness.protocol import Building
from rnnbench.harness.turns.schedule import Turns
from rnnbench.harness.worker.answers import answer
from rnnbench.store.records import Case, Measurement, without_kept_work
from tests.cheats import cells
from tests.doubles import commands, repository
from tests.doubles import workload as small
from tests.doubles.visits import visit, worker_here
from tests.harness.live import QUICK

SUITE = """
name = "cheats"
[measure]
replicates = 1
max_replicates = 1
windows = 2
window_seconds = 0.002
[[sweep]]
cell = [{cells}]
reference = "rnn"
implementation = ["sequence", "torch.nn"]
batch_size = 4
seq_len = 3
input_size = 4
hidden_size = 8
"""
KEPT = r"agrees, but takes \d+% of the time when values come again: a cached result\?"
DISAGREES = "parity after timing: final h is off by "

pytestmark = pytest.mark.usefixtures("short_turns")


def suite(*names: str) -> str:
    return SUITE.format(cells=", ".join(f'"cells.py:{name}"' for name in names))


def test_a_run_fails_what_cheats(tmp_path: Path) -> None:
    shutil.copy(cells.__file__, tmp_path)
    (tmp_path / "cheats.toml").write_text(suite("Honest", "MemoByAddress"))
    done = commands.rnnbench("run", "cheats.toml", cwd=tmp_path, code=2)
    assert f": 1 of 3 cases could not be measured; the first: {DISAGREES}" in done.stderr
    printed = " ".join(done.stdout.split())
    assert DISAGREES in printed
    assert "2 of 3 cases in " in printed


def test_a_check_fails_a_head_that_keeps_results(tmp_path: Path) -> None:
    cheating = Path(cells.__file__).read_text()
    honest = f"{cheating}\n\nclass MemoByIdentity(nn.RNN):\n    pass\n"
    repository.commit(tmp_path, {"cheats.toml": suite("MemoByIdentity"), "cells.py": honest})
    (tmp_path / "cells.py").write_text(cheating)
    commands.rnnbench("check", "cheats.toml", "--base", "HEAD", "--budget", "60s", cwd=tmp_path, code=1)
    [file] = tmp_path.glob("results/*/verdicts.json")
    verdicts = json.loads(file.read_text())
    memo = next(each for each in verdicts["findings"] if each["cell"] == "cells.py:MemoByIdentity")
    assert memo["verdict"] == "regressed"
    assert memo["reason"].startswith(f"fails now: {DISAGREES}")


SIZES: dict[str, Any] = {"batch_size": 4, "hidden_size": 8, "dtype": "float32"}
BUILDING = Building(str(Path(__file__).parent), 64)
TURNS = Turns(turns=2, blocks=3, calls=5, is_warm=False)
VISITS = 2


def case_of(name: str, **axes: Any) -> Case:
    return Case(f"cells.py:{name}", "sequence", small.workload(**{**SIZES, **axes}))


def outcome(case: Case, visits: int = VISITS) -> str:
    """Do what a run does with one case; returns the first reason for which it fails."""
    observer, worker = (worker_here() for _ in range(2))
    observed: Any = answer(observer, {**BUILDING.request("observe", case)})
    if not observed["ok"]:
        return str(observed["reason"])
    requests = [
        BUILDING.request("prepare", case, window_seconds=0.001, call_seconds=1e-4),
        *[visit(case, turns=TURNS)] * visits,
    ]
    requests += [BUILDING.request("verify", case)]
    replies: list[Any] = []
    for request in requests:
        replies.append(answer(worker, {**request}))
        if not replies[-1]["ok"]:
            return str(replies[-1]["reason"])
    return ""


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("MemoByIdentity", "parity after timing: final h is off by"),
        ("MemoByAddress", "parity after timing: final h is off by"),
        ("FirstResult", "parity after timing: final h is off by"),
        ("EarlyReturn", "parity after timing: final h is off by"),
        ("MemoUncompared", "parity after timing: output is off by"),
    ],
)
def test_a_cheat_fails_with_its_reason(name: str, reason: str) -> None:
    assert outcome(case_of(name)).startswith(reason)


@pytest.mark.parametrize("phase", ["inference", "training", "step", "epoch"])
def test_an_honest_module_does_not_fail(phase: str) -> None:
    assert outcome(case_of("Honest", phase=phase, samples=6 if phase == "epoch" else 0)) == ""


@pytest.mark.parametrize("name", ["HonestUncompared", "RandomUncompared"])
def test_a_class_that_can_not_be_compared_may_draw_numbers_but_keep_nothing(name: str) -> None:
    assert outcome(case_of(name)) == ""


@pytest.mark.alone  # so that the clock tells
@pytest.mark.parametrize("name", ["MemoByValue", "MemoByStep"])
def test_what_keeps_results_by_their_values_is_told_by_the_clock(name: str) -> None:
    case = case_of(name) if name == "MemoByValue" else replace(case_of(name), implementation="loop")
    observed: Any = answer(worker_here(), {**BUILDING.request("observe", case)})
    measurement = without_kept_work(Measurement.from_json(observed["measurement"]))
    assert re.fullmatch(KEPT, str(measurement.parity))
    assert "macs" in measurement.missing  # so that it has no limit, which would be too low
    assert not measurement.parity.is_equal_work


@pytest.mark.parametrize("name", ["Honest", "Outside", "Pointwise"])
def test_what_makes_its_products_in_another_way_keeps_nothing(name: str) -> None:
    observed: Any = answer(worker_here(), {**BUILDING.request("observe", case_of(name))})
    assert str(Measurement.from_json(observed["measurement"]).parity) == "agrees"
    assert rnnbench.measure(pair(name), INPUTS, **QUICK).frame["parity"]["mine"] == "agrees"


@pytest.mark.alone
def test_no_headline_counts_what_keeps_results(tmp_path: Path) -> None:
    shutil.copy(cells.__file__, tmp_path)
    (tmp_path / "cheats.toml").write_text(suite("Honest", "MemoByValue"))
    done = commands.rnnbench("run", "cheats.toml", cwd=tmp_path)
    printed = " ".join(done.stdout.split())
    assert "Not counted, because a call is faster when it gets the same values again: MemoByValue." in printed
    (tmp_path / "cheats.toml").write_text(suite("MemoByValue"))
    done = commands.rnnbench("run", "cheats.toml", cwd=tmp_path)
    assert "No case was measured that does all of its work in each call." in " ".join(done.stdout.split())


@pytest.mark.alone
def test_a_module_that_keeps_results_by_their_values_is_not_shown_to_be_faster() -> None:
    modules = pair("MemoByValue")
    parity = rnnbench.measure(modules, INPUTS, **QUICK).frame["parity"]["mine"]
    assert re.fullmatch(KEPT, str(parity))
    with pytest.raises(AssertionError, match=r"keeps results, so its time means nothing: agrees, but takes "):
        rnnbench.assert_not_slower(modules["mine"], than=modules["torch"], input=INPUTS, factor=100, budget=0.05)


INPUTS = (torch.randn(4, 6, 3), torch.zeros(1, 6, 5))  # (seq, batch, input) and the state


def pair(name: str) -> dict[str, Any]:
    """A module that cheats, and the honest layer with its weights."""
    layer, cheat = nn.RNN(3, 5), getattr(cells, name)(3, 5)
    cheat.load_state_dict(layer.state_dict())
    cheat.eval()
    cheat.enough = 2  # the first call is the one whose output is compared before timing
    return {"mine": cheat, "torch": layer}


@pytest.mark.parametrize(
    ("name", "parity"),
    [
        ("MemoByIdentity", "after timing: differs by "),
        ("MemoByAddress", "after timing: differs by "),
        ("FirstResult", "after timing: differs by "),
        ("EarlyReturn", "after timing: differs by "),
        ("Honest", "agrees"),
    ],
)
def test_a_cheat_is_flagged_and_the_inputs_are_as_before(name: str, parity: str) -> None:
    before = [part.clone() for part in INPUTS]
    mine, reference = rnnbench.measure(pair(name), INPUTS, **QUICK).frame["parity"]
    assert mine.startswith(parity)
    assert ("times only" in mine) == (name != "Honest")
    assert reference == "is the reference"
    assert all(map(torch.equal, before, INPUTS))


def test_a_cheat_is_not_shown_to_be_faster() -> None:
    modules = pair("FirstResult")
    with pytest.raises(AssertionError, match=r"so its time means nothing: after timing: differs by "):
        rnnbench.assert_not_slower(modules["mine"], than=modules["torch"], input=INPUTS, factor=100, budget=0.05)


def test_an_input_of_a_graph_can_still_be_differentiated() -> None:
    input = torch.randn(4, 6, 3, requires_grad=True)
    loss = (input * input).sum()
    found = rnnbench.measure(pair("Honest"), input, **QUICK)
    assert found.frame.loc["mine", "parity"] == "agrees"
    loss.backward()
    assert torch.equal(input.grad, 2 * input.detach())  # type: ignore[arg-type]


def test_a_module_that_takes_no_other_values_keeps_its_time() -> None:
    input = torch.ones(4, 6, 3)
    input[0, 0, 0] = 2

    def picky(given: torch.Tensor) -> torch.Tensor:
        if given[0, 0, 0] != 2:
            raise ValueError("only this input")
        return given + 1

    found = rnnbench.measure({"mine": picky, "other": lambda given: given + 1}, input, **QUICK)
    assert found.frame.loc["mine", "parity"] == "is the reference"
    assert "Outputs could not be compared again after timing: ValueError: mine: only this input." in found.note
