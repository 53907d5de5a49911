"""What kind of failure an exception is."""

from rnnbench.cells import CellMissing
from rnnbench.store.records import Failure


def kind(error: BaseException) -> Failure:
    """`loading` where code or a file was missing or unreadable, in what was raised or what led to it; else `running`.

    Files can be missing because of where a case is run, a temporary worktree for example, and not because of its code.
    """
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, CellMissing | ImportError | SyntaxError | OSError):
            return "loading"
        link = link.__cause__ or link.__context__
    return "running"
