"""Which regressions between two commits are accepted, in real repositories, without measuring anything."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from rnnbench.analysis.comparison import Change, Comparison, Finding, ordered
from rnnbench.analysis.decide import accepted_because
from rnnbench.analysis.estimate import Estimate
from rnnbench.analysis.verdict import Verdict
from rnnbench.errors import UserError
from rnnbench.harness.accepted import Accepted
from tests.doubles import repository
from tests.doubles import workload as small

CASES = [small.case("gru", phase=phase) for phase in ("training", "inference")]
TRAINING = CASES[0]


def entry(commit: str, case: str = "cell=gru phase=training", more: str = "") -> str:
    return f'[[accepted]]\ncase = "{case}"\ncommit = "{commit}"\nreason = "clipped"\n{more}\n'


def commits(folder: Path, number: int) -> list[str]:
    return [repository.commit(folder, {"mine.py": str(each)}) for each in range(number)]


def slower(verdict: Verdict | None = "regressed", lower: float = 1.08, **more: object) -> Finding:
    return Finding(TRAINING, verdict, 0.025, low=Estimate(1.1, lower, 1.12), **more)  # type: ignore[arg-type]


def checked(folder: Path, base: str, found: Sequence[Finding] | None = None) -> Comparison:
    """A check of the working tree against a commit, in which the training regressed."""
    return judged(Accepted(folder / "accepted.toml", CASES, folder), base, [slower()] if found is None else found)


def judged(accepted: Accepted, base: str, findings: Sequence[Finding]) -> Comparison:
    change = accepted.change(base)
    marked = [replace(each, accepted=accepted_because(each, change.entries_for(each.case))) for each in findings]
    return Comparison("mine", "base", "head", "paired", ordered(marked), tuple(change.notes(marked)))


def test_an_entry_is_about_changes_from_before_its_commit_to_it_or_later(tmp_path: Path) -> None:
    shas = commits(tmp_path, 5)
    (tmp_path / "accepted.toml").write_text(entry(shas[2][:7]))
    accepted = Accepted(tmp_path / "accepted.toml", CASES, tmp_path)

    def is_accepted(base: int, head: int) -> bool:
        return accepted.reason(TRAINING, shas[base], shas[head], None) == "clipped"

    assert [is_accepted(1, 2), is_accepted(0, 4), is_accepted(1, 3)] == [True] * 3
    assert [is_accepted(2, 3), is_accepted(0, 1), is_accepted(2, 2), is_accepted(3, 1)] == [False] * 4
    assert accepted.reason(CASES[1], shas[1], shas[2], None) == ""
    assert accepted.reason(TRAINING, None, shas[2], None) == accepted.reason(TRAINING, shas[1], None, None) == ""


def test_a_commit_of_a_branch_counts_in_the_merge_of_a_pull_request_and_only_there(tmp_path: Path) -> None:
    [base] = commits(tmp_path, 1)
    repository.git(tmp_path, "checkout", "--quiet", "-b", "topic")
    slow = repository.commit(tmp_path, {"mine.py": "slow"})
    repository.commit(tmp_path, {"accepted.toml": entry(slow[:9])})
    repository.git(tmp_path, "checkout", "--quiet", "main")
    other = repository.commit(tmp_path, {"other.py": ""})
    repository.git(tmp_path, "merge", "--quiet", "--no-ff", "topic", "--message", "merge")
    assert checked(tmp_path, other).count("accepted") == 1  # as GitHub checks a pull request
    merged = repository.git(tmp_path, "rev-parse", "HEAD")
    repository.commit(tmp_path, {"mine.py": "slower"})
    later = checked(tmp_path, merged)
    assert (later.count("regressed"), later.notes) == (1, ())
    assert checked(tmp_path, base).count("accepted") == 1


def test_a_tag_names_a_commit_and_a_branch_which_moves_is_refused(tmp_path: Path) -> None:
    shas = commits(tmp_path, 2)
    repository.git(tmp_path, "tag", "-a", "v2", "-m", "two")
    (tmp_path / "accepted.toml").write_text(entry("v2"))
    assert checked(tmp_path, shas[0]).exit_code() == 0
    for name in ("main", "HEAD", "HEAD~1"):
        (tmp_path / "accepted.toml").write_text(entry(name))
        with pytest.raises(UserError, match=rf"accepted\[0\]\.commit: {name} will name other commits later; expected"):
            checked(tmp_path, shas[0])


def test_an_entry_whose_commit_was_squashed_is_about_the_change_that_adds_it(tmp_path: Path) -> None:
    [base] = commits(tmp_path, 1)
    squashed = repository.commit(tmp_path, {"mine.py": "slow", "accepted.toml": entry("abcdef1")})
    found = checked(tmp_path, base)
    assert found.count("accepted") == 1
    assert "no commit or tag is called abcdef1, so the entry is about the change that adds it" in found.notes[0]
    repository.commit(tmp_path, {"mine.py": "slower"})
    later = checked(tmp_path, squashed)
    assert later.count("regressed") == 1
    assert later.notes[0].endswith("if it was squashed or rebased, name the new commit")


def test_a_branch_that_is_still_there_after_a_squash_changes_nothing(tmp_path: Path) -> None:
    [base] = commits(tmp_path, 1)
    repository.git(tmp_path, "checkout", "--quiet", "-b", "topic")
    slow = repository.commit(tmp_path, {"mine.py": "slow"})
    repository.git(tmp_path, "checkout", "--quiet", "main")
    repository.commit(tmp_path, {"mine.py": "slow", "accepted.toml": entry(slow)})
    assert checked(tmp_path, base).count("accepted") == 1


def shallow(there: Path, here: Path) -> Path:
    """A clone of what actions/checkout fetches with `fetch-depth: 2`: a commit and its parents."""
    repository.git(there, "clone", "--quiet", "--depth", "2", f"file://{there}", str(here))
    return here


def test_of_a_pull_request_the_merge_and_its_parents_are_enough(tmp_path: Path) -> None:
    there = tmp_path / "there"
    older = commits(there, 2)[1]
    repository.commit(there, {"accepted.toml": entry(older, "cell=gru phase=inference")})
    repository.git(there, "checkout", "--quiet", "-b", "topic")
    slow = repository.commit(there, {"mine.py": "slow"})
    both = entry(older, "cell=gru phase=inference") + entry(slow[:9])
    repository.commit(there, {"accepted.toml": both})
    repository.git(there, "checkout", "--quiet", "main")
    repository.commit(there, {"other.py": ""})
    repository.git(there, "merge", "--quiet", "--no-ff", "topic", "--message", "merge")
    here = shallow(there, tmp_path / "here")
    base = repository.git(here, "rev-parse", "HEAD^1")
    found = checked(here, base)
    assert (found.exit_code(), found.count("accepted")) == (0, 1)
    [note] = found.notes  # nothing about the older entry, whose case did not regress
    assert note.endswith(
        f"accepted[1].commit: {slow[:9]} is not in this shallow clone, so the entry is about the change that adds it"
    )
    assert checked(there, base).count("accepted") == 1  # as with the whole history


def test_in_a_shallow_clone_an_older_entry_accepts_nothing_and_the_line_of_the_workflow_is_named(
    tmp_path: Path,
) -> None:
    there = tmp_path / "there"
    older = commits(there, 2)[1]
    repository.commit(there, {"accepted.toml": entry(older[:7])})
    repository.commit(there, {"mine.py": "2"})
    repository.commit(there, {"mine.py": "3"})
    here = shallow(there, tmp_path / "here")
    found = checked(here, repository.git(here, "rev-parse", "HEAD~1"))
    assert found.exit_code() == 1
    [note] = found.notes
    assert f"accepted[0].commit: {older[:7]} is not in this shallow clone; in the workflow, give" in note
    assert note.endswith("actions/checkout the line `fetch-depth: 0`")


def test_of_a_base_that_the_clone_does_not_have_nothing_is_accepted(tmp_path: Path) -> None:
    there = tmp_path / "there"
    base = commits(there, 3)[0]
    repository.commit(there, {"accepted.toml": entry("abcdef1")})
    here = shallow(there, tmp_path / "here")
    head = repository.git(here, "rev-parse", "HEAD")
    assert Accepted(here / "accepted.toml", CASES, here).reason(TRAINING, base, head, None) == ""
    assert Accepted(there / "accepted.toml", CASES, there).reason(TRAINING, base, head, None) == "clipped"


def test_only_a_slowdown_is_accepted_and_never_a_failure_or_an_open_case(tmp_path: Path) -> None:
    [base, slow] = commits(tmp_path, 2)
    (tmp_path / "accepted.toml").write_text(entry(slow))
    fails = Finding(TRAINING, "regressed", 0.025, "fails now: boom", is_broken=True)
    counts = Finding(TRAINING, "regressed", 0.025, changes=(Change("operators", 1, 2),), rule="growth")
    assert checked(tmp_path, base, [counts]).findings[0].accepted == "clipped"
    for found in (fails, slower("undecided"), slower("improved")):
        assert checked(tmp_path, base, [found]).findings[0].accepted == ""
    assert checked(tmp_path, base, [fails]).exit_code() == 1


def test_an_entry_that_accepts_nothing_in_its_own_change_is_told_and_others_are_not(tmp_path: Path) -> None:
    [base, slow] = commits(tmp_path, 2)
    texts = [
        entry(slow, "cell=lstm"),
        entry(slow, "cell=gru phase=inference"),
        entry(slow, more="up_to = '5%'"),
        entry(base, "cell=lstm"),  # of an older change
    ]
    (tmp_path / "accepted.toml").write_text("".join(texts))
    same = Finding(CASES[1], "unchanged", 0.025)
    found = checked(tmp_path, base, [slower(), same])
    assert found.exit_code() == 1
    assert [note.partition("accepted.toml: ")[2] for note in found.notes] == [
        "accepted[0]: no case of this check has cell=lstm",
        "accepted[1]: no case with cell=gru phase=inference regressed",
        "accepted[2]: 1 of 1 regressed by more than 5%, which it accepts",
    ]


def test_other_regressions_still_fail_the_check_and_come_first(tmp_path: Path) -> None:
    [base, slow] = commits(tmp_path, 2)
    (tmp_path / "accepted.toml").write_text(entry(slow))
    other = Finding(CASES[1], "regressed", 0.025, low=Estimate(1.05, 1.04, 1.06))
    found = checked(tmp_path, base, [slower(), other])
    assert [each.outcome for each in found.findings] == ["regressed", "accepted"]
    assert found.exit_code() == 1
    assert checked(tmp_path, base, [slower()]).exit_code() == 0


def test_without_a_repository_nothing_is_accepted_and_the_check_says_so(tmp_path: Path) -> None:
    (tmp_path / "accepted.toml").write_text(entry("abcdef1"))
    found = judged(Accepted(tmp_path / "accepted.toml", CASES, None), "a" * 40, [slower()])
    assert (found.exit_code(), len(found.notes)) == (1, 1)
    assert "it is in no git repository, so nothing is accepted" in found.notes[0]
