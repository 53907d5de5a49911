"""The results of `measure`, `sweep`, `explain` and `assert_not_slower`, from what was found of live modules."""

import math
import platform
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import pandas as pd

from rnnbench.analysis.estimate import Estimate
from rnnbench.analysis.quiet_rounds import seconds_logs, seconds_together
from rnnbench.analysis.rounds import MINE, ROUNDS_CONFIDENCE, Question, compare, rounds_of, wider_than
from rnnbench.analysis.summary import SHARED, UNDISTURBED, unlike_clocks
from rnnbench.harness.live.measuring import LiveComparison, Sizes, Unmeasured
from rnnbench.harness.machine.cores import allowed_cores, processor
from rnnbench.report import sentences
from rnnbench.report.frame_result import ExplainResult, MeasureResult, NotSlowerResult, SweepResult
from rnnbench.report.words.names import identity
from rnnbench.report.words.units import (
    duration,
    ratio,
    round_digits,
    round_percent,
    span,
)
from rnnbench.store.profiles import Profile
from rnnbench.suite.file import Settings
from rnnbench.text import as_budget, first_few, plural
from rnnbench.version import __version__

MAX_MODULES_NAMED = 4  # modules
HELD_UP = 1.5  # mean over median; noise on a busy machine makes it 1.1 to 1.3
ONE_PROCESS = (
    "95% intervals are over replicates in this process. Those of ratios also allow for the 1% by which processes "
    "usually differ."
)
LIVE_COLUMNS = (
    *("seconds", "seconds_low", "seconds_high", "ratio", "ratio_low", "ratio_high", "state"),
    *("parity", "replicates", "mean_seconds", "parameters"),
)
VISIBLE_COLUMNS = ("seconds", "ratio", "ratio_low", "ratio_high", "parity")
PASS = "or undecided='pass' to let it through"


def measured(comparison: LiveComparison, settings: Settings) -> MeasureResult:
    """Return the result of `rnnbench.measure`: the frames `frame`, `replicates` and `environment`."""
    frame = compare(comparison.turns.times, comparison.reference)
    frame["parity"] = pd.Series({name: str(parity) for name, parity in comparison.parity.items()})
    keeps_results = [name for name, parity in comparison.parity.items() if parity.kind == "cached"]
    unlike = unlike_clocks(comparison.turns.card_turns, comparison.reference)
    frame.loc[[*keeps_results, *unlike], ["ratio", "ratio_low", "ratio_high"]] = math.nan
    frame["parameters"] = pd.Series(comparison.parameters, dtype="Int64")
    frame = frame[list(LIVE_COLUMNS)].rename_axis("module")
    facts: dict[Any, Any] = {name: getattr(comparison, name) for name in ("reference", "phase", "device", "threads")}
    frame.attrs = {**facts, "torch": comparison.torch}
    environment = {
        "processor": identity(processor()),
        "cores": ",".join(map(str, allowed_cores())),
        "device": comparison.device,
        "threads": comparison.threads,
        "python": platform.python_version(),
        "torch": comparison.torch,
        "rnnbench": __version__,
    }
    frames = {
        "frame": frame,
        "replicates": rounds_of(comparison.turns.times, comparison.reference),
        "environment": pd.DataFrame({"what": list(environment), "value": list(map(str, environment.values()))}),
    }
    notes = " ".join(filter(None, [note(comparison, frame, settings), of_states(frame), *comparison.notes]))
    answer = sentences.of_measure(comparison, frame)
    draw = partial(_draw_ratios, frame)
    frames["frame"] = _with_left_out(frame, comparison.left_out)
    return MeasureResult(
        frames, draw, notes, _visible_columns(frame), sentence=answer, is_pictured=True, axes=(), **facts
    )


def _visible_columns(frame: pd.DataFrame) -> list[str]:
    """Return the columns that are printed: the state of the core only where it differs."""
    return [*VISIBLE_COLUMNS, *(["state"] if frame["state"].nunique() > 1 else [])]


