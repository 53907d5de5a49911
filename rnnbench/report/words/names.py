"""The names of axes, series, cases, runs and processors, in words."""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from rnnbench.analysis.comparison import Subject
from rnnbench.store.processor import Cache, Processor
from rnnbench.store.records import (
    AXES,
    DEFAULTS,
    LOADS,
    OF_DATA,
    OF_STEP,
    REFERENCES,
    WORKLOAD_AXES,
    Case,
    Workload,
    axis_text,
    reference_cell,
)
from rnnbench.store.run_info import RunInfo
from rnnbench.suite import expressions
from rnnbench.suite.file import Sweep
from rnnbench.text import plural

WORDS = {axis: word for word, axis in expressions.WORDS.items()} | {
    "input_size": "input",
    "output_len": "decoded length",
}
SIZES = ("batch_size", "seq_len", "input_size", "hidden_size", "output_size", "num_layers", *OF_DATA)
SETTINGS = (
    "device",
    "dtype",
    "threads",
    "task",
    "output_len",
    "bidirectional",
    "dropout",
    "lengths",
    "input",
    "nonlinearity",
    "head",
    "caches",
    *OF_STEP,
)
COUNTED = ("num_layers", "threads", *OF_DATA)  # written as `3 layers`
OF_MODELS = ("hidden_size", "num_layers")  # a data set has neither
CONTEXT = ("device", "dtype", "workers")  # never pooled: a median over CPU and GPU would describe neither


SAID: dict[str, Callable[[Any], str]] = {
    "output_len": lambda value: f"decoded length {value}" if value else "decoded as long as read",
    "bidirectional": lambda value: "two directions" if value else "one direction",
    "dropout": lambda value: f"dropout {value:g}" if value else "no dropout",
    "lengths": lambda value: f"{one_line(value)} lengths",
    "input": str,
    "nonlinearity": str,
    "head": lambda value: f"{one_line(value)} head",
    "caches": lambda value: f"{one_line(value)} caches",
    "optimizer": str,
    "loss": lambda value: f"loss {one_line(value)}",
    "clip": lambda value: f"gradients clipped at {value:g}" if value else "gradients not clipped",
}


def is_reference(cases: pd.DataFrame) -> "pd.Series[bool]":
    """Boolean mask of the reference rows."""
    return cases["implementation"].isin(REFERENCES)


def word(axis: str) -> str:
    """The name of an axis in headings."""
    return WORDS.get(axis, axis)


def say(axis: str, value: Any) -> str:
    """An axis and its value in running text: `batch 32`, `3 layers`, `float32`."""
    if axis in SAID:
        return SAID[axis](value)
    if axis in COUNTED:
        return plural(int(value), word(axis).removesuffix("s"))
    return f"{word(axis)} {value}" if axis in SIZES else one_line(value)


def say_all(axes: Iterable[Hashable], values: Iterable[Any]) -> str:
    """Several axes in running text: `batch 32, length 16`. Axes in `SAID` are left out at their default value."""
    pairs = [(str(axis), value) for axis, value in zip(axes, values, strict=True)]
    return ", ".join(say(axis, value) for axis, value in pairs if axis not in SAID or value != DEFAULTS[axis])


def several(summary: pd.DataFrame, axes: Iterable[str]) -> list[str]:
    """The axes with more than one value in the run."""
    return [axis for axis in axes if summary[axis].nunique() > 1]


def swept(summary: pd.DataFrame, axes: Iterable[str]) -> list[str]:
    """The axes with more than one value for at least one cell.

    If `deep` has three layers and `vanilla` one, the number of layers belongs to the cell and is not swept.
    """
    own = summary[~is_reference(summary)]
    cells = (own if len(own) else summary).groupby("cell", sort=False)
    return [axis for axis in axes if len(summary) and cells[axis].nunique().max() > 1]


def constants(summary: pd.DataFrame) -> str:
    """The axes with a single value in the run, in running text."""
    without = (
        *(OF_MODELS if set(summary["phase"]) == {"loading"} else ()),
        *(() if summary["samples"].any() else OF_DATA),
    )
    still = [axis for axis in (*SIZES, *SETTINGS) if axis not in without and summary[axis].nunique() == 1]
    return say_all(still, (summary[axis].iloc[0] for axis in still))


def flushed(summary: pd.DataFrame) -> str:
    """The label for every figure of a run in which all calls start with cold caches; empty for other runs."""
    return "caches flushed before every call" if len(summary) and summary["caches"].eq("cold").all() else ""


def one_line(value: object) -> str:
    """A value from outside as one line of printable characters, so that it can't move a cursor or break a row."""
    text = str(value)
    if text.isprintable() and "  " not in text and text == text.strip():
        return text  # true of nearly all
    return "".join(letter if letter.isprintable() else "�" for letter in " ".join(text.split()))


