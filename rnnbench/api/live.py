"""Functions of `import rnnbench` for modules of the caller's own process."""

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from pydantic import ValidationError
from torch import Tensor, nn

from rnnbench.analysis.rounds import MINE, THAN, Question
from rnnbench.api import for_users
from rnnbench.harness.live.live_cases import with_threads
from rnnbench.harness.live.measuring import LivePhase, compared
from rnnbench.harness.live.measuring import sweep as each_point
from rnnbench.profiling.profile import explain as explain_live
from rnnbench.report.fastest import FastestModule
from rnnbench.report.frame_result import ExplainResult, MeasureResult, NotSlowerResult, SweepResult
from rnnbench.report.notebook import (
    explained,
    judged,
    measured,
    names_of,
    swept,
    unequal_outputs,
)
from rnnbench.report.screen.progress import at_point, shown_rounds
from rnnbench.speedup.search import FastestPhase, find, recognised
from rnnbench.speedup.ways import ways_table
from rnnbench.store.records import Caches
from rnnbench.suite.file import Settings
from rnnbench.text import seconds_of, share_of

UNLIMITED_ROUNDS = 1_000_000  # the budget ends a measurement before

CallInput = Tensor | tuple[Any, ...]  # of a call: its input, or all its arguments


@for_users
def measure(
    modules: Mapping[str, Callable[..., object]],
    input: CallInput | Mapping[str, CallInput],
    *,
    phase: LivePhase = "inference",
    reference: str | None = None,
    precision: str | float | None = 0.02,
    budget: str | float | None = "30s",
    replicates: int = 6,
    threads: int | None = 1,
    caches: Caches = "warm",
    progress: bool = True,
) -> MeasureResult:
    """Time live modules interleaved in this process: times, ratios and 95% intervals.

        rnnbench.measure({"mine": MyLSTM(64, 128), "torch": nn.LSTM(64, 128)}, torch.randn(32, 8, 64), phase="training")

    Outputs are compared with the reference's before timing and, on other values, after it, to the tolerances of
    `rnnbench run`; gradients are not. A module whose output has other values, for example from other weights, is still
    timed, and `parity` says so and, if it can be found, why. Modules keep their train or eval mode: call `eval()` first
    for inference without dropout. A module that this processor can't run, such as an LSTM under autocast to float16, is
    left out: its row has no numbers, and `parity` is the reason.

    On a CPU, each replicate copies the weights to other places in memory, since places change times by some percent; at
    the end the weights are where they were. Intervals of ratios allow for the 1% by which processes usually differ, and
    for replicates that resemble their neighbours as much as they usually do (a correlation of 0.5); in a process that
    wanders for longer they hold the true ratio less often than 95%, before some 60 replicates. For numbers that should
    hold tomorrow, use `rnnbench run`, which starts fresh processes.

    Gradients, weights, buffers, random generators, torch's settings, the cores of the calling thread and garbage
    collection are restored afterwards, also after Ctrl-C, which keeps what is finished. Calls by one thread are made on
    the core that is quiet more often.

    Args:
        modules: Torch modules or functions by name; `rnnbench.unroll` makes a layer of a cell.
        input: A tensor, (seq, batch, input) for torch's layers, a tuple of arguments, or a mapping from each name to
            its own input, which modules that read (batch, seq, input) need beside others. The modules run on the device
            of their input.
        phase: `inference` (forward, in inference mode), `training` (forward, and backward from a fixed gradient of the
            output to all parameters) or `step` (`training` and an Adam step with a learning rate of zero). The output
            is the first tensor that a module returns; in (output, state), the state gets no gradient.
        reference: The module that the others are compared with; by default the only torch.nn layer or cell, or else the
            first module.
        precision: Stop when each ratio is known within this share (`"2%"` or 0.02) in this process; None: after
            `replicates`. The interval is a little wider, since processes differ.
        budget: Stop when this much time is spent (`"30s"`, `"5m"` or seconds); None: no limit.
        replicates: How often all modules are timed at least, if the budget has room for it, and once in any case.
        threads: How many torch uses; None: its current number. More than one are steady only if as many cores are free.
        caches: `cold`: the caches (of a GPU, its L2) are emptied before each call.
        progress: Whether to show the progress on a terminal and in a notebook.

    Returns:
        A `FrameResult`, which prints as a sentence and a table; `.plot()` draws the ratios. `.frame` has a row for each
        module, by its name:

        - `seconds`, `seconds_low`, `seconds_high`: time per call and its 95% interval over replicates;
        - `ratio`, `ratio_low`, `ratio_high`: time over the reference's, taken within each replicate; 1 for the
          reference;
        - `state`: `undisturbed` if time and ratio are of moments when no other hyperthread used the core; `on a shared
          core` if there were too few, and all moments count: then another run may find other ratios. Empty if the core
          was always quiet, or if that can't be told (several threads, a GPU);
        - `parity`: whether the output agrees with the reference's, or why it is not compared, and whether a module
          keeps results, so that a second call with the same input does less;
        - `replicates`, how many there were; `mean_seconds`, the plain mean over all calls, which shows what a median
          can't; `parameters`, how many a module has, missing for a function.

        `.replicates` has a row for each module and replicate: of all calls, and `quiet_blocks` and `quiet_ratio` of the
        quiet moments. `.environment` has one for each fact about the machine and the software. `.sentence` is the
        answer; `.note` says what was missed and, of a GPU, at which rate its clock ran and which modules it waits for.
        A module beside which the clock ran more than 2% faster or slower than beside the reference has no ratio.

    Raises:
        ValueError: Arguments do not fit together, an output has another shape, nothing is left to compare, or a module
            raised it (its name stands in front).
        RuntimeError: Another thread of this process is measuring, or a module raised any other exception.
    """
    settings = measure_settings(budget, precision, replicates=replicates)
    started = time.monotonic()
    with (
        shown_rounds(is_wanted=progress) as show,
        compared(modules, input, phase, reference, threads, caches=caches) as comparison,
    ):
        comparison.measure(settings, started, show)
    return measured(comparison, settings)