def _draw_ratios(frame: pd.DataFrame, **how: Any) -> Any:
    """Draw the ratios of the frame of `measure`."""
    from rnnbench.report.ratios import measured as figure  # matplotlib, which takes seconds, and which tests don't need

    return figure(frame, **how)


def _with_left_out(frame: pd.DataFrame, left_out: Mapping[str, str]) -> pd.DataFrame:
    """Return the frame with a row without numbers for each module that was left out; its `parity` is the reason."""
    if not left_out:
        return frame
    rows = frame.reindex([*frame.index, *left_out]).fillna({"parity": left_out, "state": "", "replicates": 0})
    rows.attrs = frame.attrs
    return rows.rename_axis("module").astype({"replicates": int})


def judged(
    comparison: LiveComparison, question: Question, budget_seconds: float, names: tuple[str, str]
) -> NotSlowerResult:
    """Return the result of `rnnbench.assert_not_slower`, which shows its sentence; `names`: of `mine` and `than`."""
    result = measured(comparison, Settings())
    return NotSlowerResult(
        result.frames,
        result.plot,
        sentence=sentence(comparison, question, budget_seconds, names),
        **result.facts,
        answer=question.answer,  # None: neither answer could be shown
        factor=question.factor,
        state=question.state,  # of the core, for both ratios: `undisturbed`, `on a shared core`, or empty
        ratio=question.low,  # time of `mine` over time of `than`, for the typical call
        mean_ratio=question.mean,  # the same ratio for the mean of all calls
        calls=comparison.turns.calls_made,
        took_seconds=comparison.turns.seconds,
        budget_seconds=budget_seconds,
    )


def unequal_outputs(comparison: LiveComparison, names: tuple[str, str]) -> str:
    """Return why the times mean nothing: the outputs of `mine` and `than`, which have these names, differ."""
    parity = comparison.parity[MINE]
    timed = "so its time means nothing" if comparison.turns.calls_made else "and nothing was timed"
    if parity.kind == "cached":
        return f"{names[0]} keeps results, so its time means nothing: {parity} Give it new values in each call"
    return (
        f"outputs differ: {names[0]}'s output is not {names[1]}'s, {timed}: {parity.brief}\n"
        "Give both the same weights (rnnbench.same_weights), or say equal_outputs=False to compare unequal work"
    )


def sentence(comparison: LiveComparison, question: Question, budget_seconds: float, names: tuple[str, str]) -> str:
    """Return `slower: MyLSTM takes 1.38x as long as LSTM ...`, and below it the measurements behind this answer.

    `names`: of `mine` and `than`.
    """
    turns = comparison.turns
    by_mean = question.by_the_mean
    estimate = question.mean if by_mean else question.low
    where = " in the mean of its calls" if by_mean else ""
    limits = {"slower": "more than the {} allowed", "not slower": "at most the {} allowed"}
    limit = limits.get(question.answer or "", "{} allowed").format(f"{round_digits(question.factor)}×")
    answer = (
        f"{question.answer or 'undecided'}{where}: {names[0]} takes {_ratio(estimate)} as long as {names[1]}, {limit}"
    )
    logs = seconds_logs(turns.times[MINE], is_undisturbed=question.state == UNDISTURBED)
    seconds = f"{names[0]} {duration(math.exp(median(logs.values)))} a call"
    parity = comparison.parity[MINE]
    state = f"; ratio {question.state}" if question.state else ""
    lines = [
        f"{answer}; by the typical call {_ratio(question.low)}" if by_mean else answer,
        f"{comparison.phase} on {comparison.device}, {plural(comparison.threads, 'thread')}: {seconds}; "
        f"{plural(len(turns.times[MINE]), 'replicate')} in {duration(turns.seconds)}, "
        f"budget {duration(budget_seconds)}; "
        f"{'outputs agree' if parity.is_equal_work else f'outputs: {parity.brief}'}{state}",
    ]
    if question.answer == "not slower":
        lines.append(f"Each was called {plural(turns.calls_made, 'time')}: slow calls that are rarer can't be seen")
    elif question.is_precise:
        lines.append(f"The ratio is known as precisely as asked. Give a smaller precision, another factor, {PASS}")
    elif question.answer is None:
        threads = f"With {comparison.threads} threads every call waits for the slowest core: give threads=1, or "
        more = f"budget='{as_budget(4 * budget_seconds)}', a factor further from the ratio, {PASS}"
        lines.append(f"The budget is spent. {threads if comparison.threads > 1 else 'Give '}{more}")
    return "\n".join([*lines, *comparison.notes])


