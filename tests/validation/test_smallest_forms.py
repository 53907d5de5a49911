"""Tables that need hours, a package or a quiet machine, in their smallest form: what measures is played by a stub."""

import importlib.util
import json
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

import rnnbench
from rnnbench.cells.vanilla import VanillaCell
from rnnbench.harness.turns.schedule import Progress
from rnnbench.kernels.libraries import ProductCall
from rnnbench.speedup.search import recognised
from rnnbench.store.records import Measurement
from rnnbench.suite import suites
from rnnbench.suite.outline import cases_of
from tests.doubles import repository, stored
from tests.validation import bisect_real, pairs, products, regret, strangers

# Bisections of generated histories


def found_by_reading(lag: int) -> Callable[..., SimpleNamespace]:
    """A `rnnbench bisect` that names each commit which adds a slow line, or the one so many places before it."""

    def run(command: Sequence[str], cwd: Path, **_: Any) -> SimpleNamespace:
        shas = repository.git(cwd, "rev-list", "--reverse", "HEAD").splitlines()
        assert command[command.index("--good") + 1] == shas[0]
        texts = [repository.git(cwd, "show", f"{sha}:my.py") for sha in shas]
        slow = [sum(text.count(line.split("{")[0]) for line in bisect_real.LINES.values()) for text in texts]
        added = [place for place in range(1, len(shas)) if slow[place] > slow[place - 1]]
        if not added:
            return SimpleNamespace(returncode=2, stdout="", stderr=f"bad {shas[-1][:7]} is not slower than good\n")
        causes = [{"commit": {"sha": shas[place - lag]}, "is_confirmed": True} for place in added]
        return SimpleNamespace(returncode=0, stdout=json.dumps({"causes": causes}), stderr="")

    return run


@pytest.mark.parametrize(("lag", "right"), [(0, 1), (1, 0)])
def test_a_history_counts_as_right_if_its_slow_commits_are_named_and_no_other(
    monkeypatch: pytest.MonkeyPatch, lag: int, right: int
) -> None:
    monkeypatch.setattr(bisect_real, "KINDS", ["none", "operator python"])
    monkeypatch.setattr(bisect_real, "COMMITS", 5)
    monkeypatch.setattr(bisect_real, "BROKEN", 1)
    monkeypatch.setattr(bisect_real, "subprocess", SimpleNamespace(run=found_by_reading(lag)))
    rows = bisect_real.histories()
    assert rows["answer"].tolist()[0] == "error: bad … is not slower than good"
    table = bisect_real.summary(rows).set_index("slow commits")
    assert table["right"].to_dict() == {"none": 1, "operator python": right}
    assert table["with a wrong commit"].to_dict() == {"none": 0, "operator python": 1 - right}


# Pairs of workers of equal code


