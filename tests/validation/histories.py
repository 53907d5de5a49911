"""Public histories of other people's packages, commit by commit: which cases are timed, and which could be affected?

No time is measured: for each commit both sides are asked what each case may run, as a check asks them. Whether a case
could be affected is judged by the rule of `tests.validation.judged`, from the texts of both sides and from the
functions that run, without the code that is tried here. Where both disagree, a person has read the commit: `read`.

    python -m tests.validation histories

It needs the repositories of PACKAGES as bare copies in the folder `$HISTORIES`, named as their last part, and beside
them in `site-packages` what these packages import: pip install --no-deps --target site-packages nir nirtorch h5py pbr.
It takes half an hour. What an older state answered is the column `before`: `python -m tests.validation.histories FILE
[REPOSITORY ...]` writes it, with the folder of that state first in PYTHONPATH, and `$HISTORIES/before*.json` are read.
`python -m tests.validation.histories` alone counts the reasons of the kept table.
"""

import json
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from multiprocessing import get_context
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd
import torch

from rnnbench.check import same_code as asked
from rnnbench.harness.protocol import Building
from rnnbench.harness.worker.answers import answer
from rnnbench.harness.worker.user_files import UsedFiles
from rnnbench.store.records import Case
from tests.doubles import workload as small
from tests.doubles.visits import worker_here
from tests.validation.affected import in_child
from tests.validation.judged import Ran, could_change, functions_that_run

KEPT = Path("results/validation/histories.csv")
KEYS = ["package", "revision", "case"]
BEFORE = ["before", "clause before"]
COUNTS = ["timed before", "needlessly before", "timed", "needlessly"]
SIZE = 6
PROCESSES = 2
CELLS_FILE = "bench_cells.py"
NOT_IMPORTED = ("test/", "tests/", "docs/", "examples/", "tasks/")  # folders of which no cell imports anything
STEP = """

class {name}(nn.Module):
    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.layer = {made}

    def forward(self, input, h):
        return {call}
"""


@dataclass(frozen=True)
class Package:
    """A public repository: the last commit to replay, how many, and the cells that its maintainers would time."""

    repository: str
    last: str
    commits: int
    imports: str
    cells: tuple[tuple[str, str, str], ...]  # name, how the layer is made, how it is called for a step

    @property
    def code(self) -> str:
        """Return the file of cells that is added to each commit."""
        cells = "".join(STEP.format(name=name, made=made, call=call) for name, made, call in self.cells)
        return f"import torch\nfrom torch import nn\n{self.imports}{cells}"

    @property
    def cases(self) -> list[str]:
        """Return the cells as a suite names them."""
        return [f"{CELLS_FILE}:{name}" for name, _, _ in self.cells]


OF_TIME = "self.layer(input.unsqueeze(1))[:, 0] + h * 0"
BAYESIAN = "self.layer(input.unsqueeze(1))[0][:, 0] + h * 0"
OF_MEMORY = "self.layer(input.unsqueeze(1), None, reset_experience=True)[0][:, 0] + h * 0"
PACKAGES = (
    Package(
        "synsense/sinabs",
        "v1.2.0",
        36,
        "import numpy\nnumpy.product = numpy.prod  # which new versions lack\nimport sinabs.layers as sl\n",
        (
            ("LIF", "sl.LIF(tau_mem=20.0)", OF_TIME),
            ("ExpLeak", "sl.ExpLeak(tau_mem=20.0)", OF_TIME),
            ("Recurrent", "sl.LIFRecurrent(tau_mem=20.0, rec_connect=nn.Linear(hidden_size, hidden_size))", OF_TIME),
        ),
    ),
    Package(
        "piEsposito/blitz-bayesian-deep-learning",
        "5af1174",
        40,
        "import blitz.modules as bm\n",
        (
            ("LSTM", "bm.BayesianLSTM(input_size, hidden_size)", BAYESIAN),
            ("GRU", "bm.BayesianGRU(input_size, hidden_size)", BAYESIAN),
            ("Linear", "bm.BayesianLinear(input_size, hidden_size)", "torch.tanh(self.layer(input) + h)"),
        ),
    ),
    Package(
        "ixaxaar/pytorch-dnc",
        "cf6f682",
        34,
        "from dnc import DNC\n",
        (
            ("DNCOfLSTM", "DNC(input_size, hidden_size, rnn_type='lstm')", OF_MEMORY),
            ("DNCOfGRU", "DNC(input_size, hidden_size, rnn_type='gru')", OF_MEMORY),
        ),
    ),
    Package(
        "alxndrTL/mamba.py",
        "2cc168c",
        34,
        "try:\n    from mambapy import mamba as m\nexcept ImportError:\n    import mamba as m\n",
        (
            ("ParallelScan", "m.Mamba(m.MambaConfig(d_model=hidden_size, n_layers=1))", OF_TIME),
            ("Sequential", "m.Mamba(m.MambaConfig(d_model=hidden_size, n_layers=1, pscan=False))", OF_TIME),
        ),
    ),
)