def _ratio(estimate: Estimate) -> str:
    """Return `1.380x (99% interval 1.310x to 1.457x)`: one digit more than elsewhere, to tell it from the factor."""

    def text(value: float) -> str:
        return f"{value:.3f}×" if 0.001 <= value < 10 else ratio(value)

    if not estimate.has_interval:
        return f"{text(estimate.value)} (no interval)"
    ends = span(text(estimate.lower), text(estimate.upper))
    return f"{text(estimate.value)} ({round_percent(ROUNDS_CONFIDENCE)} interval {ends})"


def names_of(mine: object, than: object) -> tuple[str, str]:
    """Return the names of both classes or functions, or other words if these do not tell them apart."""
    one = getattr(mine, "__qualname__", type(mine).__name__).rpartition("<locals>.")[2]
    other = getattr(than, "__qualname__", type(than).__name__).rpartition("<locals>.")[2]
    return ("mine", "the other") if one == other or "<lambda>" in one + other else (one, other)


def note(comparison: LiveComparison, frame: pd.DataFrame, settings: Settings) -> str:
    """Return what to know about the numbers: what the intervals hold, and which target was missed."""
    replicates = int(frame["replicates"].iloc[0])
    cut = comparison.turns.cut
    sentences = _rests_on(comparison, frame)
    budget = settings.budget_seconds or math.nan
    more = f"; give budget='{as_budget(budget + comparison.needed)}'" if comparison.needed else ""
    why = f"the budget of {duration(budget)} had no room for more{more}"
    wide = [] if settings.precision is None else wider_than(frame, settings.precision)
    if wide and replicates > 1:
        after = f"after {plural(replicates, 'replicate')}{f' ({why})' if cut else ''}"
        sentences.append(f"Wider than ±{round_percent(settings.precision or 0)} {after}: {', '.join(wide)}.")
    elif cut:
        sentences.append(f"{replicates} of {plural(settings.replicates, 'replicate')}: {why}.")
    # An undisturbed time is shorter than the mean of all calls, because these include those on a shared core.
    held_up = (frame["mean_seconds"] / frame["seconds"]).where(frame["state"] != UNDISTURBED)
    if held_up.max() > HELD_UP:
        sentences.append(
            f"Calls were often held up: a mean is {ratio(held_up.max())} the time shown. Other programs use the "
            "cores, or torch has more threads than free cores: `threads=1` makes times steadier."
        )
    return " ".join(sentences)


def _rests_on(comparison: LiveComparison, frame: pd.DataFrame) -> list[str]:
    """Return sentences on how many replicates there are, which hold for all points of a sweep."""
    replicates = int(frame["replicates"].iloc[0])
    interrupted = [f"Interrupted after {plural(replicates, 'replicate')}."] if comparison.turns.interrupted else []
    return [*interrupted, ONE_PROCESS if replicates > 1 else "From one replicate: no interval."]


