"""The functions of `import rnnbench`, beside `load` and `summarize`."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor, nn

    from rnnbench.harness.live import Found
    from rnnbench.report.notebook.explained import Explained
    from rnnbench.report.notebook.fastest_module import FastestModule
    from rnnbench.report.notebook.measured import Measured
    from rnnbench.report.notebook.stored_runs import StoredRuns
    from rnnbench.store.records import Phase
    from rnnbench.suite_file import Settings


def load(runs: "str | Path | Iterable[str | Path]", columns: "Collection[str] | None" = None) -> "StoredRuns":
    """Read stored runs: their cases, windows, replicates and environment as plain frames.

        run = rnnbench.load("results/quick-20260101T120000Z-ab12")
        run.cases[["cell", "batch_size", "seconds", "ratio", "ratio_low", "ratio_high"]]

    `runs`: a run's folder, a pattern such as `"results/quick-*"`, or a list of both. `columns`: the columns of
    `.windows` that are needed; all of a run with a million windows take half a gigabyte.

    Returns a `rnnbench.report.notebook.stored_runs.StoredRuns` with `.cases` (a row for each case: axes, metrics, time
    and ratio with 95% intervals), `.windows` (a row for each window), `.replicates`, `.steps` (of streams) and
    `.environment`. results/README.md describes every column. Raises `rnnbench.errors.UserError` if a folder is not a
    run, if a line can't be read, or for an unknown column.
    """
    from rnnbench.report.notebook.stored_runs import StoredRuns, found

    return StoredRuns(found(runs), columns)


def summarize(
    windows: "StoredRuns | pd.DataFrame",
    cases: "pd.DataFrame | None" = None,
    steps: "pd.DataFrame | None" = None,
) -> "pd.DataFrame":
    """One row for each case: its time per call and its ratio to the reference, with 95% intervals.

        summary = rnnbench.summarize(pd.read_parquet("windows.parquet"), pd.read_parquet("cases.parquet"))

    `windows`: what `rnnbench.load` returned, or a frame with the columns of its `.windows`, for example one that was
    selected from it or read back from a file. `cases`: a frame with metrics, such as `.cases`; its times are computed
    anew. Without it, metrics and limits are not known. `steps`: the frame `.steps`, needed for the windows of streams.

    Beside the columns of the case:

    - `replicates`, `windows`, `calls`: how many it was measured in;
    - `seconds`, `seconds_low`, `seconds_high`: time per call and its 95% interval. A replicate's time is the 10%
      quantile of all its calls; the value is the Hodges-Lehmann estimate over replicates, on logarithms;
    - `mean_seconds`: the plain mean over all calls, for what a low quantile can't see;
    - `ratio`, `ratio_low`, `ratio_high`: time over that of the group's reference, from the ratios within each
      replicate; 1 for the reference itself, NaN if it was not measured. If no case has a reference, it is over the time
      of the fastest case of its group, which is 1;
    - `submit_share`: the share of the windows' time that the host took to queue their calls; `launch_bound`: whether
      the device waited for the host (never on a CPU, which runs its calls itself);
    - of a run with streams, the latency of their steps: `latency_p50` to `latency_p99_9` and `late_share`;
    - the derived metrics (`rnnbench list metrics`), and `bound_by`, what sets the limit of its time: `arithmetic`,
      `memory`, `weights` (read in every step) or `steps`.

    Each interval covers its own case 95% of the time; none is widened because there are many. Below ten replicates the
    variances of the cases of a run borrow from each other, so a part of a frame may have slightly other intervals.
    Raises `rnnbench.errors.UserError` if a frame lacks a column or a row.
    """
    from rnnbench.analysis.runs.from_frames import run_times
    from rnnbench.analysis.runs.summary import summarize as summarized
    from rnnbench.report.notebook.stored_runs import StoredRuns
    from rnnbench.store.frames.categories import with_categories

    if isinstance(windows, StoredRuns):
        return windows.cases
    return with_categories(summarized(run_times(windows, cases, steps)))


def predict(
    run: "StoredRuns | pd.DataFrame", sizes: "str | Mapping[str, int | str | Iterable[int | str]]"
) -> "pd.DataFrame":
    """Predict the time, and the ratio to torch.nn, of each series of a run at sizes that were not measured.

        rnnbench.predict(rnnbench.load("results/..."), "batch_size=48 seq_len=32 hidden_size=200,400 cell=lstm")

    `run`: what `rnnbench.load` returned, or its `.cases`. `sizes`: an expression, or a mapping from axis to values. All
    combinations of `batch_size`, `seq_len`, `input_size` and `hidden_size` are predicted; an axis that was measured at
    a single value may be left out. Other axes (`cell`, `phase`, ...) select the series that have these values.

    Returns a row for each series and size, with its axes and

    - `status`: `predicted` or `not predicted`; `reason`, which also explains a missing interval;
    - `seconds`, `seconds_low`, `seconds_high` per call, `ratio`, `ratio_low`, `ratio_high`: the fit and its 95%
      interval;
    - `bound_by`: `dispatch`, `arithmetic` or `memory`, whichever takes most; columns of these names hold the shares;
    - `measured_seconds`: the time that was measured at exactly this size, NaN if there is none.

    A series is a cell's times over sizes. A fit needs at least six sizes, with three or more values on two of the axes.
    Nothing is predicted beyond twice the measured range. Raises `rnnbench.errors.UserError` if there is no such series,
    or if a size is missing or not a whole number.
    """
    from rnnbench.analysis.scaling.predict import predict as predicted
    from rnnbench.expressions import parse_only
    from rnnbench.report.notebook.stored_runs import StoredRuns
    from rnnbench.store.frames.categories import without_categories

    cases = run.cases if isinstance(run, StoredRuns) else run
    summary = without_categories(cases if "seconds_low" in cases else summarize(cases))
    given = sizes if isinstance(sizes, str) else " ".join(f"{axis}={_values(value)}" for axis, value in sizes.items())
    return predicted(summary, parse_only([given], "sizes"))


def _values(value: "int | str | Iterable[int | str]") -> str:
    """One value, or several in any list, range, array or Series."""
    from rnnbench.expressions import quoted

    if isinstance(value, str) or not isinstance(value, Iterable):
        return str(value)
    return ",".join(quoted(str(item)) for item in value)


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
    """Time live modules in turns in this process. Returns a frame with times, ratios and 95% intervals.

        rnnbench.measure({"mine": MyLSTM(64, 128), "torch": nn.LSTM(64, 128)}, torch.randn(32, 8, 64), "training")

    `modules`: torch modules or functions by name. `inputs`: a tensor, (seq, batch, input) for torch's layers, a
    tuple of arguments, or a mapping from each name to its own inputs. The modules run on the device of their inputs,
    with torch's current number of threads.

    `phase`: `inference` (forward, in inference mode), `training` (forward, and backward from a fixed gradient of
    the output to all parameters) or `step` (`training` and an Adam step with a learning rate of zero). The output is
    the first tensor that a module returns; in (output, state), the state gets no gradient. Modules keep their train or
    eval mode: call `eval()` first for inference without dropout.

    `reference`: the module that the others are compared with; by default the only torch.nn layer or cell, or else the
    first module. Before timing, each output is compared with the reference's, to the tolerances of `rnnbench run`;
    gradients are not compared. An output of another shape is an error. A module whose output has other values (from
    other weights, say) is still timed, and the column `parity` says so. Outputs are compared again after the last
    round, on other values: the inputs' own, rolled in place, and put back afterwards. `parity` also says if a module
    keeps results, so that a second call with the same input does less.

    Rounds are added until each ratio's interval is within `precision` (0.02: 2%; None: stop after `replicates`). There
    are at least `replicates` and at most `most_replicates` of them, and no round starts that `budget_seconds` has no
    room for (None: no limit). The result, a `rnnbench.report.notebook.measured.Measured`, has a row for each module, in
    seconds per call; its `attrs["note"]` says what was missed. `progress`: show it on a terminal and in a notebook.

    A round is a few windows of about `window_seconds` for each module. Intervals cover the differences between rounds
    of one process, but not those between processes, such as the layout of memory: maybe a percent or two.
    `rnnbench run` starts fresh processes, for numbers that should hold tomorrow.

    Gradients, weights, buffers, random generators, torch's settings and garbage collection are restored afterwards,
    also after Ctrl-C. Raises ValueError for arguments that do not fit together. An exception from a module is raised as
    ValueError or RuntimeError with the module's name in front.
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
        result = live.measure(modules, inputs, phase, reference, settings, on_progress)
    return _framed(result, phase, settings)