@for_users
def sweep(
    modules: Mapping[str, Callable[..., Any]],
    input: Callable[..., CallInput | Mapping[str, CallInput]],
    *,
    phase: LivePhase | Sequence[LivePhase] = "inference",
    reference: str | None = None,
    threads: int | Sequence[int | None] | None = 1,
    precision: str | float | None = 0.02,
    budget: str | float | None = "120s",
    replicates: int = 4,
    progress: bool = True,
    **sizes: Sequence[Any],
) -> SweepResult:
    """Time live modules over sizes: `rnnbench.measure` at each combination, in one frame.

        rnnbench.sweep(
            {
                "mine": lambda hidden_size: MyLSTM(64, hidden_size),
                "torch": lambda hidden_size: nn.LSTM(64, hidden_size),
            },
            input=lambda batch_size, seq_len: torch.randn(seq_len, batch_size, 64),
            phase=["inference", "training"], batch_size=[1, 32], seq_len=[16, 64], hidden_size=[64, 256],
        )

    A combination that fails, or that this processor can't run, keeps its rows, with the reason. Ctrl-C keeps what is
    finished.

    Args:
        modules: Modules and functions by name, as for `measure`; or what builds them: a class or function whose
            parameters are all names of sizes. A module that is built gets the weights of the reference where its
            parameters fit (`same_weights`).
        input: A function that makes the input from the sizes that it names.
        phase: A phase of `measure`, or a list of them.
        reference: The module that the others are compared with, as for `measure`.
        threads: How many threads torch uses, as for `measure`, or a list of numbers.
        precision: Stop a combination when each of its ratios is as precise as this: `"2%"` or 0.02.
        budget: Time for all combinations together: `"60s"` or seconds; None: no limit.
        replicates: How often all modules are timed at least in a combination.
        progress: Whether to show the progress on a terminal and in a notebook.
        sizes: Lists of values under names of your choice, such as `batch_size=[1, 32]`. Each combination of them, of
            `phase` and of `threads` is measured.

    Returns:
        A `FrameResult`, which prints as the medians over all combinations and a table. Its `.frame` and `.replicates`
        are those of `measure` (times in seconds per call) with the sizes as first columns, and `module`, `status`
        (`measured`, `skipped` or `failed`) and `reason`. `.plot("ratio")`, or `.plot("scaling")` for the times, those
        of the reference too, draws a line for each module; `frame`: the rows to draw, by default all; `along`: the size
        below the figure, by default the one with the most values.

    Raises:
        ValueError: Arguments do not fit together.
        TypeError: The input is no function, or a size has no list of values.
        RuntimeError: No combination was measured.
    """
    settings = measure_settings(budget, precision, replicates=replicates)
    axes: dict[str, Sequence[Any]] = {
        **sizes,
        "phase": [phase] if isinstance(phase, str) else phase,
        "threads": threads if isinstance(threads, Sequence) else [threads],
    }
    with shown_rounds(is_wanted=progress) as show:
        points = each_point(
            modules, input, axes, reference, settings, lambda number, total: at_point(show, number, total)
        )
        return swept(points, modules, settings, axes)