def of_states(frame: pd.DataFrame) -> str:
    """Say whether the times and ratios of a frame are those of a quiet core; empty if pulses could not tell.

    A core that was always quiet needs no words.
    """
    modules = frame["module"] if "module" in frame else frame.index.to_series()
    shared = frame["state"].eq(SHARED)
    undisturbed = frame["state"].eq(UNDISTURBED)
    if not shared.any():
        return "Ratios are undisturbed: of moments when the core was quiet." if undisturbed.any() else ""
    whose = "All of it" if not undisturbed.any() else first_few(list(dict.fromkeys(modules[shared])), MAX_MODULES_NAMED)
    return (
        f"{whose} was measured {SHARED}, which another hyperthread used too often: another run may find other ratios."
        + (" The others are undisturbed." if undisturbed.any() else "")
    )


def swept(
    points: Iterable[tuple[Sizes, LiveComparison | Unmeasured]],
    names: Iterable[str],
    settings: Settings,
    axes: Mapping[str, Sequence[Any]],
) -> SweepResult:
    """Return the result of a sweep of the modules with these names over `axes`.

    Without Ctrl-C there is a point for each combination. Raises RuntimeError if no point was measured.
    """
    rows = list[pd.DataFrame]()
    replicates = list[pd.DataFrame]()
    results = list[MeasureResult]()
    notes = list[str]()
    beginnings = list[str]()
    more = dict[str, None]()
    for sizes, point in points:
        if isinstance(point, Unmeasured):
            frame = pd.DataFrame({"module": list(names)}).assign(status=point.status, reason=point.reason)
        else:
            results.append(measured(point, settings))
            notes.append(note(point, results[-1].frame, settings))
            beginnings.append(" ".join(_rests_on(point, results[-1].frame)))
            more |= dict.fromkeys(point.notes)
            frame = _with_status(results[-1].frame.reset_index(), point)
            replicates.append(_sized(sizes, results[-1].replicates))
        rows.append(_sized(sizes, frame))
        del point  # with its modules, before those of the next point are built
    if not results:
        is_skipped = all(row["status"][0] == "skipped" for row in rows)
        how = "were skipped" if is_skipped else "failed"
        raise RuntimeError(f"all {plural(len(rows), 'combination')} {how}; the first: {rows[0]['reason'][0]}")
    frame = pd.concat(rows, ignore_index=True)
    expected = math.prod(map(len, axes.values()))
    failed = len(frame.loc[frame["status"] == "failed", list(axes)].drop_duplicates())
    skipped = len(frame.loc[frame["status"] == "skipped", list(axes)].drop_duplicates())
    varied = [axis for axis in axes if frame[axis].nunique(dropna=False) > 1]
    frames = {
        "frame": frame,
        "replicates": pd.concat(replicates, ignore_index=True),
        "environment": results[0].environment,
    }

    def draw(name: str = "ratio", ax: Any = None, *, frame: pd.DataFrame = frame, **how: Any) -> Any:
        if not isinstance(name, str) or name not in ("ratio", "scaling"):
            raise ValueError("name: expected 'ratio' or 'scaling'; to draw some rows, give frame=rows")
        from rnnbench.report.growth import of_sweep

        return of_sweep(frame, ax=ax, value="ratio" if name == "ratio" else "seconds", **how)

    of_all = notes[0] if len(set(notes)) == 1 else beginnings[0]
    parts = [f"Interrupted after {len(rows)} of {plural(expected, 'combination')}."] if len(rows) < expected else []
    parts += [of_all.rstrip(".") + ".", *filter(None, [of_states(frame)]), *more]
    parts += [f"{plural(failed, 'combination')} failed; `reason` says why."] if failed else []
    parts += [f"Modules were skipped in {plural(skipped, 'combination')}; `reason` says why."] if skipped else []
    columns = [*varied, "module", *_visible_columns(frame), *(["reason"] if frame["reason"].any() else [])]
    answer = sentences.of_sweep(frame, axes, results[0].reference, results[0].device)
    facts: dict[str, Any] = {"axes": tuple(axes), "reference": results[0].reference}
    return SweepResult(frames, draw, " ".join(parts), columns, sentence=answer, is_pictured=True, **facts)


