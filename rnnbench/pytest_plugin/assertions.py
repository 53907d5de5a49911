"""The fixture `rnnbench`: assertions on the time of live modules and functions."""

import math
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

import click
import pytest

from rnnbench.cli.options import Duration, Percent
from rnnbench.harness.live.not_slower import NotSlowerResult, not_slower
from rnnbench.report.words.not_slower import sentence
from rnnbench.store.records import Phase

if TYPE_CHECKING:
    from torch import Tensor

Undecided = Literal["fail", "skip", "pass"]
UNDECIDED: tuple[Undecided, ...] = ("fail", "skip", "pass")
BUDGET_SECONDS = 10.0


class Assertions:
    """What a test's `rnnbench` can do; the marker `rnnbench` sets defaults."""

    def __init__(self, defaults: Mapping[str, Any], properties: list[tuple[str, object]]) -> None:
        """`properties`: of the test, which JUnit's XML shows."""
        self._defaults = defaults
        self._properties = properties

    def assert_not_slower(
        self,
        mine: Callable[..., object],
        *,
        than: Callable[..., object],
        factor: float,
        inputs: "Tensor | tuple[Any, ...] | Mapping[str, Tensor | tuple[Any, ...]]" = (),
        phase: Phase | None = None,
        budget: float | str | None = None,
        precision: float | str | None = None,
        undecided: Undecided | None = None,
        equal_outputs: bool = True,
    ) -> NotSlowerResult:
        """Fail unless `mine` is shown to take at most `factor` times as long as `than`.

            rnnbench.assert_not_slower(MyLSTM(64, 128), than=nn.LSTM(64, 128), inputs=torch.randn(32, 8, 64), factor=2)

        Both are torch modules or functions that return a tensor, or a tuple with the output first. `inputs`: a tensor,
        (seq, batch, input) for torch's layers, a tuple of arguments, or a mapping with the keys `mine` and `than`. They
        take turns in this process, on the device that the inputs lie on, with as many threads as torch has now, in the
        `phase` `inference` (the default), `training` or `step`, as in `rnnbench.measure`.

        Rounds of turns are taken until the 99% interval of the ratio lies above the factor (the test fails: it is
        slower) or at or below it (the test passes), or the `budget` (seconds, or "30s"; 10 s) is spent, which does not
        hold calibration, or the ratio is known within `precision` ("1%"). The interval holds over all looks at growing
        data together: where the ratio is the factor itself, a test fails, or passes, at most once in 200 times. A ratio
        of a low quantile of the calls and one of their mean have to pass, so that calls that are slow now and then are
        seen too.

        Undecided is not shown, so the test fails, with words that say so; with `undecided` "skip" or "pass" it is
        skipped or passes. A factor within a percent or two of the ratio stays undecided, and what differs from process
        to process, about a percent, is not in the interval: choose a factor that is clear of what you expect.

        Where outputs differ the test fails before anything is timed, unless `equal_outputs` is False; gradients are not
        compared. Returns what was found; its sentence is printed (`-rP` shows it), and stands in JUnit's XML. Raises
        ValueError for what does not fit together, and what a module raises with `mine` or `than` in front.
        """
        __tracebackhide__ = True
        way = self._chosen("undecided", undecided, "fail")
        if way not in UNDECIDED:
            raise ValueError(f"undecided: expected one of {', '.join(UNDECIDED)}, found {way!r}")
        found = not_slower(
            mine,
            than,
            inputs,
            self._chosen("phase", phase, "inference"),
            factor=_factor(factor),
            budget_seconds=_converted("budget", Duration(), math.inf, self._chosen("budget", budget, BUDGET_SECONDS)),
            precision=_converted("precision", Percent(), 1.0, self._chosen("precision", precision, None)),
            equal_outputs=equal_outputs,
        )
        said = sentence(found, *_names(mine, than), is_shared="PYTEST_XDIST_WORKER" in os.environ)
        self._properties.append(("rnnbench", said))
        if found.answer == "slower" or not found.rounds or (found.answer is None and way == "fail"):
            raise AssertionError(said)
        if found.answer is None and way == "skip":
            pytest.skip(said)
        print(said)
        return found

    def _chosen(self, key: str, given: Any, default: Any) -> Any:
        return self._defaults.get(key, default) if given is None else given


def _factor(value: object) -> float:
    __tracebackhide__ = True
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise ValueError(f"factor: expected a number above 0, such as 1.2 for 20% longer, found {value!r}")
    return float(value)


def _converted(name: str, kind: click.ParamType[float], most: float, value: object) -> Any:
    """A number below `most`, or a text that the command line would take, as a number; None stays."""
    __tracebackhide__ = True
    if value is None or (isinstance(value, int | float) and 0 < value < most):
        return value
    try:
        return kind.convert(value, None, None)
    except click.UsageError as error:
        raise ValueError(f"{name}: {error.message}") from None


def _names(mine: object, than: object) -> tuple[str, str]:
    """Those of their classes or functions, where these tell them apart."""
    names = [getattr(one, "__qualname__", type(one).__name__).rpartition("<locals>.")[2] for one in (mine, than)]
    if names[0] == names[1]:
        names = ["<lambda>", "<lambda>"]
    found = [other if name == "<lambda>" else name for name, other in zip(names, ("mine", "the other"), strict=True)]
    return found[0], found[1]
