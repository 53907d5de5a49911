"""The fixture `rnnbench`: assertions on the time of live modules and functions."""

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

import click
import pytest

from rnnbench.cli.options import Duration, Percent
from rnnbench.harness.live.not_slower import NotSlowerResult, not_slower
from rnnbench.pytest_plugin.alone import is_under_xdist, timed_alone
from rnnbench.report.words.not_slower import sentence
from rnnbench.store.records import Phase

if TYPE_CHECKING:
    from torch import Tensor

Undecided = Literal["fail", "skip", "pass"]
UNDECIDED: tuple[Undecided, ...] = ("fail", "skip", "pass")
BUDGET_SECONDS = 10.0


class Assertions:
    """The assertions of the fixture `rnnbench`; the marker `rnnbench` sets their defaults."""

    def __init__(self, defaults: Mapping[str, Any], properties: list[tuple[str, object]]) -> None:
        """`properties`: those of the test, which JUnit's XML shows."""
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
        take turns in this process, on the device of the inputs, with torch's current number of threads, in the `phase`
        `inference` (the default), `training` or `step`, as in `rnnbench.measure`.

        Rounds go on until the 99% interval of the ratio lies above the factor (the test fails: `mine` is slower) or at
        or below it (the test passes), until the `budget` is spent (seconds, or "30s"; 10 s by default; calibration is
        not counted), or until the ratio is known within `precision` ("1%"). The interval accounts for being looked at
        again and again while data grows: if the ratio equals the factor, a test fails, or passes, at most once in 200
        times, as long as the ratio differs from process to process by 1% at most (standard deviation) and the rounds of
        a process correlate with their neighbours by 0.5 at most; both are part of the interval. Two ratios have to
        pass, that of a low quantile of the calls and that of their mean, so that calls that are slow now and then are
        seen too.

        An undecided test fails, and its message says so; with `undecided` "skip" or "pass" it is skipped or passes. A
        factor within 3% of the ratio stays undecided: choose one well away from the ratio that you expect.

        Under pytest-xdist, such tests wait for each other, so that one at a time is timed.

        If outputs differ, the test fails before anything is timed, unless `equal_outputs` is False. They are compared
        again after timing, on other values, and the test fails if they differ then. Gradients are not compared.
        Returns the result; its sentence is printed (`-rP` shows it) and written to JUnit's XML. Raises ValueError for
        arguments that do not fit together, and what a module raises, with `mine` or `than` in front.
        """
        __tracebackhide__ = True
        on_undecided = self._chosen("undecided", undecided, "fail")
        if on_undecided not in UNDECIDED:
            raise ValueError(f"undecided: expected one of {', '.join(UNDECIDED)}, found {on_undecided!r}")
        chosen = self._chosen("budget", budget, BUDGET_SECONDS)
        budget_seconds = _converted("budget", Duration(), math.inf, chosen)
        half_width = _converted("precision", Percent(), 1.0, self._chosen("precision", precision, None))
        with timed_alone():
            result = not_slower(
                mine,
                than,
                inputs,
                self._chosen("phase", phase, "inference"),
                factor=_factor(factor),
                budget_seconds=budget_seconds,
                precision=half_width,
                equal_outputs=equal_outputs,
            )
        text = sentence(result, *_names(mine, than), is_shared=is_under_xdist())
        self._properties.append(("rnnbench", text))
        if result.answer == "slower" or result.is_unequal or (result.answer is None and on_undecided == "fail"):
            raise AssertionError(text)
        if result.answer is None and on_undecided == "skip":
            pytest.skip(text)
        print(text)
        return result

    def _chosen(self, key: str, given: Any, default: Any) -> Any:
        return self._defaults.get(key, default) if given is None else given


def _factor(value: object) -> float:
    __tracebackhide__ = True
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise ValueError(f"factor: expected a number above 0, such as 1.2 for 20% longer, found {value!r}")
    return float(value)


def _converted(name: str, kind: "click.ParamType[float]", most: float, value: object) -> Any:
    """A number below `most`, or a text that the command line accepts, as a number; None stays None."""
    __tracebackhide__ = True
    if value is None or (isinstance(value, int | float) and 0 < value < most):
        return value
    try:
        return kind.convert(value, None, None)
    except click.UsageError as error:
        raise ValueError(f"{name}: {error.message}") from None


def _names(mine: object, than: object) -> tuple[str, str]:
    """The names of both classes or functions, or other words if these do not tell them apart."""
    names = [getattr(side, "__qualname__", type(side).__name__).rpartition("<locals>.")[2] for side in (mine, than)]
    if names[0] == names[1]:
        names = ["<lambda>", "<lambda>"]
    names = [other if name == "<lambda>" else name for name, other in zip(names, ("mine", "the other"), strict=True)]
    return names[0], names[1]
