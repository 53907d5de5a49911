"""The verdicts of other tools on the same slowed suites, in about the same time: base first, then head."""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from itertools import permutations
from pathlib import Path

import pandas as pd

from tests.doubles import repository
from tests.validation.verdict_peer_cases import cases
from tests.validation.verdicts import CELLS, STEPS, write_sides

SUITES = 2
SECONDS_A_CASE = 2.0  # for 24 cases on two sides: with imports and set-up two minutes for a suite
THRESHOLDS = (0.025, 0.05)
HERE = Path(__file__).parent
Flags = dict[str, dict[str, bool]]  # rule -> case -> whether it is called slower


def peers() -> Iterator[pd.DataFrame]:
    """For each suite and tool a row for each case and rule: the planted slowdown and whether it was called slower."""
    for number, sizes in zip(range(SUITES), permutations(STEPS), strict=False):
        plan = dict(zip(CELLS, sizes, strict=True))
        for tool in (pytest_benchmark, pyperf, asv):
            with tempfile.TemporaryDirectory() as scratch:
                base, head = Path(scratch) / "base", Path(scratch) / "head"
                write_sides(base, head, plan)
                started = time.monotonic()
                flags = tool(base, head)
                seconds = round(time.monotonic() - started, 1)
            rows = [
                {"rule": rule, "suite": number, "seconds": seconds, "case": case, "slower": slower}
                | {"slowdown": plan.get(case.split()[0], 0.0)}
                for rule, flagged in flags.items()
                for case, slower in flagged.items()
            ]
            print(f"suite {number}, {tool.__name__}: {seconds:.0f} s", flush=True)
            yield pd.DataFrame(rows)


def rates(found: pd.DataFrame) -> pd.DataFrame:
    """One row for each rule: the cases called slower, by planted slowdown, and the suites with a false alarm."""
    rows = []
    for rule, of_rule in found.groupby("rule", sort=False):
        same = of_rule[of_rule["slowdown"] == 0]
        shares = {
            f"{slowdown:.0%} slower": f"{of['slower'].sum()} of {len(of)}"
            for slowdown, of in of_rule.groupby("slowdown")
        }
        rows.append(
            {
                "rule": rule,
                "unchanged, called slower": shares.pop("0% slower"),
                **shares,
                "suites with a false alarm": f"{same[same['slower']]['suite'].nunique()} of {same['suite'].nunique()}",
                "median seconds": of_rule.groupby("suite")["seconds"].first().median(),
            }
        )
    return pd.DataFrame(rows)


def pytest_benchmark(base: Path, head: Path) -> Flags:
    """`--benchmark-compare-fail` compares one statistic of the two sides with a threshold."""
    stats = [_pytest_stats(side) for side in (base, head)]
    return {
        f"pytest-benchmark {name}:{100 * threshold:g}%": {
            case: stats[1][case][name] > (1 + threshold) * stats[0][case][name] for case in stats[0]
        }
        for name in ("mean", "median", "min")
        for threshold in THRESHOLDS
    }


def _pytest_stats(side: Path) -> dict[str, Mapping[str, float]]:
    file = side / "out.json"
    options = [f"--benchmark-max-time={SECONDS_A_CASE}", f"--benchmark-json={file}", "-p", "no:cacheprovider", "-q"]
    _run([sys.executable, "-m", "pytest", str(HERE / "verdict_peer_pytest.py"), *options], side)
    return {entry["extra_info"]["case"]: entry["stats"] for entry in json.loads(file.read_text())["benchmarks"]}


def pyperf(base: Path, head: Path) -> Flags:
    """`compare_to` calls a difference significant by its own t test at 95%."""
    for side in (base, head):
        options = ["--quiet", "--inherit-environ=PYTHONPATH,PLANTED", f"--output={side / 'out.json'}"]
        _run([sys.executable, str(HERE / "verdict_peer_pyperf.py"), *options], side)
    command = [sys.executable, "-m", "pyperf", "compare_to", str(base / "out.json"), str(head / "out.json")]
    output = _run(command, head)
    slower = {case: bool(re.search(rf"^{re.escape(case)}: .*slower", output, re.MULTILINE)) for case in cases()}
    return {"pyperf compare_to": slower}


def asv(base: Path, head: Path) -> Flags:
    """Like asv's `continuous`, without building an environment for each commit: run both sides, then compare."""
    hashes = {side: repository.commit(base, {}, side.name) for side in (base, head)}
    for side, commit in hashes.items():
        (side / "asv.conf.json").write_text(json.dumps(_asv_config(base)))
        _run([*ASV, "machine", "--yes", "--machine=here"], side)
        command = [*ASV, "run", f"--environment=existing:{sys.executable}", f"--set-commit-hash={commit}"]
        _run([*command, "--machine=here", "--record-samples"], side)
    flags: Flags = {}
    for threshold in THRESHOLDS:
        command = [*ASV, "compare", "--machine=here", f"--factor={1 + threshold}", *hashes.values()]
        output = _run(command, head)
        flags[f"asv continuous, factor {1 + threshold:g}"] = {
            case: bool(re.search(rf"^\|? ?\+ .*{re.escape(case)}", output, re.M)) for case in cases()
        }
    return flags


ASV = [sys.executable, "-m", "asv"]


def _asv_config(base: Path) -> dict[str, object]:
    return {
        "version": 1,
        "project": "planted",
        "repo": str(base),
        "branches": ["main"],
        "environment_type": "existing",
        "pythons": [sys.executable],
        "benchmark_dir": str(HERE / "asv_peer"),
        "results_dir": str(base / "results"),
        "env_dir": str(base / "env"),
    }


def _run(command: list[str], side: Path) -> str:
    """Run a tool in a side's folder, on the cases of that side."""
    code = str(HERE.parents[1])
    environment = os.environ | {"PYTHONPATH": code, "ASV_PYTHONPATH": code, "PLANTED": str(side), "HOME": str(side)}
    done = subprocess.run(command, cwd=side, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{command}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout
