"""Short names that tell runs apart, and when and what each run measured."""

from collections.abc import Sequence

from rnnbench.report.words.axes import one_line
from rnnbench.store.run_info import RunInfo


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