def histories() -> pd.DataFrame:
    """A row for each case of each commit: whether it is timed, why, whether it could be affected, and what was read."""
    rows = pd.DataFrame([row for package in PACKAGES for row in _replayed(package)])
    files = sorted(Path(os.environ["HISTORIES"]).glob("before*.json"))
    before = pd.DataFrame([row for file in files for row in json.loads(file.read_text())])
    return completed(rows, before, pd.read_csv(KEPT, keep_default_na=False) if KEPT.exists() else rows.head(0))


def completed(rows: pd.DataFrame, before: pd.DataFrame, kept: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with what an older state answered (else the kept one), and with what was read of each commit."""
    answered = before if len(before) else kept
    rows = rows.merge(answered.reindex(columns=[*KEYS, *BEFORE], fill_value=""), on=KEYS, how="left")
    return rows.merge(kept.reindex(columns=[*KEYS, "read"], fill_value=""), on=KEYS, how="left").fillna("")


def reasons(rows: pd.DataFrame) -> pd.DataFrame:
    """Count for what reasons cases were timed, before and now, and how many of these could not be affected.

    Only of commits that an older state was asked about, and without cases that can't run.
    """
    asked_of = rows[(rows["could be affected"] != "can't run") & (rows["before"] != "")]
    counted: dict[str, dict[str, int]] = {}
    for when, timed, clause in ((" before", "before", "clause before"), ("", "timed", "clause")):
        for row in asked_of[asked_of[timed] == "yes"].to_dict("records"):
            of_reason = counted.setdefault(reason_of(row[clause]), dict.fromkeys(COUNTS, 0))
            of_reason[f"timed{when}"] += 1
            of_reason[f"needlessly{when}"] += row["could be affected"] == "no"
    return pd.DataFrame(
        [{"reason": reason, **counts} for reason, counts in counted.items()], columns=["reason", *COUNTS]
    )


def reason_of(clause: str) -> str:
    """Return the kind of a clause that says why a case is timed."""
    from rnnbench.check.requirements import is_packaging  # which older states do not have

    what, _, rest = clause.partition(" changed")
    file, _, name = what.partition(": ")
    if not rest and not clause.endswith(" changed"):
        return "used or imported by one side alone" if " alone" in clause else clause.partition(" by ")[0]
    if not file.endswith(".py"):
        return "a packaging file" if is_packaging(PurePosixPath(file)) else "another file"
    return "a definition" if name else "statements of a module"


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """For each package: commits, cases, precision and recall, now and before. Cases that can't run are left out.

    Before: only of packages that an older state was asked about.
    """
    asked_of = rows[rows["could be affected"] != "can't run"]
    parts = [*asked_of.groupby("package", sort=False), ("all", asked_of)]
    return pd.DataFrame([_rates(str(name), part) for name, part in parts])


def _rates(name: str, part: pd.DataFrame) -> dict[str, Any]:
    could = part["could be affected"] == "yes"
    row: dict[str, Any] = {"package": name, "commits": part["revision"].nunique(), "cases of commits": len(part)}
    row["could be affected"] = int(could.sum())
    for when, column in (("", "timed"), (" before", "before")):
        is_timed = part[column] == "yes"
        is_asked = part[column] != ""
        row[f"timed{when}"] = int(is_timed.sum()) if is_asked.any() else ""
        row[f"precision{when}"] = f"{(is_timed & could).sum() / max(1, is_timed.sum()):.0%}" if is_asked.any() else ""
        row[f"recall{when}"] = f"{(is_timed & could).sum()}/{(is_asked & could).sum()}" if is_asked.any() else ""
    return row


def _replayed(package: Package) -> Iterator[dict[str, Any]]:
    """Yield the rows of a package, the newest commit first."""
    with tempfile.TemporaryDirectory() as scratch:
        states = answers(package, Path(scratch))
        for commit, parent, subject in commits(package):
            base, head = (Path(scratch, each) for each in (parent, commit))
            files = sorted(_git(package, "diff", "--name-only", "--no-renames", parent, commit).splitlines())
            clauses = verdicts(files, states[parent]["answers"], states[commit]["answers"], package.cases)
            for case in package.cases:
                runs = [states[each]["ran"].get(case) for each in (parent, commit)]
                could, why = could_change(base, head, files, *runs)
                replies = [states[each]["answers"]["reached"][case] for each in (parent, commit)]
                if not all(reply["ok"] for reply in replies):
                    could, why = "can't run", "rnnbench refuses the case"
                yield {
                    "package": package.repository,
                    "revision": commit[:8],
                    "subject": subject,
                    "case": case.partition(":")[2],
                    "timed": "yes" if clauses[case] else "no",
                    "clause": clauses[case] or "runs the same code",
                    "could be affected": could,
                    "by the rule": why,
                }


def answers(package: Package, scratch: Path, *, judge: bool = True) -> dict[str, dict[str, Any]]:
    """Return what is known of each commit: what its cases may run, as workers tell it, and which functions run.

    Commits with the same Python files, but for tests, examples and pages, are asked once.
    """
    names = sorted({each for commit, parent, _ in commits(package) for each in (commit, parent)})
    torch.set_num_threads(1)
    code = dict[str, str]()
    for name in names:
        _check_out(package, name, scratch / name)
        lines = _git(package, "ls-tree", "-r", name).splitlines()
        imported = (line for line in lines if not line.partition("\t")[2].startswith(NOT_IMPORTED))
        code[name] = "\n".join(line for line in imported if line.endswith(".py"))
    first = {text: name for name, text in code.items()}
    with ProcessPoolExecutor(PROCESSES, mp_context=get_context("fork")) as pool:
        replies = pool.map(_asked, [(scratch / name, package.cases, judge) for name in first.values()])
        of_code = dict(zip(first, replies, strict=True))
    return {name: of_code[text] for name, text in code.items()}


def _asked(plan: tuple[Path, list[str], bool]) -> dict[str, Any]:
    folder, cases, judge = plan
    print(folder.name, file=sys.stderr)
    ran: dict[str, Ran | None] = {}
    for case in cases if judge else ():
        ran[case] = in_child(functions_that_run, folder, case, SIZE)
    return {"answers": in_child(_reached, folder, cases), "ran": ran}


def _reached(folder: Path, cells: Sequence[str]) -> dict[str, Any]:
    """Return what each cell may run, as a worker tells it, and the files that were used."""
    sys.path[:0] = [str(folder), *_installed()]
    os.chdir(folder)
    # The seed of torch's own function takes 30 ms, since it keeps a stack for devices that are not here.
    torch.manual_seed = torch.random.manual_seed = torch.default_generator.manual_seed
    files = UsedFiles()
    files.watch()
    worker = worker_here(files=files)
    building = Building(str(folder), 64)
    first = answer(worker, building.imports(cells, str(folder)))
    workload = small.workload(input_size=SIZE, hidden_size=SIZE, dtype="float32")
    cases = [Case(cell, "loop", workload) for cell in cells]
    replies = {case.cell: answer(worker, building.request("reach", case, tree=str(folder))) for case in cases}
    read = {file for reply in (first, *replies.values()) for file in reply.get("read", ())}
    modules = {str(getattr(module, "__file__", None)) for module in [*sys.modules.values()]}
    own = {
        kind: [os.path.relpath(file, folder) for file in files if file.startswith(f"{folder}/")]
        for kind, files in (("imported", modules), ("read", read))
    }
    return {"reached": replies, **own}


def verdicts(files: Sequence[str], before: Any, after: Any, cases: Sequence[str]) -> dict[str, str]:
    """Return the clause for which each case is timed; empty if it runs the same code."""
    changed: dict[str, Any] = dict(asked.sorted_by_kind(files, ""))
    replies = {case: {"base": before["reached"][case], "head": after["reached"][case]} for case in cases}
    imported, read = ({*before[kind], *after[kind]} for kind in ("imported", "read"))
    same = asked.same_code(changed, asked.Used(imported, read), replies, cases)
    return {case: same.doubts[case].clause if case in same.doubts else "" for case in cases}


def commits(package: Package) -> list[tuple[str, str, str]]:
    """Return the commits to replay, each with its parent and its subject; merges are left out."""
    lines = _git(
        package, "log", "--no-merges", f"-{package.commits}", "--format=%H %P%x09%s", package.last
    ).splitlines()
    pairs = [line.partition("\t") for line in lines]
    return [(*hashes.split(" "), subject) for hashes, _, subject in pairs if hashes.count(" ") == 1]  # type: ignore[misc]


def _check_out(package: Package, commit: str, folder: Path) -> None:
    archive = subprocess.run(["git", "archive", commit], cwd=_copy(package), capture_output=True, check=True).stdout
    folder.mkdir()
    with tarfile.open(fileobj=BytesIO(archive)) as files:
        files.extractall(folder, filter="tar")
    (folder / CELLS_FILE).write_text(package.code)


def _git(package: Package, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=_copy(package), capture_output=True, text=True, check=True)
    return done.stdout


def _copy(package: Package) -> Path:
    return Path(os.environ["HISTORIES"], package.repository.rpartition("/")[2])


def _installed() -> list[str]:
    os.environ["PBR_VERSION"] = "1.0.0"  # which a package asks for where it is not installed
    return [str(Path(os.environ["HISTORIES"], "site-packages"))]


def write_answers(file: Path, repositories: Sequence[str] = ()) -> None:
    """Write for what each case of each commit is timed by this state of rnnbench; by default of all repositories."""
    rows = []
    for package in (each for each in PACKAGES if not repositories or each.repository in repositories):
        with tempfile.TemporaryDirectory() as scratch:
            states = answers(package, Path(scratch), judge=False)
            for commit, parent, _ in commits(package):
                files = sorted(_git(package, "diff", "--name-only", "--no-renames", parent, commit).splitlines())
                before, after = (states[each]["answers"] for each in (parent, commit))
                clauses = verdicts(files, before, after, package.cases)
                rows += [
                    {
                        "package": package.repository,
                        "revision": commit[:8],
                        "case": case.partition(":")[2],
                        "before": "yes" if clause else "no",
                        "clause before": clause,
                    }
                    for case, clause in clauses.items()
                ]
    file.write_text(json.dumps(rows))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        write_answers(Path(sys.argv[1]), sys.argv[2:])
    else:
        print(reasons(pd.read_csv(KEPT, keep_default_na=False)).to_string(index=False))
