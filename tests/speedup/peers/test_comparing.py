"""Peers of the ways: compared in what is left of the budget and never chosen; a fault of one is a row that says so."""

import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import rnnbench
from rnnbench.cells.gru import GRUCell
from rnnbench.report.fastest import compared_in_words
from rnnbench.speedup import compiling, search
from rnnbench.speedup.agreement import PeerSession, RunSubject
from rnnbench.speedup.peers import comparing
from rnnbench.speedup.peers.comparing import CONSTANT, Peer
from rnnbench.speedup.shapes import SHAPE
from rnnbench.speedup.ways import AS_GIVEN, PEERS, run_in_way, ways_table
from rnnbench.store.metrics import Unavailable
from rnnbench.workloads import compiled
from tests.speedup.test_search import FixedTurns

pytestmark = pytest.mark.usefixtures("one_thread", "not_compiled")
SECONDS = {"as given": 4.0, "hoisted": 3.0, "onnxruntime": 1.0, "openvino": 5.0, "allow_rnn": 2.0, "compiled scan": 2.5}


def right(subject: RunSubject) -> PeerSession:
    return lambda run, input, state: run_in_way(run, AS_GIVEN, input, state)


def wrong(subject: RunSubject) -> PeerSession:
    def session(run: Any, input: Tensor, state: Any) -> Any:
        outputs, final = run_in_way(run, AS_GIVEN, input, state)
        return 1.01 * outputs, final

    return session


def unable(subject: RunSubject) -> PeerSession:
    raise Unavailable("there is no such operator")


def broken(subject: RunSubject) -> PeerSession:
    raise KeyError("LSTM")


