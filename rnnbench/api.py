"""The functions of `import rnnbench`, beside `load` and `summarize`."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from rnnbench.harness.live import Found
    from rnnbench.report.notebook.explained import Explained
    from rnnbench.report.notebook.measured import Measured
    from rnnbench.store.records import Phase
    from rnnbench.suite_file import Settings


def predict(run: "pd.DataFrame", sizes: str | Mapping[str, int | str | Sequence[int | str]]) -> "pd.DataFrame":
    """Predicted time, and ratio to torch.nn, of each series of a run at sizes that were not measured, with intervals.

        rnnbench.predict(rnnbench.load("results/..."), "batch_size=48 seq_len=32 hidden_size=200,400 cell=lstm")

    `run`: a frame that `rnnbench.load` gave, or its summary. `sizes`: an expression, or a mapping from axis to values,
    of `batch_size`, `seq_len`, `input_size` and `hidden_size`, whose product is taken; one that was measured at a
    single value may be left out. Other axes (`cell`, `phase`, ...) keep the series that have these values.

    A row for each series and size, with its axes and

    - `status`: `predicted`, or `not predicted`; `reason`, which also says why an interval is missing;
    - `seconds`, `seconds_low`, `seconds_high` per call, `ratio`, `ratio_low`, `ratio_high`: the fit and its 95%
      interval;
    - `bound_by`: `dispatch`, `arithmetic` or `memory`, whichever takes most, and the share of each under its name;
    - `measured_seconds`: what was measured at just this size, NaN where nothing was.

    A series is a cell's times over sizes. It is fitted from six sizes on, if two of the axes have three values or more;
    nothing is predicted beyond twice what was measured. Raises `rnnbench.errors.UserError` where there is no such
    series, or a size is missing or no whole number.
    """
    from rnnbench.analysis.scaling.predict import predict as predicted
    from rnnbench.analysis.summary import summarize
    from rnnbench.expressions import parse_only

    summary = run if "seconds_low" in run else summarize(run)
    given = sizes if isinstance(sizes, str) else " ".join(f"{axis}={_values(value)}" for axis, value in sizes.items())
    return predicted(summary, parse_only([given], "sizes"))


def _values(value: "int | str | Sequence[int | str]") -> str:
    from rnnbench.expressions import quoted

    if isinstance(value, str) or not isinstance(value, Sequence):
        return str(value)
    return ",".join(quoted(str(one)) for one in value)


def measure(
    modules: Mapping[str, Callable[..., object]],
    inputs: "Tensor | tuple[Any, ...] | Mapping[str, Tensor | tuple[Any, ...]]",
    phase: "Phase" = "inference",
    *,
    reference: str | None = None,
    precision: float | None = 0.02,
    budget_seconds: float | None = 30.0,
    replicates: int = 6,
    most_replicates: int = 20,
    window_seconds: float = 0.01,
    progress: bool = True,
) -> "Measured":
    """Time live modules against each other, in turns, in this process: a frame with ratios and 95% intervals.

        rnnbench.measure({"mine": MyLSTM(64, 128), "torch": nn.LSTM(64, 128)}, torch.randn(32, 8, 64), "training")

    `modules`: torch modules or functions by name. `inputs`: a tensor, (seq, batch, input) for torch's layers, a
    tuple of arguments, or a mapping from each name to its own. The work is done on the device that they lie on,
    with as many threads as torch has now.

    `phase`: `inference` (forward, in inference mode), `training` (forward, and backward from a fixed gradient of
    the output to all parameters) or `step` (and an Adam step with a learning rate of zero). The output is the first
    tensor that a module returns; of (output, state), the state gets no gradient. Modules are timed in the mode that
    they are in: call their `eval()` before, for inference without dropout.

    `reference` names what ratios are to: else the only torch.nn layer, else the first. Before anything is timed,
    each output is compared with the reference's, to the tolerances of `rnnbench run`; gradients are not. One of
    another shape is an error; one of other values (other weights, say) is timed, and the column `parity` tells.

    Rounds are added until each ratio's interval is within `precision` (0.02: 2%; None: no more than `replicates`),
    at least `replicates`, at most `most_replicates` of them, and none that `budget_seconds` has no room for; None
    is no limit. The result, a `rnnbench.report.notebook.measured.Measured`, has a row for each module, in seconds per
    call; its `attrs["note"]` says what was missed. `progress`: shown on a terminal and in a notebook.

    A round is a few windows of about `window_seconds` for each module. Intervals are over rounds in one process,
    and do not hold what differs from process to process, such as what lies where in memory: maybe a percent or two.
    `rnnbench run` takes fresh processes, for numbers that should hold tomorrow.

    Gradients, weights, buffers, random generators, torch's settings and garbage collection are afterwards as they
    were before, also after Ctrl-C. Raises ValueError for what does not fit together; what a module raises comes
    with its name in front, as ValueError or RuntimeError.
    """
    from rnnbench.harness import live
    from rnnbench.report.screen.progress import shown_rounds

    settings = _settings(
        precision=precision,
        budget_seconds=budget_seconds,
        replicates=replicates,
        most_replicates=most_replicates,
        window_seconds=window_seconds,
    )
    with shown_rounds() if progress else nullcontext(lambda step: None) as on_progress:
        found = live.measure(modules, inputs, phase, reference, settings, on_progress)
    return _framed(found, phase, settings)


def explain(
    modules: Mapping[str, Callable[..., object]],
    inputs: "Tensor | tuple[Any, ...] | Mapping[str, Tensor | tuple[Any, ...]]",
    phase: "Phase" = "inference",
    *,
    reference: str | None = None,
    folder: str | Path | None = None,
    budget_seconds: float | None = 30.0,
    window_seconds: float = 0.01,
    progress: bool = True,
) -> "Explained":
    """Why a live module takes longer than another: where each call's time goes, and what is needless in it.

        rnnbench.explain({"mine": MyLSTM(64, 128), "torch": nn.LSTM(64, 128)}, torch.randn(32, 8, 64), "training")

    `modules`, `inputs`, `phase`, `reference`, `window_seconds` and `progress` are those of `rnnbench.measure`, which it
    does first; `budget_seconds` is for that alone. With a `folder`, traces for Perfetto and stacks for flame graphs are
    written below it.

    Copies in every step, products of the input that could be one, several small products of one input, values that are
    read back into Python and results that nothing uses are found by what the code does, and sized by calls that leave
    them out, in turns with calls that don't. What the module computes is not changed by that, nor are its weights.

    The result, a `rnnbench.report.notebook.explained.Explained`, prints as a few sentences; it has `words(name)`,
    `breakdown`, `operators(name)`, `plot(name)`, `plot_memory(name)` and `flame_graph(name)`. Raises ValueError and
    RuntimeError as `rnnbench.measure` does; a module that fails under the profiler is told in the result.
    """
    from rnnbench.analysis.gap import between, is_alike, take_apart
    from rnnbench.harness.profiling.explain import explain as explain_live
    from rnnbench.report.notebook.explained import Explained
    from rnnbench.report.screen.progress import shown_rounds

    settings = _settings(budget_seconds=budget_seconds, window_seconds=window_seconds)
    place = None if folder is None else Path(folder)
    with shown_rounds() if progress else nullcontext(lambda step: None) as on_progress:
        found, profiles = explain_live(modules, inputs, phase, reference, settings, place, on_progress)
    taken = {name: {number: time.low for number, time in enumerate(each)} for name, each in found.taken.times.items()}
    gaps, end = {}, taken[found.reference]
    for name, own in profiles.items():
        if name != found.reference:
            alike = is_alike(own, taken[name]) and is_alike(profiles[found.reference], end)
            below = between(own, profiles[found.reference]) if alike else ()
            gaps[name] = take_apart({name: taken[name]}, end, own.causes, below)
    return Explained(_framed(found, phase, settings), profiles, gaps, place)


def _settings(**given: Any) -> "Settings":
    """Checked; raises ValueError in one line."""
    from pydantic import ValidationError

    from rnnbench.suite_file import Settings

    try:
        return Settings(**given)
    except ValidationError as error:
        faults = (f"{one['loc'][0]}: {one['msg'].lower()}, found {one['input']!r}" for one in error.errors())
        raise ValueError("; ".join(faults)) from None


def _framed(found: "Found", phase: "Phase", settings: "Settings") -> "Measured":
    import pandas as pd

    from rnnbench.analysis.rounds import compare
    from rnnbench.report.notebook.measured import Measured, note

    frame = compare(found.taken.times, found.reference)
    frame["parity"] = pd.Series(found.parity)
    frame["parameters"] = pd.Series(found.parameters, dtype="Int64")
    measured = Measured(frame)
    measured.attrs = {
        "phase": phase,
        "reference": found.reference,
        "device": found.device,
        "threads": found.threads,
        "torch": found.torch,
        "note": " ".join([note(frame, settings, cut=found.taken.cut), *found.notes]),
    }
    return measured
