"""What each case of a check may run, and families: the cases that share a changed definition.

A definition is an outermost function or class of the tree.
"""

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from rnnbench.analysis.pairs import MIN_TOGETHER
from rnnbench.harness.coordinator.visit import Visitor
from rnnbench.store.records import Case
from rnnbench.text import plural

STATEMENTS_MARK = "<"  # begins the name of a part that has a file's statements outside of definitions


def reach(
    visitor: Visitor, trees: Mapping[str, str], cases: Sequence[Case], on_done: Callable[[int, int], None]
) -> dict[str, dict[str, Any]]:
    """Ask both sides at the same time what each case may run; returns the replies of the sides by the case's key.

    `trees`: the folder of each side. Each case is asked in a fork, where that is possible. No other case is asked after
    one has failed elsewhere, and of a side whose worker is lost, no more is known.
    """
    reached: dict[str, dict[str, Any]] = {case.key: {} for case in cases}

    def ask(name: str) -> None:
        recorder = visitor.recorders[name]
        for number, case in enumerate(cases):
            if name == "head":
                on_done(number, len(cases))
            request = recorder.building.request("reach", case, tree=trees[name])
            reached[case.key][name] = reply = recorder.ask(visitor.workers[name], request)
            if is_lost(reply):
                return  # the state of the worker is unknown

    def is_lost(reply: Mapping[str, Any]) -> bool:
        return not reply["ok"] and reply["status"] == "failed" and not reply.get("apart")

    visitor.on_each(ask)
    if any(is_lost(reply) for replies in reached.values() for reply in replies.values()):
        visitor.close()  # so that no case is observed by a worker that is lost or in an unknown state
    return reached


def reach_in_halves(
    visitor: Visitor, trees: Mapping[str, str], cases: Sequence[Case], on_done: Callable[[int, int], None]
) -> dict[str, dict[str, Any]]:
    """Ask each side about a half of the cases, as `reach` does, if the code of both sides is the same."""
    reached: dict[str, dict[str, Any]] = {case.key: {} for case in cases}
    names = [*trees]
    done = itertools.count(1)

    def ask(name: str) -> None:
        recorder = visitor.recorders[name]
        for case in cases[names.index(name) :: len(names)]:
            request = recorder.building.request("reach", case, tree=trees[name])
            reply = recorder.ask(visitor.workers[name], request)
            if not reply["ok"]:
                return  # no more is known, so the other cases are timed
            reached[case.key] = dict.fromkeys(names, reply)
            on_done(next(done), len(cases))

    on_done(0, len(cases))
    visitor.on_each(ask)
    if not all(reached.values()):
        visitor.close()  # so that no case is observed by a worker in an unknown state
    return reached


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