def series_name(cell: str, implementation: str) -> str:
    """`lstm hoisted`; `torch.nn.LSTM`, `torch.nn.LSTMCell`, `torch.nn.LSTM padded`; a cell that is the reference."""
    own = {"torch.nn": "", "reference": "", "torch.nn-cell": "", "torch.nn-padded": "padded"}.get(
        implementation, implementation.removeprefix("torch.nn-")
    )
    return f"{one_line(cell)} {own}".rstrip()


def with_series(summary: pd.DataFrame) -> pd.DataFrame:
    """The summary with each row's `series` and `family`, sorted so that rows to compare stand together.

    A family shares one reference: `torch.nn.RNN`, or `torch.nn.RNN, 3 layers` if that number belongs to the cell, or
    a data set. Rows of torch.nn have the family's name as their series.
    """
    frame = summary.copy()
    fixed = [axis for axis in several(summary, SIZES) if axis not in swept(summary, SIZES)]
    plain = frame[fixed].eq(frame[fixed].min()).all(axis=1)
    frame["is_plain"] = plain

    def family(reference: Any, is_plain: bool, *sizes: Any) -> str:
        return reference_cell(reference) if is_plain else f"{reference_cell(reference)}, {say_all(fixed, sizes)}"

    def series(family: str, cell: str, implementation: str) -> str:
        return family if implementation in ("torch.nn", "reference") else series_name(cell, implementation)

    frame["family"] = _each(frame, ["reference", "is_plain", *fixed], family)
    frame["series"] = _each(frame, ["family", "cell", "implementation"], series)
    del frame["is_plain"]
    own = ~is_reference(frame).to_numpy()
    by_family, by_cell, by_implementation = (
        pd.factorize(frame[key])[0] for key in ("family", "cell", "implementation")
    )
    # By family first; within it the reference, then each cell as it came.
    order = np.lexsort((by_implementation, by_cell, own, by_family))
    return frame.iloc[order]


def _each(frame: pd.DataFrame, columns: list[str], say: Callable[..., str]) -> list[str]:
    """Apply `say` to some columns of each row, but only once for each set of values."""
    number = frame.groupby(columns, sort=False, dropna=False).ngroup().to_numpy()
    firsts = np.unique(number, return_index=True)[1]
    texts = [say(*values) for values in frame[columns].iloc[firsts].itertuples(index=False, name=None)]
    return [texts[index] for index in number]


def by_workload(summary: pd.DataFrame) -> pd.DataFrame:
    """The cases with their `series`, sorted by workload, with the reference first."""
    frame = with_series(summary)
    frame["group"] = _group_numbers(frame)
    return frame.sort_values("group", kind="stable")


def _group_numbers(frame: pd.DataFrame) -> Any:
    """Number the workloads by phase, settings and sizes; phases and settings count in order of appearance."""
    ranks = {axis: pd.factorize(frame[axis])[0] for axis in ("phase", *SETTINGS, "family")}
    keys = pd.DataFrame(ranks | {axis: frame[axis].to_numpy() for axis in SIZES}, index=frame.index)
    order = [*("phase", *SETTINGS), *SIZES, "family"]
    return keys.groupby(order, sort=True).ngroup()


ALWAYS = ("batch_size", "seq_len", "hidden_size")
APART = ("reference", "phase")  # named separately
SHORT = {
    "output_len": "decoded{}",
    "dropout": "dropout{}",
    "lengths": "{}-lengths",
}


@dataclass(frozen=True)
class Names:
    """Short, unique names for the cases of one comparison."""

    axes: tuple[str, ...]  # those that differ
    layered: frozenset[str]  # cells with several numbers of layers; elsewhere the number belongs to the cell
    shared: str  # the axes that do not differ, in words; may be empty

    def name(self, case: Subject) -> str:
        """`lstm loop training, batch 16`. A benchmark of another tool keeps the name that its author gave it."""
        if not isinstance(case, Case):
            return one_line(case.key)
        values = case.axes()
        head = f"{series_name(case.cell, case.implementation)} {case.workload.phase}"
        axes = [axis for axis in self.axes if axis != "num_layers" or case.cell in self.layered]
        return ", ".join(filter(None, [head, say_all(axes, (values[axis] for axis in axes))]))


def names(cases: Iterable[Subject]) -> Names:
    """The shortest names that tell these cases apart."""
    axes = [case.axes() for case in cases if isinstance(case, Case)]
    frame = pd.DataFrame(axes, columns=[axis for axis in AXES if axis != "cell"])
    kinds = {key: _with_several(axes, key) for key in ("reference", "num_layers")}
    reference = ["reference"] if kinds["reference"] else []
    layered = frozenset(map(str, kinds["num_layers"]))
    return Names((*reference, *several(frame, (*SIZES, *SETTINGS))), layered, constants(frame))


def _with_several(axes: Iterable[Mapping[str, Any]], axis: str) -> set[Any]:
    """The cells with more than one value of an axis. Does not use pandas, which can't hold every name."""
    values: dict[Any, set[Any]] = {}
    for case_axes in axes:
        values.setdefault(case_axes["cell"], set()).add(case_axes[axis])
    return {cell for cell, cell_values in values.items() if len(cell_values) > 1}