@pytest.fixture
def open_with(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Replace the peers by others, which a function of the test opens; times are those of `SECONDS`."""
    monkeypatch.setattr(FixedTurns, "seconds", SECONDS)
    monkeypatch.setattr(compiling, "can_be_ended", lambda device: False)  # all in this process
    monkeypatch.setattr(compiled, "check", lambda device: None)
    monkeypatch.setattr(search, "names", lambda *_: ["as given", "hoisted"])
    for module in (search, comparing):
        monkeypatch.setattr(module, "LiveTurns", FixedTurns)

    def replace(**openers: Any) -> None:
        named = {name.replace("_", " ") if name == "compiled_scan" else name: each for name, each in openers.items()}
        rows = [Peer(name, each, CONSTANT) for name, each in named.items()]  # type: ignore[arg-type]
        monkeypatch.setattr(comparing, "PEER_ROWS", rows)

    return replace


def fast(module: nn.Module, **options: Any) -> Any:
    return rnnbench.fastest(module, torch.randn(5, 3, 4), progress=False, **options)


@pytest.mark.parametrize("module", [nn.GRU(4, 6), GRUCell(4, 6)])
def test_a_peer_is_compared_and_never_chosen_however_fast_it_is(open_with: Any, module: nn.Module) -> None:
    open_with(onnxruntime=right, openvino=right)
    found = fast(module)
    table = found.frame.set_index("way")
    assert table["is_chosen"].to_dict() == {"as given": False, "hoisted": True, "onnxruntime": False, "openvino": False}
    assert table["ratio"].to_dict() == pytest.approx(
        {"as given": 1.0, "hoisted": 0.75, "onnxruntime": 0.25, "openvino": 1.25}
    )
    assert (table["error"][["onnxruntime", "openvino"]] == 0).all()
    assert table["reason"]["onnxruntime"] == f"only compared: {CONSTANT}"
    assert table["compile_seconds"]["onnxruntime"] < 60
    assert table["break_even_calls"]["onnxruntime"] == 1
    assert table["break_even_calls"]["openvino"] == float("inf")
    assert rnnbench.fastest(module, torch.randn(5, 3, 4), ways=found.frame).frame.equals(found.frame)


def test_the_table_of_ways_shows_the_peers_their_errors_and_when_converting_pays_off(open_with: Any) -> None:
    open_with(onnxruntime=right, openvino=right)
    found = fast(nn.GRU(4, 6))
    lines = repr(found).splitlines()
    assert lines[1].endswith("hoisted, 3.00 s, 0.750× (0.750) the time as given")
    head, first, *_, last = lines[2:7]
    assert head.endswith("pays off after")
    assert first.split()[:3] == ["onnxruntime*", "1.00", "s"]
    assert first.endswith("1 call")
    assert last.split()[0] == "openvino*"
    assert last.endswith("never")
    assert lines[7].strip() == "* only compared, never handed back"
    assert "is not used" not in repr(found)
    assert found._repr_html_().count("onnxruntime*") == 1


def test_a_fault_of_a_peer_is_a_row_with_its_reason(open_with: Any) -> None:
    open_with(onnxruntime=unable, openvino=broken, allow_rnn=wrong, compiled_scan=right)
    found = fast(nn.GRU(4, 6))
    table = found.frame.set_index("way")
    assert table["reason"]["onnxruntime"] == "there is no such operator"
    assert table["reason"]["openvino"] == "openvino raised KeyError: 'LSTM' (test_comparing.py:45)"
    assert "is off by 1.0e-02 of the given module's largest value" in table["reason"]["allow_rnn"]
    assert table["error"]["allow_rnn"] == pytest.approx(0.01, rel=0.01)
    assert table["seconds"]["compiled scan"] == 2.5
    assert "  not compared with onnxruntime: there is no such operator" in repr(found)


def test_a_peer_that_fails_when_it_is_timed_fails_alone_with_the_other_peers(
    open_with: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class FailingTurns(FixedTurns):
        def until(self, *_: Any) -> None:
            raise RuntimeError("openvino: no memory")

    open_with(onnxruntime=right, openvino=right)
    monkeypatch.setattr(comparing, "LiveTurns", FailingTurns)
    table = fast(nn.GRU(4, 6)).frame.set_index("way")
    assert table["is_chosen"]["hoisted"]
    assert table["reason"]["onnxruntime"] == "the peers could not be timed: openvino: no memory"
    assert table["seconds"][["onnxruntime", "openvino"]].isna().all()


def test_a_peer_that_is_not_installed_is_named_once_with_the_extra_that_brings_it(
    open_with: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_with()
    rows = [Peer(name, right, CONSTANT, packages=("no_such_package",)) for name in ("onnxruntime", "openvino")]
    monkeypatch.setattr(comparing, "PEER_ROWS", rows)
    text = repr(fast(nn.GRU(4, 6), shapes=[(7, 3), (9, 3)]))
    reason = "no_such_package is not installed: pip install no_such_package, or the extra `peers` of rnnbench"
    assert f"  not compared with onnxruntime and openvino: {reason}" in text.splitlines()


def test_a_search_that_has_taken_the_budget_tries_no_peer_and_says_so(
    open_with: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_with(onnxruntime=broken)
    monkeypatch.setattr(comparing, "time", type("Late", (), {"monotonic": staticmethod(lambda: time.monotonic() + 59)}))
    table = fast(nn.GRU(4, 6), budget="60s").frame.set_index("way")
    assert table["reason"]["onnxruntime"] == "the search for the fastest way took the budget; give budget='2m'"
    assert table["is_sure"]["hoisted"]


@pytest.mark.parametrize("options", [{"phase": "training"}, {"peers": False}])
def test_no_peer_is_tried_in_training_or_if_none_is_wanted(open_with: Any, options: dict[str, Any]) -> None:
    open_with(onnxruntime=broken)
    assert list(fast(nn.GRU(4, 6), **options).frame["way"]) == ["as given", "hoisted"]


def test_what_differs_from_call_to_call_is_compared_with_nothing(open_with: Any) -> None:
    open_with(onnxruntime=broken)
    assert not fast(nn.GRU(4, 6, num_layers=2, dropout=0.5)).frame["way"].isin(PEERS).any()


def test_a_table_that_chooses_a_peer_is_refused(open_with: Any) -> None:
    open_with(onnxruntime=right)
    frame = fast(nn.GRU(4, 6)).frame
    frame["is_chosen"] = frame["way"] == "onnxruntime"
    with pytest.raises(ValueError, match="are only compared; a way that is chosen is one of as given, hoisted"):
        ways_table(frame)


def test_settings_of_torch_compile_for_peers_end_with_the_comparison(open_with: Any) -> None:
    from torch._dynamo import config

    seen = []

    def look(subject: RunSubject) -> PeerSession:
        seen.append(getattr(config, "allow_rnn", True))
        return right(subject)

    open_with(onnxruntime=look)
    fast(nn.GRU(4, 6))
    assert seen == [True]
    assert not getattr(config, "allow_rnn", False)
    assert not config.capture_scalar_outputs


def test_a_table_of_which_nothing_was_timed_has_no_row() -> None:
    assert compared_in_words(ways_table([{**dict.fromkeys(SHAPE, 1), "way": "as given"}])).empty