@for_users
def fastest(
    module: nn.Module,
    input: Tensor | tuple[Tensor, Any],
    *,
    phase: FastestPhase = "inference",
    shapes: Iterable[Sequence[int]] | None = None,
    budget: str | float = "60s",
    threads: int | None = 1,
    ways: pd.DataFrame | Iterable[Mapping[str, Any]] | str | Path | None = None,
    progress: bool = True,
) -> FastestModule:
    """Find the fastest way to run a recurrent module, and return a module with its weights that runs in this way.

        input = torch.randn(16, 32, 64)
        fast = rnnbench.fastest(nn.GRU(64, 256), input, shapes=[(16, 1), (64, 32)])
        outputs, state = fast(input)

    These ways are tried: the module as given; the matmuls of the input for all steps at once (`hoisted`); torch.compile
    (`compiled`); torch.compile with each matmul in the library that is fastest here (`prepacked`), on a GPU, for
    inference, its modes `reduce-overhead` and `max-autotune` instead. For a layer of torch.nn, all of these run
    rnnbench's own cell with the layer's weights. A cell that computes the same as one of these layers is also tried as
    that layer, with the cell's weights (`torch.nn`). LSTMs, GRUs and RNNs with tanh in float32 also run in rnnbench's
    own C (`fused`), all steps of a layer in one call, if there is a C compiler. A way is used only if its outputs,
    final state and, in training, gradients agree with those of the module as given, to the tolerances of `rnnbench
    run`. The ways are then timed interleaved, and a way is left out as soon as it is surely slower. They are compared
    by moments when no other hyperthread used the core, as far as there are enough (`state` in `.frame`: `undisturbed`
    or `on a shared core`).

    A way that is not compiled in time is left out, with a reason that says which budget probably has room for it, and
    `is_sure` is False: it may be the fastest. (A way that does not work here, or gives other results, leaves no doubt.)
    On Linux, ways for a processor are compiled in a fork of this process, which is ended in time, and are then found in
    torch's cache on disk; elsewhere nothing is begun that seems to take too long. Times are those of the module that is
    handed back. Another way than the given module is chosen only if it is shown to be no slower. Gradients, buffers,
    random generators and torch's settings are restored afterwards.

    Args:
        module: A layer of torch.nn (`RNN`, `LSTM`, `GRU`), a cell (`cell(input, state) -> state`, one step), or a
            module that runs a sequence as torch.nn's layers do (`module(input, state) -> (outputs, state)`, or
            `-> outputs`).
        input: (seq, batch, features), or (batch, seq, features) if the module is `batch_first`; or a tuple of the input
            and a state, each tensor (layers, batch, hidden).
        phase: `inference` (forward) or `training` (forward and backward).
        shapes: More sizes, in the order of the input: (seq, batch) or with features.
        budget: Time for all shapes together, compiling included: `"60s"`, `"5m"`, or seconds.
        threads: How many torch uses in the search; None: its current number. Give the number that the module will run
            with: compiled code is made for it.
        ways: The `.frame` of an earlier search, or the CSV file of `rnnbench fastest --save-ways`, and nothing is
            measured.
        progress: Whether to show the progress on a terminal and in a notebook.

    Returns:
        A `FastestModule`. It is called as torch.nn's layers are, (input, state=None) -> (outputs, state), and has the
        parameters of the given module under the same names, so `state_dict`, `load_state_dict`, `to`, `train`,
        optimizers and `copy.deepcopy` work as with the given one. A change of weights is always seen, since nothing
        that is made from weights is kept from call to call. Where the module runs as given, a call of the result is a
        call of the module and one function in Python more.
        Any other call runs as given: of a batch size or length that was not measured (the first one warns), with
        gradients if only inference was measured (or the reverse), of another dtype, within autocast (unless the search
        was, too), and with a packed sequence. Each way draws its own random numbers, such as those of dropout.
        `.frame` has what was measured, and the printed module says which way runs which shape.

    Raises:
        ValueError: Arguments do not fit together.
        TypeError: The module is no torch module.
        RuntimeError: This processor can't run the module. Whatever the module itself raises is raised, too.
    """
    if ways is not None:
        return FastestModule(recognised(module, input)[0], ways_table(ways))
    seconds = argument("budget", budget) or 0.0
    with shown_rounds(is_wanted=progress) as on_progress, with_threads(threads):
        return FastestModule(*find(module, input, phase, shapes, seconds, on_progress))