def _with_status(frame: pd.DataFrame, comparison: LiveComparison) -> pd.DataFrame:
    """Return the rows of a point with their status, and without the numbers of modules that give NaN.

    These have failed, as in a run. Modules that were left out are skipped.
    """
    is_unsound = frame["module"].isin([name for name, parity in comparison.parity.items() if parity.is_unsound])
    numbers = [str(column) for column in frame.select_dtypes("number") if column != "parameters"]
    frame[numbers] = frame[numbers].where(~is_unsound)
    is_skipped = frame["module"].isin(comparison.left_out)
    status = is_unsound.map({True: "failed", False: "measured"}).mask(is_skipped, "skipped")
    return frame.assign(status=status, reason=frame["parity"].where(is_unsound | is_skipped, ""))


def _sized(sizes: Sizes, frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame with the sizes of its point as its first columns."""
    return pd.concat([pd.DataFrame({name: [value] * len(frame) for name, value in sizes.items()}), frame], axis=1)


def explained(
    comparison: LiveComparison, settings: Settings, profiles: Mapping[str, Profile], folder: Path | None
) -> ExplainResult:
    """Return the result of `rnnbench.explain`, from what `measure` found and the profile of each module.

    The frames are those of `measure`, `causes`, `breakdown` and `operators`. `words(name)` says why one module is
    slower; `trace(name)` is its trace in `folder`.
    """
    from rnnbench.profiling.breakdown import at_the_speed_of, breakdown_frame
    from rnnbench.profiling.gap import call_time, of_profiled
    from rnnbench.report import call_parts, why

    result = measured(comparison, settings)
    end = comparison.reference
    times = comparison.turns.times
    seconds = {name: seconds_together({name: times[name], end: times[end]}) for name in profiles}
    gaps = {
        name: of_profiled({name: seconds[name][name]}, seconds[name][end], [profile], profiles[end])
        for name, profile in profiles.items()
        if name != end
    }
    profiles_of_run = at_the_speed_of(
        {name: call_time(pair[name].values()).value for name, pair in seconds.items()}, profiles
    )

    def words(name: str) -> str:
        return why.words(gaps[name], name, end, profiles_of_run[name])

    def draw(name: str | None = None, ax: Any = None, **how: Any) -> Any:
        if name is None:
            return call_parts.breakdowns(profiles_of_run, ax=ax, **how)
        return why.waterfall(gaps[name], name, end, ax=ax, **how)

    def trace(name: str) -> Path | None:
        file = profiles_of_run[name].files.get("trace")
        return None if folder is None or file is None else folder / file

    tables = {name: call_parts.operators_table(profile, name) for name, profile in profiles_of_run.items()}
    listed = {name: table.frame for name, table in tables.items() if table is not None}
    operators = pd.DataFrame(columns=["module", *call_parts.OPERATOR_COLUMNS])
    if listed:
        operators = pd.concat(listed, names=["module", None]).reset_index(level=0)
    frames = {"causes": why.cause_frame(gaps), "breakdown": breakdown_frame(profiles_of_run), "operators": operators}
    facts: dict[str, Any] = {"words": words, "profiles": profiles_of_run, "gaps": gaps, "trace": trace}
    left_out = [f"{name} is left out: {reason}." for name, reason in comparison.left_out.items()]
    not_profiled = why.not_profiled(profiles_of_run, dict(zip(profiles_of_run, profiles_of_run, strict=True)))
    answer = "\n\n".join([*map(words, gaps), sentences.about(comparison)])
    note = "\n\n".join([*filter(None, [of_states(result.frame)]), *left_out, *not_profiled])
    return ExplainResult(
        {**result.frames, **frames}, draw, note, sentence=answer, is_pictured=True, **result.facts, **facts
    )
