"""Functions of `import rnnbench` for modules of the caller's own process."""

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import pandas as pd
from pydantic import ValidationError
from torch import Tensor, nn

from rnnbench.analysis.rounds import MINE, THAN, Question
from rnnbench.api import for_users
from rnnbench.cells.weights import copy_weights
from rnnbench.harness.live.measuring import compared
from rnnbench.harness.live.measuring import sweep as each_point
from rnnbench.profiling.profile import explain as explain_live
from rnnbench.report.fastest import FastestModule
from rnnbench.report.notebook import (
    FrameResult,
    explained,
    judged,
    measured,
    names_of,
    swept,
    unequal_outputs,
)
from rnnbench.report.screen.progress import at_point, shown_rounds
from rnnbench.speedup.search import find, recognised
from rnnbench.speedup.ways import Unrolled, ways_table
from rnnbench.store.records import Phase, does_equal_work
from rnnbench.suite.file import Settings
from rnnbench.text import seconds_of, share_of
from rnnbench.workloads.model import Headed

MAX_ROUNDS = 1_000_000  # the budget ends them before

Mine = TypeVar("Mine", bound=nn.Module)
CallInput = Tensor | tuple[Any, ...]  # of a call: its input, or all its arguments


@for_users
def measure(
    modules: Mapping[str, Callable[..., object]],
    input: CallInput | Mapping[str, CallInput],
    phase: Phase = "inference",
    *,
    reference: str | None = None,
    precision: str | float | None = 0.02,
    budget: str | float | None = "30s",
    replicates: int = 6,
    threads: int | None = 1,
    progress: bool = True,
) -> FrameResult:
    """Time live modules in turns in this process: times, ratios and 95% intervals.

        rnnbench.measure({"mine": MyLSTM(64, 128), "torch": nn.LSTM(64, 128)}, torch.randn(32, 8, 64), "training")

    `modules`: torch modules or functions by name; `rnnbench.unroll` makes a layer of a cell. `input`: a tensor,
    (seq, batch, input) for torch's layers, a tuple of arguments, or a mapping from each name to its own input, which
    modules that read (batch, seq, input) need beside others. The modules run on the device of their input. `threads`:
    how many torch uses (None: its current number); more than one are steady only if as many cores are free.

    `phase`: `inference` (forward, in inference mode), `training` (forward, and backward from a fixed gradient of
    the output to all parameters) or `step` (`training` and an Adam step with a learning rate of zero). The output is
    the first tensor that a module returns; in (output, state), the state gets no gradient. Modules keep their train or
    eval mode: call `eval()` first for inference without dropout.

    `reference`: the module that the others are compared with; by default the only torch.nn layer or cell, or else the
    first module. Outputs are compared with its output before timing and, on other values, after it, to the tolerances
    of `rnnbench run`; gradients are not. An output of another shape is an error. A module whose output has other
    values, for example from other weights, is still timed, and `parity` says so and, if it can be found, why. A module
    that this processor can't run, such as an LSTM under autocast to float16, is left out: its row has no numbers, and
    `parity` is the reason. If nothing is left to compare, that is an error.

    Rounds are added until each ratio's interval is within `precision` (`"2%"` or 0.02; None: stop after `replicates`)
    or the `budget` is spent (`"30s"`, `"5m"` or seconds; None: no limit). There are at least `replicates` rounds if the
    budget has room for them, and one in any case. Ctrl-C ends the rounds and keeps those that are finished.
    `progress`: show it on a terminal and in a notebook.

    Returns a `FrameResult`. Its `.frame` has a row for each module, by its name:

    - `seconds`, `seconds_low`, `seconds_high`: time per call and its 95% interval over rounds;
    - `ratio`, `ratio_low`, `ratio_high`: time over the reference's, taken within each round; 1 for the reference;
    - `state`: `undisturbed` if time and ratio are of moments when no other hyperthread used the core, as pulses tell
      between the calls; `on a shared core` if there were too few, and all moments count: then another run may find
      other ratios. Empty if the core was always quiet, or if pulses can't tell (several threads, a GPU);
    - `parity`: whether the output agrees with the reference's, or why it is not compared, and whether a module keeps
      results, so that a second call with the same input does less;
    - `replicates`, how many rounds; `mean_seconds`, the plain mean over all calls, which shows what a median can't;
      `parameters`, how many a module has, missing for a function.

    `.rounds` has a row for each module and round: of all calls, and `quiet_blocks` and `quiet_ratio` of the quiet
    moments. `.environment` has one for each fact about the machine and the software;
    `.note` says what was missed, and `.plot()` draws the ratios.

    Intervals do not include the differences between processes, such as the layout of memory: one or two percent. They
    allow for rounds that resemble their neighbours as much as they usually do (a correlation of 0.5); in a process that
    wanders for longer they hold the true ratio less often than 95%, before some 60 rounds. For numbers that should hold
    tomorrow, use `rnnbench run`, which starts fresh processes.

    Gradients, weights, buffers, random generators, torch's settings, the cores of the calling thread and garbage
    collection are restored afterwards, also after Ctrl-C: calls by one thread are made on the core that is quiet more
    often. Raises ValueError for arguments that do not fit together, RuntimeError if another thread of this
    process is measuring, and for an exception from a module one of the two with the module's name in front.
    """
    settings = measure_settings(budget, precision, replicates=replicates)
    started = time.monotonic()
    with shown_rounds(is_wanted=progress) as show, compared(modules, input, phase, reference, threads) as found:
        found.measure(settings, started, show)
    return measured(found, settings)