@for_users
def explain(
    modules: Mapping[str, Callable[..., object]],
    input: CallInput | Mapping[str, CallInput],
    *,
    phase: LivePhase = "inference",
    reference: str | None = None,
    folder: str | Path | None = None,
    budget: str | float | None = "30s",
    threads: int | None = 1,
    progress: bool = True,
) -> ExplainResult:
    """Explain why one live module takes longer than another: where a call's time goes, and which work is needless.

    The command `rnnbench profile` does the same for the cells of a suite.

        rnnbench.explain({"mine": MyLSTM(64, 128), "torch": nn.LSTM(64, 128)}, torch.randn(32, 8, 64), phase="training")

    Needless work is found from what the code does: copies in every step, values that are computed again in every step,
    matmuls of the input or the output that could be one, several small matmuls of one input, values that are read back
    into Python, and unused results. Its cost is measured by calls that leave it out, interleaved with calls that don't.
    The module's weights stay as they are. The difference and its parts are those of a quiet core where `state` is
    `undisturbed`. Compiled and TorchScript modules can't be looked into; for a module that fails under the profiler,
    the result says why.

    Args:
        modules: Modules or functions by name, as for `rnnbench.measure`, which runs first.
        input: The input of all, or of each, as for `measure`.
        phase: A phase of `measure`.
        reference: The module that the others are compared with, as for `measure`.
        folder: Traces are written below it: https://ui.perfetto.dev shows them as flame graphs.
        budget: `"30s"` or seconds; None: no limit. Two fifths of it are for `measure`. What then has no room in it is
            left out, and `.note` says so.
        threads: How many threads torch uses, as for `measure`.
        progress: Whether to show the progress on a terminal and in a notebook.

    Returns:
        A `FrameResult`, which prints as a few sentences; `words(name)` are those on one module. Beside the frames of
        `measure` it has

        - `.causes`: a row for each step from a module's time to the reference's, the last for what nothing explains:
          `label`, `kind` and `what`; `seconds` with a 95% interval, and their `share` of the difference; `calls` in
          which it happens; `is_certain`, whether it is beyond chance;
        - `.breakdown`: a row for each module, part and kind of work; `.operators`: the operators that take longest.

        `.plot()` draws where the time of each module goes, `.plot(name)` the way from one module down to the reference;
        `trace(name)` is the path of a trace, if a `folder` was given.

    Raises:
        ValueError: As `rnnbench.measure` does.
        RuntimeError: As `rnnbench.measure` does.
    """
    settings = measure_settings(budget)
    path = None if folder is None else Path(folder)
    with shown_rounds(is_wanted=progress) as on_progress:
        comparison, profiles = explain_live(
            compared(modules, input, phase, reference, threads), settings, path, on_progress
        )
    return explained(comparison, settings, profiles, path)


def measure_settings(budget: str | float | None, precision: str | float | None = 0.02, **more: Any) -> Settings:
    """Validate the settings; raises ValueError with a message of one line."""
    more |= {"budget_seconds": argument("budget", budget), "precision": argument("precision", precision)}
    try:
        return Settings(**more, max_replicates=UNLIMITED_ROUNDS)
    except ValidationError as error:
        fault = error.errors()[0]
        raise ValueError(f"{fault['loc'][0]}: {fault['msg'].lower()}, found {fault['input']!r}") from None