def test_pairs_of_equal_code_differ_by_what_their_cases_share(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """All cases of a pair are slower by the same factor, so that all of the variance is shared."""
    factors, processes = [1.0, 1.02, 0.97], list[int]()

    def measured(base: Any, head: Any, groups: Any, others: Any, *, out: Path, on_progress: Any, **_: Any) -> Any:
        for number in range(1, len(factors) + 1):
            on_progress(Progress(number, 0, len(groups), None))
        folder = out / "check"
        folder.mkdir()
        for name, seconds in (("base", [1.0] * len(factors)), ("head", factors)):
            times = {case: [[each] for each in seconds] for case in cases_of(groups)}
            stored.folder(out, times).rename(folder / name)
        return folder, None

    def busy(number: int, *, rests: bool) -> AbstractContextManager[None]:
        processes.append(number)
        return nullcontext()

    monkeypatch.setattr(pairs, "check", measured)
    monkeypatch.setattr(pairs, "hogs", busy)
    monkeypatch.setattr(pairs, "commit", lambda: "1234abc")
    monkeypatch.setattr(pairs, "REAL", tmp_path / "pairs.csv")
    table = pairs.pairs(1.0)
    assert (len(table), table["case"].nunique(), processes) == (2 * 24 * len(factors), 24, [0, 1])
    for ratio in ("low", "mean"):
        by_pair = table.groupby("pair")[ratio].agg(["min", "max"])
        assert by_pair.to_numpy() == pytest.approx(np.log([factors, factors]).T, abs=1e-6)
    found = pairs.summary(table)
    assert found["beside"].tolist() == [pairs.QUIET, pairs.BUSY]
    assert found["pairs"].tolist() == [3, 3]
    assert found["low: spread of the median case"].tolist() == pytest.approx(
        [np.std(np.log(factors), ddof=1)] * 2, 1e-3
    )
    assert found["low: shared by a pair's cases"].tolist() == pytest.approx([1.0] * 2)
    table.to_csv(tmp_path / "pairs.csv", index=False)
    assert len(pairs.pairs(1.0)) == 2 * len(table)  # those that were kept before come first


def test_the_pairs_of_a_check_last_from_one_beginning_to_the_next() -> None:
    times = iter([0.0, 2.0, 5.0, 9.0])
    clock = pairs.PairClock(lambda: next(times))
    for replicate in (0, 1, 1, 2, 3):  # while nothing is timed, the number is 0
        clock(Progress(replicate, 0, 1, None))
    assert clock.seconds() == [2.0, 3.0, 4.0]


# Products in libraries


@pytest.mark.usefixtures("one_thread")
def test_a_product_costs_its_multiplication_and_its_share_of_packing(monkeypatch: pytest.MonkeyPatch) -> None:
    made = {"plain": ProductCall(int), "packed": ProductCall(int, int)}
    monkeypatch.setattr(products, "THREADS", (1,))
    monkeypatch.setattr(products, "BATCHES", (2,))
    monkeypatch.setattr(products, "HIDDEN_SIZES", (8,))
    monkeypatch.setattr(products, "product_calls", lambda left, right: made)
    monkeypatch.setattr(products, "shortest", lambda calls: {"multiply": 2e-6, "pack": 8e-6})
    monkeypatch.setattr(products, "library_seconds", lambda asked: {"own": 3e-6 * asked.count})
    sizes = {"threads": 1, "hidden_size": 8, "batch_size": 2}
    microseconds = {"plain": 2.0, "packed": 2 + 8 / 16, "own": 3.0}  # packed once for 16 steps
    for stored_as, row in zip(("by row", "by column"), products.products().to_dict("records"), strict=True):
        assert row == pytest.approx(sizes | {"stored": stored_as} | microseconds)


# What `fastest` chooses


@pytest.mark.usefixtures("one_thread")
def test_a_regret_is_the_time_of_the_chosen_way_over_that_of_the_fastest(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = {"as given": 1.5, "hoisted": 2.0}
    searched, compared = [], []

    def search(module: Any, input: Any, *, shapes: Any, **_: Any) -> SimpleNamespace:
        searched.append([tuple(input.shape[:2]), *shapes])
        return SimpleNamespace(_run=recognised(module, input)[0], way_for=lambda shape: "hoisted")

    @contextmanager
    def measured(calls: Any, *_: Any) -> Iterator[SimpleNamespace]:
        compared.append([tuple(call()[0].shape) for call in calls.values()])
        times = {name: [stored.steady(seconds[name] * noise) for noise in (0.9, 1.0, 1.3)] for name in calls}
        yield SimpleNamespace(turns=SimpleNamespace(times=times, until=lambda stop: None))

    for name, value in {"INPUT": 3, "HIDDEN": (4,), "SEARCHED": ((3, 1), (3, 4))}.items():
        monkeypatch.setattr(regret, name, value)
    monkeypatch.setattr(regret, "MODULES", {"vanilla": VanillaCell})
    monkeypatch.setattr(regret, "possible_ways", lambda *_: [*seconds])
    monkeypatch.setattr(regret, "compared", measured)
    monkeypatch.setattr(rnnbench, "fastest", search)
    table = regret.regrets()
    assert searched == [[(3, 1), (3, 4)]]
    assert compared == [[(3, batch, 4)] * 2 for batch in (1, 4)]
    assert set(zip(table["runs"], table["fastest"], strict=True)) == {("hoisted", "as given")}
    assert table["regret"].tolist() == pytest.approx([1 / 3] * 2)
    assert table["time / as given"].tolist() == pytest.approx([4 / 3] * 2)


def test_regrets_are_summarized_in_one_row() -> None:
    rows = pd.DataFrame({"regret": [0.0, 0.03, 0.02], "time / as given": [0.5, 0.7, 1.0]})
    [row] = regret.summary(rows).to_dict("records")
    assert (row["number"], row["at most 2%"], row["median"], row["largest"]) == (3, 2, 0.02, 0.03)
    assert row["time / as given, median"] == 0.7


# Cells of somebody else's package

PACKAGE = "from torch.nn import GRUCell as MGUCell, LSTMCell as PeepholeLSTMCell, Linear\nversion = '1'\n"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A package of this name with two cells."""
    folder = tmp_path / "there" / strangers.PACKAGE
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text(PACKAGE)
    found = importlib.util.spec_from_file_location(strangers.PACKAGE, folder / "__init__.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    monkeypatch.setitem(sys.modules, strangers.PACKAGE, module)
    return module


@pytest.mark.usefixtures("package")
def test_each_cell_of_a_package_is_timed_against_the_layer_that_keeps_as_many_tensors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def command(name: str, file: str, *options: str) -> str:
        cases = suites.read(file).cases()
        hand_written = [case for case in cases if not case.is_reference]
        if name == "run":
            failed = [case for case in hand_written if "MGU" in case.cell and case.workload.phase == "training"]
            times = {case: [[1.0 if case.is_reference else 2.0]] * 4 for case in cases if case not in failed}
            lost = [Measurement(case, "failed", "no gradient") for case in failed]
            return f"a note\n{stored.folder(tmp_path, times, lost)}\n"
        base = Path(options[options.index("--base") + 1])
        assert (base / "cells.py").read_text() != (Path(file).parent / "cells.py").read_text()
        verdicts = {"inference": "unchanged", "training": None}
        lines = [{"cell": case.cell, "verdict": verdicts[case.workload.phase]} for case in hand_written]
        return "not json\n" + "\n".join(map(json.dumps, lines))

    monkeypatch.setattr(strangers, "_command", command)
    one, two = strangers.strangers().to_dict("records")
    assert (one["cell"], one["timed against"]) == ("MGUCell", "torch.nn.GRU")
    assert (two["cell"], two["timed against"]) == ("PeepholeLSTMCell", "torch.nn.LSTM")
    assert two["training: ratio (95%)"] == "2.00 (2.00 to 2.00)"
    assert one["training: ratio (95%)"] == "failed: no gradient"
    assert {row["compared"] for row in (one, two)} == {"agrees"}
    assert {row["check of equal code"] for row in (one, two)} == {"unchanged, not compared"}


@pytest.mark.usefixtures("one_thread", "package")
def test_the_ways_of_a_packages_cells_are_told_cell_by_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    ways = pd.DataFrame([dict.fromkeys(strangers.FASTEST_COLUMNS, math.nan) | {"way": "hoisted", "more": 1}])
    monkeypatch.setattr(strangers, "MADE_FAST", ("MGUCell", "PeepholeLSTMCell"))
    monkeypatch.setattr(rnnbench, "fastest", lambda cell, input, **_: SimpleNamespace(frame=ways))
    table = strangers.fastest_ways()
    assert table["cell"].tolist() == ["MGUCell", "PeepholeLSTMCell"]
    assert table.columns.tolist() == ["cell", *strangers.FASTEST_COLUMNS]


def test_without_the_package_the_table_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strangers, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match="torchrecurrent is not installed: pip install"):
        strangers.strangers()