@for_users
def sweep(
    modules: Mapping[str, Callable[..., Any]],
    input: Callable[..., CallInput | Mapping[str, CallInput]],
    phase: Phase | Sequence[Phase] = "inference",
    *,
    reference: str | None = None,
    threads: int | Sequence[int | None] | None = 1,
    precision: str | float | None = 0.02,
    budget: str | float | None = "120s",
    replicates: int = 4,
    progress: bool = True,
    **sizes: Sequence[Any],
) -> FrameResult:
    """Time live modules over sizes: `rnnbench.measure` at each combination, in one frame.

        rnnbench.sweep(
            {"mine": lambda hidden: MyLSTM(64, hidden), "torch": lambda hidden: nn.LSTM(64, hidden)},
            input=lambda batch_size, seq_len: torch.randn(seq_len, batch_size, 64),
            phase=["inference", "training"], batch_size=[1, 32], seq_len=[16, 64], hidden=[64, 256],
        )

    `modules`: modules and functions by name, as for `measure`; or what builds them: a class or function whose
    parameters are all names of sizes; a module that is built gets the weights of the reference where its parameters
    fit (`same_weights`). `input`: a function that makes the input from the sizes that it names.
    `sizes`: lists of values under names of your choice; each combination of them, of `phase` and of `threads` is
    measured, the modules in turns. `budget` (`"60s"` or seconds) is for all combinations together. `reference`,
    `precision`, `replicates` and `progress` are those of `measure`.

    A combination that fails, or that this processor can't run, keeps its rows, with the reason. Ctrl-C keeps what is
    finished.

    Returns a `FrameResult`. Its `.frame` and `.rounds` are those of `measure` with the sizes as first columns, and
    `module`, `status` (`measured`, `skipped` or `failed`) and `reason`. `.plot("ratio")`, or `.plot("scaling")` for the
    times, those of the reference too, draws a line for each module; `frame`: the rows to draw, by default all; `along`:
    the size below the figure, by default the one with the most values. Raises ValueError or TypeError for arguments
    that do not fit together, and RuntimeError if no combination was measured.
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
        return swept(points, list(modules), settings, axes)


@for_users
def fastest(
    module: nn.Module,
    input: Tensor | tuple[Tensor, Any],
    *,
    phase: Literal["inference", "training"] = "inference",
    shapes: Iterable[Sequence[int]] | None = None,
    budget: str | float = "60s",
    ways: pd.DataFrame | Iterable[Mapping[str, Any]] | str | Path | None = None,
    progress: bool = True,
) -> FastestModule:
    """Find the fastest way to run a recurrent module, and return a module with its weights that runs in this way.

        input = torch.randn(16, 32, 64)
        fast = rnnbench.fastest(nn.GRU(64, 256), input, shapes=[(16, 1), (64, 32)])
        outputs, state = fast(input)

    `module`: a layer of torch.nn (`RNN`, `LSTM`, `GRU`), a cell (`cell(input, state) -> state`, one step), or a module
    that runs a sequence as torch.nn's layers do (`module(input, state) -> (outputs, state)`, or `-> outputs`).
    `input`: (seq, batch, features), or (batch, seq, features) if the module is `batch_first`; or a tuple of the input
    and a state, each tensor (layers, batch, hidden). `phase`: `inference` (forward) or `training` (forward and
    backward). `shapes`: more sizes, in the order of the input: (seq, batch) or with features. `progress`: show it on a
    terminal and in a notebook.

    These ways are tried: the module as given; the products of the input for all steps at once (`hoisted`);
    torch.compile (`compiled`); torch.compile with each product in the library that is fastest here (`prepacked`), on a
    GPU its modes `reduce-overhead` and `max-autotune` instead. For a layer of torch.nn, all of these run rnnbench's own
    cell with the layer's weights. A cell that computes the same as one of these layers is also tried as that layer,
    with the cell's weights (`torch.nn`). A way is used only if its outputs, final state and, in training, gradients
    agree with those of the module as given, to the tolerances of `rnnbench run`. The ways then take turns, and a way is
    left out as soon as it is surely slower. They are compared by moments when no other hyperthread used the core, as
    far as there are enough (`state` in `.frame`: `undisturbed` or `on a shared core`). The module runs with torch's
    current number of threads.

    `budget` (`"60s"`, `"5m"`, or seconds) is for all shapes together, compiling included. A way that is not compiled in
    time is left out, with a reason that says which budget probably has room for it, and `is_sure` is False: it may be
    the fastest. (A way that does not work here, or gives other results, leaves no doubt.) On Linux, ways for a
    processor are compiled in a fork of this process, which is ended in time, and are then found in torch's cache on
    disk; elsewhere nothing is begun that seems to take too long. Times are those of the module that is handed back.
    Another way than the given module is chosen only if it is shown to be no slower. `ways`: the `.frame` of an earlier
    search, or the CSV file of `rnnbench fastest --save`. Then nothing is measured.

    Returns a `FastestModule`. It is called as torch.nn's layers are, (input, state=None) -> (outputs, state), and has
    the parameters of the given module under the same names, so `state_dict`, `load_state_dict`, `to`, `train`,
    optimizers and `copy.deepcopy` work as with the given one. A change of weights is always seen, since nothing that is
    made from weights is kept from call to call. Where the module runs as given, a call of the result is a call of the
    module and one function in Python more. A shape that was not measured runs as the nearest one that was. These
    calls run as given: with gradients if only inference was measured (or the reverse), of another dtype, within
    autocast (unless the search was, too), and with a packed sequence. Each way draws its own random numbers, such as
    those of dropout. `.frame` has what was measured, and the printed module says which way runs which shape.

    Gradients, buffers, random generators and torch's settings are restored afterwards. Raises ValueError or TypeError
    for arguments that do not fit together, RuntimeError if this processor can't run the module, and whatever the module
    itself raises.
    """
    if ways is not None:
        return FastestModule(recognised(module, input)[0], ways_table(ways))
    with shown_rounds(is_wanted=progress) as on_progress:
        return FastestModule(*find(module, input, phase, shapes, argument("budget", budget) or 0.0, on_progress))


@for_users
def explain(
    modules: Mapping[str, Callable[..., object]],
    input: CallInput | Mapping[str, CallInput],
    phase: Phase = "inference",
    *,
    reference: str | None = None,
    folder: str | Path | None = None,
    budget: str | float | None = "30s",
    threads: int | None = 1,
    progress: bool = True,
) -> FrameResult:
    """Explain why one live module takes longer than another: where a call's time goes, and which work is needless.

        rnnbench.explain({"mine": MyLSTM(64, 128), "torch": nn.LSTM(64, 128)}, torch.randn(32, 8, 64), "training")

    `modules`, `input`, `phase`, `reference`, `threads` and `progress` are those of `rnnbench.measure`, which runs
    first, for two fifths of the `budget` (`"30s"` or seconds; None: no limit). What then has no room in it is left out,
    and `.note` says so. With a `folder`, traces are written below
    it: https://ui.perfetto.dev shows them as flame graphs.

    Needless work is found from what the code does: copies in every step, values that are computed again in every step,
    products of the input or the output that could be one, several small products of one input, values that are read
    back into Python, and unused results. Its cost is measured by calls that leave it out, in turns with calls that
    don't. The module's weights stay as they are. The difference and its parts are those of a quiet core where `state`
    is `undisturbed`. Compiled and TorchScript modules can't be looked into.

    Returns a `FrameResult`, which prints as a few sentences; `words(name)` are those on one module. Beside the frames
    of `measure` it has

    - `.causes`: a row for each step from a module's time to the reference's, the last for what nothing explains:
      `label`, `kind` and `what`; `seconds` with a 95% interval, and their `share` of the difference; `calls` in which
      it happens; `is_certain`, whether it is beyond chance;
    - `.breakdown`: a row for each module, part and kind of work; `.operators`: the operators that take longest.

    `.plot()` draws where the time of each module goes, `.plot(name)` the way from one module down to the reference;
    `trace(name)` is the path of a trace, if a `folder` was given. Raises ValueError and RuntimeError as
    `rnnbench.measure` does; for a module that fails under the profiler, the result says why.
    """
    settings = measure_settings(budget)
    path = None if folder is None else Path(folder)
    with shown_rounds(is_wanted=progress) as on_progress:
        found, profiles = explain_live(modules, input, phase, reference, settings, path, threads, on_progress)
    return explained(found, settings, profiles, path)


def measure_settings(budget: str | float | None, precision: str | float | None = 0.02, **more: Any) -> Settings:
    """Validate the settings; raises ValueError with a message of one line."""
    more |= {"budget_seconds": argument("budget", budget), "precision": argument("precision", precision)}
    try:
        return Settings(**more, max_replicates=MAX_ROUNDS)
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
    phase: Phase = "inference",
    budget: str | float = "10s",
    precision: str | float | None = None,
    threads: int | None = 1,
    undecided: Literal["fail", "pass"] = "fail",
    equal_outputs: bool = True,
) -> FrameResult:
    """Raise AssertionError unless `mine` is shown to take at most `factor` times as long as `than`.

        layer = nn.LSTM(64, 128)
        mine = rnnbench.same_weights(MyLSTM(64, 128), like=layer)
        rnnbench.assert_not_slower(mine, than=layer, input=torch.randn(32, 8, 64), factor=2)

    Both are torch modules or functions that return a tensor, or a tuple with the output first. `input`: a tensor,
    (seq, batch, input) for torch's layers, a tuple of arguments, or a mapping with the keys `mine` and `than`. They
    take turns in this process, on the device of the input. `phase` and `threads` are those of `rnnbench.measure`.

    Rounds go on until the 99% interval of the ratio lies above the factor (`mine` is slower) or at or below it (it is
    not), until the `budget` is spent (`"30s"` or seconds), or until the ratio is known within `precision` (`"1%"`). The
    interval accounts for being looked at again and again while data grows: if the ratio equals the factor, either
    answer is given at most once in 200 times, as long as the ratio differs from process to process by 1% at most
    (standard deviation) and the rounds of a process correlate with their neighbours by 0.5 at most; both are part of
    the interval. Two ratios have to pass, that of the typical call and that of their mean, so that calls
    that are slow now and then are seen too; calls that are slow more seldom than once in the calls made are not. Both
    are undisturbed, or both on a shared core: see `state` of `rnnbench.measure`.

    Without an answer it raises AssertionError too, unless `undecided` is "pass". A factor within 3% of the ratio stays
    undecided, or within 6% if another hyperthread uses the core at times and slows the two unequally: choose one well
    away from the ratio that you expect.

    If outputs differ, it raises before anything is timed, unless `equal_outputs` is False. They are compared again
    after timing, on other values. Gradients are not compared. Returns a `FrameResult`, which prints as a sentence: its
    frames are those of `measure`, `answer` is `not slower`, `slower`, or None for neither, and `state` that of the
    core. Raises ValueError for arguments that do not fit together, and what a module raises, with `mine` or `than` in
    front.
    """
    __tracebackhide__ = True
    if undecided not in ("fail", "pass"):
        raise ValueError(f"undecided: expected fail or pass, or skip in a test of pytest; found {undecided!r}")
    if isinstance(factor, bool) or not isinstance(factor, int | float) or not 0 < factor < math.inf:
        raise ValueError(f"factor: expected a number above 0, such as 1.2 for 20% longer, found {factor!r}")
    question, called = Question(float(factor), argument("precision", precision)), names_of(mine, than)
    seconds = argument("budget", budget) or 0.0
    with compared({MINE: mine, THAN: than}, input, phase, THAN, threads) as found:
        if not equal_outputs or does_equal_work(found.parity[MINE]):
            found.until(question, time.monotonic() + seconds)
            if found.turns.interrupted:
                raise KeyboardInterrupt
            question.look()
    if equal_outputs and not does_equal_work(found.parity[MINE]):
        raise AssertionError(unequal_outputs(found, called))
    result = judged(found, question, seconds, called)
    if result.answer == "slower" or (result.answer is None and undecided == "fail"):
        raise AssertionError(result.note)
    return result


@for_users
def unroll(cell: nn.Module, *, batch_first: bool = False) -> Unrolled:
    """Run a cell over a sequence, called as torch.nn's layers are.

        layer = rnnbench.unroll(MyCell(64, 128))
        outputs, state = layer(torch.randn(32, 8, 64))

    `cell`: one step, `cell(input, state) -> state`, or any of the forms that `rnnbench run` takes, such as one that
    returns (output, state). `batch_first`: the input is (batch, seq, features) instead of (seq, batch, features).

    Returns a module with the cell as its submodule `cell`: (input, state=None) -> (outputs, state), with a tensor
    (1, batch, hidden) for each tensor of the cell's state. A call without a state begins with the state of the cell's
    own `init_state` or a similar function, with a first step without a state if the cell takes such a step and it is
    none from zeros, or else with zeros. A cell may read frames (seq, batch, channels, height, width); outputs that are
    frames are flattened to (seq, batch, features). A call raises ValueError for an input of other dimensions, if the
    module is no cell or mixes the sequences of a batch, and without a state if the cell goes on from its last call.

    A step costs what it costs in a loop written by hand. A call takes some 20 to 60 µs more, however many steps it has.
    """
    return Unrolled(cell, batch_first=batch_first)


@for_users
def with_head(layer: nn.Module, output_size: int, *, features: int | None = None) -> Headed:
    """Return a recurrent layer whose outputs go through a linear layer.

        model = rnnbench.with_head(nn.LSTM(64, 128), 10)

    `layer`: (input, state=None) -> (outputs, state). `output_size`: how many values the linear layer gives.
    `features`: the last size of the layer's outputs, by default its `hidden_size` (of both directions). Returns a
    module with the submodules `layer` and `head`. Raises ValueError if the number of features is not known.
    """
    return Headed(layer, output_size, features)


@for_users
def same_weights(mine: Mine, *, like: nn.Module) -> Mine:
    """Give a module the weights of another one that computes the same, so that their outputs agree.

        layer = nn.LSTM(64, 128)
        mine = rnnbench.same_weights(rnnbench.unroll(MyCell(64, 128)), like=layer)

    Parameters fit if they have the same shapes and names. The names of submodules in front and the ending `_l0` of a
    single layer do not count: `cell.weight_ih` gets `weight_ih_l0`. A class with other parameters needs a method
    `weights_from`, which makes them from those of a layer, as for `rnnbench run`.

    `mine` is changed and returned; `like` stays as it is. Raises ValueError if the parameters do not fit.
    """
    copy_weights(mine, like)
    return mine