def argument(name: Literal["budget", "precision"], value: str | float | None) -> float | None:
    """Return seconds (`"60s"`) or a share (`"2%"`) as a number; raises ValueError with the name of the argument."""
    try:
        return None if value is None else (seconds_of if name == "budget" else share_of)(value)
    except ValueError as fault:
        raise ValueError(f"{name}: {fault}") from None


@for_users
def assert_not_slower(
    mine: Callable[..., object],
    *,
    than: Callable[..., object],
    factor: float,
    input: CallInput | Mapping[str, CallInput] = (),
    phase: LivePhase = "inference",
    budget: str | float = "10s",
    precision: str | float | None = None,
    threads: int | None = 1,
    undecided: Literal["fail", "pass"] = "fail",
    equal_outputs: bool = True,
) -> NotSlowerResult:
    """Raise AssertionError unless `mine` is shown to take at most `factor` times as long as `than`.

        layer = nn.LSTM(64, 128)
        mine = rnnbench.same_weights(MyLSTM(64, 128), like=layer)
        rnnbench.assert_not_slower(mine, than=layer, input=torch.randn(32, 8, 64), factor=2)

    Both are timed interleaved in this process, on the device of the input, until the 99% interval of the ratio lies
    above the factor (`mine` is slower) or at or below it (it is not). The interval accounts for being looked at again
    and again while data grows: if the ratio equals the factor, either answer is given at most once in 200 times, as
    long as the ratio differs from process to process by 1% at most (standard deviation) and the replicates of a process
    correlate with their neighbours by 0.5 at most; both are part of the interval. Two ratios have to pass, that of the
    typical call and that of their mean, so that calls that are slow now and then are seen too; calls that are slow more
    seldom than once in the calls made are not. Both are undisturbed, or both on a shared core: see `state` of
    `rnnbench.measure`.

    A factor within 3% of the ratio stays undecided, or within 6% if another hyperthread uses the core at times and
    slows the two unequally: choose one well away from the ratio that you expect.

    If outputs differ, it raises before anything is timed. They are compared again after timing, on other values.
    Gradients are not compared.

    Args:
        mine: A torch module, or a function that returns a tensor, or a tuple with the output first.
        than: What it is compared with.
        factor: How many times as long `mine` may take: 1.2 for 20% longer.
        input: A tensor, (seq, batch, input) for torch's layers, a tuple of arguments, or a mapping with the keys `mine`
            and `than`.
        phase: A phase of `rnnbench.measure`.
        budget: Stop when this much time is spent: `"30s"` or seconds.
        precision: Stop without an answer when the ratio is known within this share: `"1%"`.
        threads: How many threads torch uses, as for `measure`.
        undecided: `fail` or `pass`: what to do without an answer.
        equal_outputs: Whether the outputs have to be equal.

    Returns:
        A `FrameResult`, which prints as a sentence: its frames are those of `measure`, `answer` is `not slower`,
        `slower`, or None for neither, and `state` that of the core.

    Raises:
        AssertionError: `mine` is slower, outputs differ, or there is no answer and `undecided` is `fail`.
        ValueError: Arguments do not fit together, or a module raised it (`mine` or `than` stands in front).
        RuntimeError: A module raised any other exception.
    """
    __tracebackhide__ = True
    if undecided not in ("fail", "pass"):
        raise ValueError(f"undecided: expected fail or pass, or skip in a test of pytest; found {undecided!r}")
    if isinstance(factor, bool) or not isinstance(factor, int | float) or not 0 < factor < math.inf:
        raise ValueError(f"factor: expected a number above 0, such as 1.2 for 20% longer, found {factor!r}")
    question = Question(float(factor), argument("precision", precision))
    names = names_of(mine, than)
    seconds = argument("budget", budget) or 0.0
    with compared({MINE: mine, THAN: than}, input, phase, THAN, threads) as comparison:
        if not equal_outputs or comparison.parity[MINE].is_equal_work:
            comparison.until(question, time.monotonic() + seconds)
            if comparison.turns.interrupted:
                raise KeyboardInterrupt
            question.look()
    if equal_outputs and not comparison.parity[MINE].is_equal_work:
        raise AssertionError(unequal_outputs(comparison, names))
    result = judged(comparison, question, seconds, names)
    if result.answer == "slower" or (result.answer is None and undecided == "fail"):
        raise AssertionError(result.sentence)
    return result
