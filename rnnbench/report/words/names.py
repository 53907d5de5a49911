"""The names of axes, series, cases, runs and processors, in words."""

from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Sequence
from itertools import compress
from typing import Any

import numpy as np
import pandas as pd

from rnnbench.store.implementations import REFERENCES, label_of
from rnnbench.store.records import (
    AXES,
    DEFAULTS,
    LOADS,
    OF_DATA,
    OF_STEP,
    WORKLOAD_AXES,
    Case,
    Workload,
    axis_text,
    reference_cell,
)
from rnnbench.store.run_info import Processor, RunInfo
from rnnbench.suite import expressions
from rnnbench.suite.axes import USUAL_VALUES
from rnnbench.text import plural

AXIS_WORDS = {axis: word for word, axis in expressions.TERM_WORDS.items()} | {
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
COUNTED_AXES = ("num_layers", "threads", *OF_DATA)  # written as `3 layers`
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
MAIN_SIZES = ("batch_size", "seq_len", "hidden_size")
APART = ("reference", "phase")  # named separately
TELLING = ("avx2", "fma", "avx512f", "avx512_bf16", "avx512_fp16", "amx_tile", "asimd", "sve", "sve2", "bf16", "i8mm")


def is_reference(cases: pd.DataFrame) -> "pd.Series[bool]":
    """Return the boolean mask of the reference rows."""
    return cases["implementation"].isin(REFERENCES)


def word(axis: str) -> str:
    """Return the name of an axis in headings."""
    return AXIS_WORDS.get(axis, axis)


def say(axis: str, value: Any) -> str:
    """Return an axis and its value in running text: `batch 32`, `3 layers`, `float32`."""
    if axis in SAID:
        return SAID[axis](value)
    if axis in COUNTED_AXES:
        return plural(int(value), word(axis).removesuffix("s"))
    return f"{word(axis)} {value}" if axis in SIZES else one_line(value)


def say_all(axes: Iterable[Hashable], values: Iterable[Any]) -> str:
    """Return several axes in running text: `batch 32, length 16`; those in `SAID` only if not at their default."""
    pairs = [(str(axis), value) for axis, value in zip(axes, values, strict=True)]
    return ", ".join(say(axis, value) for axis, value in pairs if axis not in SAID or value != DEFAULTS[axis])


def several(summary: pd.DataFrame, axes: Iterable[str]) -> list[str]:
    """Return the axes with more than one value in the run."""
    return [axis for axis in axes if summary[axis].nunique() > 1]


def swept(summary: pd.DataFrame, axes: Iterable[str]) -> list[str]:
    """Return the axes with more than one value for at least one cell.

    If `deep` has three layers and `vanilla` one, the number of layers belongs to the cell and is not swept.
    """
    cases = summary[~is_reference(summary)]
    cells = (cases if len(cases) else summary).groupby("cell", sort=False)
    return [axis for axis in axes if len(summary) and cells[axis].nunique().max() > 1]


def constants(summary: pd.DataFrame) -> str:
    """Return the axes with a single value in the run, in running text."""
    without = (
        *(OF_MODELS if set(summary["phase"]) == {"loading"} else ()),
        *(() if summary["samples"].any() else OF_DATA),
    )
    still = [axis for axis in (*SIZES, *SETTINGS) if axis not in without and summary[axis].nunique() == 1]
    return say_all(still, (summary[axis].iloc[0] for axis in still))


def flushed(summary: pd.DataFrame) -> str:
    """Return the label of a run in which all calls start with cold caches; empty for other runs."""
    return "caches flushed before every call" if len(summary) and summary["caches"].eq("cold").all() else ""


def one_line(value: object) -> str:
    """Return a value from outside as one line of printable characters: it can't move a cursor or break a row."""
    return "".join(letter if letter.isprintable() else "�" for letter in " ".join(str(value).split()))


def series_name(cell: str, implementation: str) -> str:
    """Return `lstm hoisted`, `torch.nn.LSTM`, `torch.nn.LSTM padded`, or a cell that is the reference."""
    return f"{one_line(cell)} {label_of(implementation)}".rstrip()


def short_cells(cells: Iterable[str]) -> dict[str, str]:
    """Return the name of each cell in figures and papers: `MyCell` for `models/my.py:MyCell`, if no other has it."""
    last = {cell: cell.rpartition(":")[2] or cell for cell in dict.fromkeys(cells)}
    counts = Counter(last.values())
    return {cell: name if counts[name] == 1 else cell for cell, name in last.items()}


def with_short_cells(summary: pd.DataFrame) -> pd.DataFrame:
    """Return the summary with the short names of its cells."""
    return summary.assign(cell=summary["cell"].map(short_cells(summary["cell"])))


def with_series(summary: pd.DataFrame) -> pd.DataFrame:
    """Return the summary with each row's `series` and `family`, sorted so that rows to compare stand together.

    A family shares one reference: `torch.nn.RNN`, or `torch.nn.RNN, 3 layers` if that number belongs to the cell, or
    a data set. Rows of torch.nn have the family's name as their series.
    """
    of_sweeps = swept(summary, SIZES)
    fixed = [axis for axis in several(summary, SIZES) if axis not in of_sweeps]
    keys = ["reference", "cell", "implementation", *fixed]
    kinds = summary[keys].drop_duplicates()  # so that a run of many cases has few names to make
    is_plain = kinds[fixed].eq(summary[fixed].min()).all(axis=1)
    families = [
        reference_cell(reference) if plain else f"{reference_cell(reference)}, {say_all(fixed, sizes)}"
        for reference, plain, sizes in zip(kinds["reference"], is_plain, kinds[fixed].to_numpy(object), strict=True)
    ]
    series = [
        family if implementation in ("torch.nn", "reference") else series_name(cell, implementation)
        for family, cell, implementation in zip(families, kinds["cell"], kinds["implementation"], strict=True)
    ]
    frame = summary.merge(kinds.assign(family=families, series=series), on=keys, how="left").set_index(summary.index)
    # By family first; within it the reference, then each cell as it came.
    is_compared = ~is_reference(frame).to_numpy()
    order = (pd.factorize(frame[key])[0] for key in ("implementation", "cell"))
    return frame.iloc[np.lexsort((*order, is_compared, pd.factorize(frame["family"])[0]))]


def names(cases: Collection[Case], *, is_short: bool = False) -> tuple[dict[str, str], str]:
    """Return the name of each case by its key, made of what tells them apart, and the axes that they share, in words.

    A name is `lstm loop training, batch 16`.
    `is_short`: beside the shared axes, which then tell the implementation and the phase that all have.
    """
    axes_by_case = [case.axes() for case in cases]
    frame = pd.DataFrame(axes_by_case, columns=[axis for axis in AXES if axis != "cell"])
    # Without pandas, which can't hold every name of a cell.
    references = {(case["cell"], case["reference"]) for case in axes_by_case}
    layers = {(case["cell"], case["num_layers"]) for case in axes_by_case}
    # Elsewhere the number of layers belongs to the cell.
    layered = {cell for cell, number in Counter(cell for cell, _ in layers).items() if number > 1}
    has_several = len(references) > len({cell for cell, _ in references})
    axes = [*(["reference"] if has_several else []), *several(frame, (*SIZES, *SETTINGS))]
    same = {case.implementation for case in cases}, {case.workload.phase for case in cases}
    common = [one_line(next(iter(each))) for each in same if is_short and len(each) == 1 and len(cases) > 1]
    shorts = short_cells(case.cell for case in cases) if is_short else {}
    labels = {}
    for case, values in zip(cases, axes_by_case, strict=True):
        axes_of_name = [axis for axis in axes if axis != "num_layers" or case.cell in layered]
        implementation = "" if case.implementation in common else case.implementation
        phase = "" if case.workload.phase in common else case.workload.phase
        head = f"{series_name(shorts.get(case.cell, case.cell), implementation)} {phase}".rstrip()
        labels[case.key] = ", ".join(
            filter(None, [head, say_all(axes_of_name, (values[axis] for axis in axes_of_name))])
        )
    return labels, ", ".join(filter(None, [*common, constants(frame)]))


def case_name(case: Case) -> str:
    """Return the name that a case has in every run and suite: `lstm-loop-training-batch32-length16-hidden64`.

    It has the sizes that suites mostly sweep, and what is not the default.
    """
    head = [case.cell, case.implementation, case.workload.phase]
    if ":" in case.cell:  # a user's own
        head.append(f"against-{case.workload.reference}")
    return "-".join([*head, *(_short(axis, value) for axis, value in _named_axes(case.workload))])


def group_name(workload: Workload) -> str:
    """Return `torch.nn.LSTM training, batch 32, length 16, hidden 64`: cases of one name are compared."""
    axes = dict(_named_axes(workload))
    return f"{reference_cell(workload.reference)} {workload.phase}, {say_all(axes, axes.values())}"


def _named_axes(workload: Workload) -> Iterator[tuple[str, Any]]:
    loads = workload.phase in LOADS
    for axis in WORKLOAD_AXES:
        value = getattr(workload, axis)
        if axis in APART or (workload.phase == "loading" and axis in OF_MODELS):
            continue
        is_usual = axis not in MAIN_SIZES and (value,) == USUAL_VALUES.get(axis)
        if loads if axis in OF_DATA else not is_usual:
            yield axis, value


def _short(axis: str, value: Any) -> str:
    if isinstance(value, bool):
        return axis
    if axis in (*SIZES, *COUNTED_AXES, "output_len", "dropout"):
        return f"{'decoded' if axis == 'output_len' else word(axis)}{value}"
    return f"{axis_text(value)}-lengths" if axis == "lengths" else str(value)


def when(info: RunInfo) -> str:
    """Return `2026-11-25 02:17`: when a run was started, as it was recorded."""
    return one_line(info.started[:16].replace("T", " "))


def commit(info: RunInfo) -> str:
    """Return `1713406`, with `+` for changes that were not committed; empty if there is no repository."""
    git = info.environment.get("git") or {}
    revision = str(git.get("commit") or "")[:7]
    return one_line(f"{revision}{'+' if revision and git.get('dirty') else ''}")


def run_labels(runs: Sequence[tuple[str, RunInfo]]) -> list[str]:
    """Return `torch 2.13, 2026-11-25 02:17`: which of torch, processor, commit and time differ between the runs.

    Runs that these do not tell apart are called by their folders.
    """
    facts = []
    for _, info in runs:
        software = info.environment.get("software") or {}
        machine = info.environment.get("machine") or {}
        torch = (software.get("packages") or {}).get("torch")
        facts.append([f"torch {torch}" if torch else "", machine.get("cpu") or "", commit(info), when(info)])
    differ = [len(set(texts)) > 1 for texts in zip(*facts, strict=True)]
    texts = [one_line(", ".join(filter(None, compress(facts_of_run, differ)))) for facts_of_run in facts]
    return texts if len(set(texts)) == len(texts) else [one_line(name) for name, _ in runs]


def identity(processor: Processor) -> str:
    """Return a processor's kind, instruction sets, caches, microcode and hypervisor; its name has a row of its own.

    `GenuineIntel family 6 model 207 stepping 2; avx2, fma, 21 more instruction sets; L1 48 KiB for 1 core; ...`
    """
    numbers = [f"{key} {value}" for key in ("family", "model", "stepping") if (value := getattr(processor, key))]
    sets = [flag for flag in TELLING if flag in processor.instruction_sets]
    if others := len(processor.instruction_sets) - len(sets):
        sets.append(plural(others, "more instruction set" if sets else "instruction set"))
    caches = []
    for cache in processor.caches:
        if cache.kind != "instruction":
            is_mib = cache.bytes % (1 << 20) == 0
            size = f"{cache.bytes >> 20} MiB" if is_mib else f"{cache.bytes / 1024:g} KiB"
            caches.append(f"L{cache.level} {size} for {plural(cache.cores, 'core')}")
    parts = [
        " ".join(filter(None, [processor.vendor, *numbers])),
        ", ".join(sets),
        ", ".join(caches),
        f"microcode {processor.microcode}" if processor.microcode else "microcode not known",
        f"under {processor.hypervisor}" if processor.hypervisor else "no hypervisor known",
    ]
    return one_line("; ".join(filter(None, parts)))