def case_name(case: Case) -> str:
    """The name that a case has in every run and suite: `lstm-loop-training-batch32-length16-hidden64`.

    It has the sizes that suites mostly sweep, and what is not the default.
    """
    head = [case.cell, case.implementation, case.workload.phase]
    if ":" in case.cell:  # a user's own
        head.append(f"against-{case.workload.reference}")
    return "-".join([*head, *(_short(axis, value) for axis, value in _named_axes(case.workload))])


def group_name(workload: Workload) -> str:
    """`torch.nn.LSTM training, batch 32, length 16, hidden 64`: cases with this name are compared with each other."""
    axes = dict(_named_axes(workload))
    return f"{reference_cell(workload.reference)} {workload.phase}, {say_all(axes, axes.values())}"


def _named_axes(workload: Workload) -> Iterator[tuple[str, Any]]:
    loads = workload.phase in LOADS
    for axis in WORKLOAD_AXES:
        value = getattr(workload, axis)
        if axis in APART or (workload.phase == "loading" and axis in OF_MODELS):
            continue
        is_usual = axis not in ALWAYS and (value,) == Sweep.model_fields[axis].default
        if loads if axis in OF_DATA else not is_usual:
            yield axis, value


def _short(axis: str, value: Any) -> str:
    if axis in SHORT:
        return SHORT[axis].format(axis_text(value))
    if isinstance(value, bool):
        return axis
    return f"{word(axis)}{value}" if axis in (*SIZES, *COUNTED) else str(value)


def when(info: RunInfo) -> str:
    """`2026-11-25 02:17`: when a run was started, as it was recorded."""
    return one_line(info.started[:16].replace("T", " "))


def commit(info: RunInfo) -> str:
    """`1713406`, with `+` for changes that were not committed; empty if there is no repository."""
    git = info.environment.get("git") or {}
    revision = str(git.get("commit") or "")[:7]
    return one_line(f"{revision}{'+' if revision and git.get('dirty') else ''}")


def short(runs: Sequence[tuple[str, RunInfo]]) -> list[str]:
    """Names that tell runs apart: the first of torch's version, processor, commit and time that differs for each."""
    candidates = (
        [_software(info, "torch") for _, info in runs],
        [one_line((info.environment.get("machine") or {}).get("cpu") or "") for _, info in runs],
        [commit(info) for _, info in runs],
        [when(info) for _, info in runs],
    )
    return next(
        (texts for texts in candidates if all(texts) and len(set(texts)) == len(texts)),
        [one_line(name) for name, _ in runs],
    )


def named(runs: Sequence[tuple[str, RunInfo]]) -> list[str]:
    """`A (1713406, 2026-11-25 02:17)`: the names of `short`, with commit and time where they are no part of it."""
    texts = []
    for name, (_, info) in zip(short(runs), runs, strict=True):
        known = [fact for fact in (commit(info), when(info)) if fact and fact != name]
        texts.append(f"{name} ({', '.join(known)})" if known else name)
    return texts


def _software(info: RunInfo, package: str) -> str:
    version = ((info.environment.get("software") or {}).get("packages") or {}).get(package)
    return one_line(f"{package} {version}") if version else ""


MEBIBYTE = 1 << 20
TELLING = ("avx2", "fma", "avx512f", "avx512_bf16", "avx512_fp16", "amx_tile", "asimd", "sve", "sve2", "bf16", "i8mm")


def identity(processor: Processor) -> str:
    """Its kind, instruction sets, caches, microcode and hypervisor; its name has a row of its own.

    `GenuineIntel family 6 model 207 stepping 2; avx2, fma, 21 more instruction sets; L1 48 KiB for 1 core; ...`
    """
    numbers = {key: getattr(processor, key) for key in ("family", "model", "stepping")}
    kind = [processor.vendor, *(f"{key} {value}" for key, value in numbers.items() if value is not None)]
    parts = [
        " ".join(filter(None, kind)),
        _instruction_sets(processor.instruction_sets),
        ", ".join(_cache(cache) for cache in processor.caches if cache.kind != "instruction"),
        f"microcode {processor.microcode}" if processor.microcode else "microcode not known",
        f"under {processor.hypervisor}" if processor.hypervisor else "no hypervisor known",
    ]
    return one_line("; ".join(filter(None, parts)))


def _instruction_sets(flags: tuple[str, ...]) -> str:
    telling = [flag for flag in TELLING if flag in flags]
    others = len(flags) - len(telling)
    more = "more instruction set" if telling else "instruction set"
    return ", ".join([*telling, *([plural(others, more)] if others else [])])


def _cache(cache: Cache) -> str:
    """`L3 300 MiB for 2 cores`."""
    is_small = cache.bytes < MEBIBYTE or cache.bytes % (MEBIBYTE >> 1)
    size = f"{cache.bytes / 1024:g} KiB" if is_small else f"{cache.bytes / MEBIBYTE:g} MiB"
    return f"L{cache.level} {size} for {plural(cache.cores, 'core')}"
