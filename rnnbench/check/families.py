"""Families: the cases of a check that share a changed definition, an outermost function or class of the tree."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rnnbench.analysis.pairs import MIN_TOGETHER
from rnnbench.store.records import Case
from rnnbench.text import plural

STATEMENTS_MARK = "<"  # begins the name of a part that has a file's statements outside of definitions


def changed_definitions(replies: Mapping[str, Any]) -> frozenset[str]:
    """Return the definitions that differ among those that a case may run: `cell.py:MyCell`, or `cell.py`.

    `replies`: of both sides, about what the case may run. Empty if one is missing or failed.
    """
    if len(replies) < 2 or not all(reply["ok"] for reply in replies.values()):
        return frozenset()
    base, head = ({*reply["code"]} for reply in replies.values())
    return frozenset(map(_in_words, base ^ head))


def first_of_each(cases: Sequence[Case], definitions: Mapping[str, frozenset[str]]) -> list[Case]:
    """Return one case of each set of changed definitions: the one that does the least.

    `definitions`: of each case, those that it may run and that differ. Without any, a case belongs to its cell.
    """
    first: dict[frozenset[str], Case] = {}
    for case in sorted(cases, key=_effort):
        first.setdefault(definitions.get(case.key) or frozenset({case.cell}), case)
    return [case for case in cases if case in first.values()]


def _effort(case: Case) -> tuple[bool, int]:
    workload = case.workload
    return workload.phase != "inference", workload.batch_size * workload.seq_len * workload.hidden_size


def families(
    definitions: Mapping[str, frozenset[str]], cases: Iterable[Case], margins: Mapping[str, float]
) -> dict[str, tuple[str, ...]]:
    """Return the families with at least two of the cases: what changed -> keys of the cases that share it.

    `definitions`: what `changed_definitions` returns for each case. A case without any belongs to its cell. Cases with
    unlike `margins` are not judged together. Definitions with the same cases make one family, named by the first.
    """
    sharing: dict[tuple[str, float], list[str]] = {}
    for case in cases:
        for name in sorted(definitions.get(case.key, ())) or [case.cell]:
            sharing.setdefault((name, margins[case.key]), []).append(case.key)
    split = Counter(name for name, _ in sharing)
    names: dict[tuple[str, ...], list[str]] = {}
    for (name, margin), keys in sorted(sharing.items()):
        if len(keys) >= MIN_TOGETHER:
            label = f"{name} (margin {100 * margin:g}%)" if split[name] > 1 else name
            names.setdefault(tuple(keys), []).append(label)
    return {_named(every): keys for keys, every in names.items()}


def _named(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {plural(len(names) - 1, 'other definition')}"


def _in_words(part: str) -> str:
    """Return a part of a file, as a worker tells it, without its digest."""
    file, _, name = part.rpartition(" ")[0].partition(":")
    return file if name.startswith(STATEMENTS_MARK) else f"{file}:{name}"
