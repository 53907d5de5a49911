"""The first sentences of the results of live modules."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from rnnbench.report.sentences import about, of_measure, of_sweep
from rnnbench.report.words.units import in_words
from rnnbench.store.parity import AGREES, parities

ENDS = ["seconds", "ratio", "ratio_low", "ratio_high", "parity"]
ROWS: dict[str, list[Any]] = {
    "torch": [1e-3, 1.0, 1.0, 1.0, "is the reference"],
    "mine": [2e-3, 2.0, 1.9, 2.1, "agrees"],
    "fused": [1.01e-3, 1.01, 0.99, 1.03, "agrees"],
    "other": [5e-4, 0.5, np.nan, np.nan, "differs by 1.4e+00 of the maximum: times only; use rnnbench.same_weights"],
}
FRAME = pd.DataFrame.from_dict(ROWS, orient="index", columns=ENDS)
PLACE = {"phase": "training", "sizes": "input (32, 8, 64) float32", "threads": 2, "device": "cpu"}
OUTPUTS = dict(zip(FRAME.index, parities(FRAME["parity"]), strict=True))
FOUND: Any = SimpleNamespace(reference="torch", parity=OUTPUTS, **PLACE)


def test_each_module_has_a_sentence_and_the_last_one_names_phase_size_and_place() -> None:
    assert of_measure(FOUND, FRAME).split("\n") == [
        "mine takes 2.00× (1.90–2.10) as long as torch: 2.00 ms a call.",
        "fused takes 1.01× (0.990–1.03) as long as torch, so which is faster is unclear: 1.01 ms a call.",
        "other takes 0.500× (no interval) as long as torch, but may do other work: 500 µs a call.",
        "Training, input (32, 8, 64) float32, 2 threads on cpu.",
    ]
    assert about(SimpleNamespace(**PLACE | {"sizes": ""})) == "Training, 2 threads on cpu."  # type: ignore[arg-type]


def test_of_many_modules_the_first_have_a_sentence_and_the_others_are_counted() -> None:
    names = ["torch", *(f"mine {number}" for number in range(7))]
    frame = FRAME.loc[["torch", *["mine"] * 7]].set_axis(pd.Index(names))
    found: Any = SimpleNamespace(reference="torch", parity=dict.fromkeys(names, AGREES), **PLACE)
    assert "3 more modules: see the table." in of_measure(found, frame)


@pytest.mark.parametrize(
    ("states", "told"),
    [
        (["", "", ""], ["Inference: mine takes 2.00× as long as torch in the median of 3 cases (0.900× to 4.00×)"]),
        (
            ["undisturbed", "undisturbed", "on a shared core"],
            [
                "of 2 cases (0.900× to 2.00×): slower in 1, faster in 1. 1 more on a shared core, not in the median.",
            ],
        ),
    ],
)
def test_a_sweep_tells_medians_of_each_phase_and_module_and_how_many_are_slower(
    states: list[str], told: list[str]
) -> None:
    ratios = {"ratio": [0.9, 2.0, 4.0], "ratio_low": [0.8, 1.9, np.nan], "ratio_high": [0.95, 2.1, np.nan]}
    frame = pd.DataFrame({"phase": "inference", "module": "mine", **ratios, "parity": "agrees", "state": states})
    axes: dict[str, Any] = {"batch_size": [1, 8, 32], "phase": ["inference"], "threads": [None]}
    text = of_sweep(frame, axes, "torch", "cpu")
    for part in told:
        assert part in text
    assert text.endswith("Sizes: batch_size 1, 8, 32; threads torch's own; on cpu.")


def test_rows_have_a_time_a_ratio_and_one_interval() -> None:
    shown = in_words(FRAME)
    assert list(shown) == ["time", "ratio", "95% interval", "parity"]
    assert list(shown.loc["mine"]) == ["2.00 ms", "2.00×", "1.90–2.10", "agrees"]
    assert shown["95% interval"][["torch", "other"]].tolist() == ["—", "—"]