def fastest(
    module: "nn.Module",
    input: "Tensor | tuple[Tensor, Any]",
    *,
    phase: Literal["inference", "training"] = "inference",
    shapes: Iterable[Sequence[int]] | None = None,
    budget: str | float = "60s",
    ways: "pd.DataFrame | Iterable[Mapping[str, Any]] | None" = None,
    progress: bool = True,
) -> "FastestModule":
    """Find the fastest way to run a recurrent module, and return a module with its weights that runs so.

        fast = rnnbench.fastest(nn.GRU(64, 256), torch.randn(16, 32, 64), shapes=[(16, 1), (64, 32)])
        outputs, state = fast(input)

    `module`: a layer of torch.nn (`RNN`, `LSTM`, `GRU`), a cell (`cell(input, state) -> state`, one step), or a module
    that runs a sequence as torch.nn's layers do (`module(input, state) -> (outputs, state)`). `input`: (seq, batch,
    features), or (batch, seq, features) if the module is `batch_first`; or a tuple of the input and a state, each
    tensor (layers, batch, hidden). `phase`: `inference` (forward) or `training` (forward and backward). `shapes`: more
    sizes, in the order of the input: (seq, batch) or with features. `progress`: show it on a terminal and in a
    notebook.

    The ways are the module as given, with the products of the input for all steps at once (`hoisted`), by torch.compile
    (`compiled`), and by torch.compile with each product in the library that is fastest here (`prepacked`). A layer of
    torch.nn also runs as rnnbench's hand-written cell with the layer's weights. A way is used only if its outputs,
    final state and, in training, gradients agree with those of the module as given, to the tolerances of
    `rnnbench run`. The ways then take turns, and the slower ones are left out as soon as that is certain. The module
    runs with torch's current number of threads.

    `budget` (`"60s"`, `"5m"`, or seconds) is for all shapes together; compiling is part of it, but is not cut short.
    `ways`: what an earlier search found, its `table`: then nothing is measured.

    Returns a `FastestModule`: it is called as torch.nn's layers are, (input, state=None) -> (outputs, state), and has
    the parameters of the given module under the same names, so `state_dict`, `load_state_dict`, `to`, `train`,
    optimizers and `copy.deepcopy` work as with the given one. A change of weights is always seen, since nothing that is
    made from weights is kept from call to call. A shape that was not measured runs as the nearest one that was; a call
    with gradients where only inference was measured (or the reverse), of another dtype, or with a packed sequence runs
    as given. Its `table` has what was measured, and it prints which way runs which shape.

    Gradients, buffers, random generators and torch's settings are restored afterwards. Raises ValueError or TypeError
    for arguments that do not fit together, and whatever the module itself raises.
    """
    from rnnbench.harness.fastest import find, with_ways
    from rnnbench.report.notebook.fastest_module import FastestModule
    from rnnbench.report.screen.progress import shown_rounds
    from rnnbench.text import seconds_of

    if ways is not None:
        rows: Any = ways.to_dict("records") if hasattr(ways, "to_dict") else ways
        return FastestModule(with_ways(module, input, rows))
    with shown_rounds() if progress else nullcontext(lambda step: None) as on_progress:
        return FastestModule(find(module, input, phase, shapes, seconds_of(budget), on_progress))


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
    """Explain why one live module takes longer than another: where a call's time goes, and which work is needless.

        rnnbench.explain({"mine": MyLSTM(64, 128), "torch": nn.LSTM(64, 128)}, torch.randn(32, 8, 64), "training")

    `modules`, `inputs`, `phase`, `reference`, `window_seconds` and `progress` are those of `rnnbench.measure`, which
    runs first; `budget_seconds` limits only that part. With a `folder`, traces for Perfetto and stacks for flame graphs
    are written below it.

    Needless work is found from what the code does: copies in every step, values that are computed again in every step,
    products of the input or the output that could be one, several small products of one input, values that are read
    back into Python, and unused results. Its cost is measured by calls that leave it out, in turns with calls that
    don't. On a CPU the module's matrix products are also made in each library that torch has. This changes neither what
    the module computes nor its weights. Compiled and TorchScript modules can't be looked into, and the words say so.

    The result, a `rnnbench.report.notebook.explained.Explained`, prints as a few sentences; it has `words(name)`,
    `breakdown`, `operators(name)`, `plot(name)`, `plot_memory(name)` and `flame_graph(name)`. Raises ValueError and
    RuntimeError as `rnnbench.measure` does; for a module that fails under the profiler, the result says why.
    """
    from rnnbench.analysis.gaps.gap import of_profiled
    from rnnbench.harness.profiling.explain import explain as explain_live
    from rnnbench.report.notebook.explained import Explained
    from rnnbench.report.screen.progress import shown_rounds

    settings = _settings(budget_seconds=budget_seconds, window_seconds=window_seconds)
    path = None if folder is None else Path(folder)
    with shown_rounds() if progress else nullcontext(lambda step: None) as on_progress:
        result, profiles = explain_live(modules, inputs, phase, reference, settings, path, on_progress)
    taken = {name: {index: time.low for index, time in enumerate(times)} for name, times in result.taken.times.items()}
    end = result.reference
    gaps = {
        name: of_profiled({name: taken[name]}, taken[end], [profile], profiles[end])
        for name, profile in profiles.items()
        if name != end
    }
    return Explained(_framed(result, phase, settings), profiles, gaps, path)


def _settings(**given: Any) -> "Settings":
    """Validate the settings; raises ValueError with a message of one line."""
    from pydantic import ValidationError

    from rnnbench.suite_file import Settings

    try:
        return Settings(**given)
    except ValidationError as error:
        faults = (f"{fault['loc'][0]}: {fault['msg'].lower()}, found {fault['input']!r}" for fault in error.errors())
        raise ValueError("; ".join(faults)) from None


def _framed(result: "Found", phase: "Phase", settings: "Settings") -> "Measured":
    import pandas as pd

    from rnnbench.analysis.rounds import compare
    from rnnbench.report.notebook.measured import Measured, note

    frame = compare(result.taken.times, result.reference)
    frame["parity"] = pd.Series(result.parity)
    frame["parameters"] = pd.Series(result.parameters, dtype="Int64")
    measured = Measured(frame)
    measured.attrs = {
        "phase": phase,
        "reference": result.reference,
        "device": result.device,
        "threads": result.threads,
        "torch": result.torch,
        "note": " ".join([note(frame, settings, cut=result.taken.cut, needed=result.taken.needed), *result.notes]),
    }
    return measured
