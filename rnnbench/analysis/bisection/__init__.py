"""Which commit made cases slower: the search by noisy times, and the parts of the answer."""

from rnnbench.analysis.bisection.answer import WORK, Bisection, CaseChange, Commit, SlowCommit

__all__ = ["WORK", "Bisection", "CaseChange", "Commit", "SlowCommit"]
