"""`python -m tests.validation against-r`: the formulas that R has too, on the same random samples.

Needs R with the packages limma and robustbase; Debian's are `r-base-core`, `r-bioc-limma` and `r-cran-robustbase`.
"""

import shutil
import subprocess
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
import pytest

from rnnbench.analysis import variances, verdict
from rnnbench.analysis.estimate import signed_rank_interval, t_quantile
from rnnbench.analysis.location import locations
from rnnbench.analysis.run_to_run import scatter

SAMPLES = 200
SIZES = (6, 9, 10, 12, 20, 49)


def against_r() -> pd.DataFrame:
    """A row for each formula: the largest difference from R, relative to the larger of R's value and 1."""
    if shutil.which("Rscript") is None:
        raise SystemExit("Rscript is not installed; Debian's packages are r-base-core, r-bioc-limma, r-cran-robustbase")
    rng = np.random.default_rng(0)
    samples = [rng.gamma(2.0, size=size) for size in SIZES for _ in range(SAMPLES)]
    freedom = rng.integers(3, 30, (SAMPLES, 24)).astype(float)
    spreads = np.exp(rng.normal(0, 0.5, (SAMPLES, 24)))
    known = spreads * rng.chisquare(freedom) / freedom
    p_values = rng.uniform(size=(SAMPLES, 24)) ** 4
    rows = {
        "signed-rank interval: wilcox.test(conf.int = TRUE, exact = TRUE)": (
            [
                [each.value, each.lower, each.upper]
                for each in map(signed_rank_interval, map(np.ndarray.tolist, samples))
            ],
            _r("w = wilcox.test(x, conf.int = TRUE, exact = TRUE); c(w$estimate, w$conf.int)", samples),
        ),
        "Student's quantile: qt": (
            [[t_quantile(0.975, each), t_quantile(0.9995, each)] for each in freedom.ravel()],
            _r("c(qt(0.975, x), qt(0.9995, x))", freedom.reshape(-1, 1)),
        ),
        "trimmed mean: mean(trim = 0.1)": (
            [[each.value for each in locations([sample])] for sample in samples if len(sample) % 10 == 0],
            _r("mean(x, trim = 0.1)", [sample for sample in samples if len(sample) % 10 == 0]),
        ),
        "Qn: robustbase::Qn": (
            [[scatter(sample)] for sample in samples if len(sample) > 12],
            _r("robustbase::Qn(x)", [sample for sample in samples if len(sample) > 12]),
        ),
        "typical variance and its freedom, nothing clipped: limma::fitFDist": (
            [_prior(*each) for each in zip(known, freedom, strict=True)],
            _r(
                "f = limma::fitFDist(x[1:24], x[25:48]); c(if (is.finite(f$df2)) f$scale else 0, 1 / f$df2)",
                np.concatenate((known, freedom), axis=1),
            ),
        ),
        "Benjamini-Hochberg: p.adjust": (
            [[float(_rejected(each))] for each in p_values],
            _r(f'sum(p.adjust(x, "BH") <= {verdict.Q})', p_values),
        ),
    }
    return pd.DataFrame(
        {"formula": name, "samples": len(own), "largest difference": _difference(own, other)}
        for name, (own, other) in rows.items()
    )


def _prior(known: np.ndarray, freedom: np.ndarray) -> list[float]:
    with pytest.MonkeyPatch.context() as patch:  # rnnbench's estimate is limma's, made robust
        patch.setattr(variances, "CLIPPED_SHARE", 0.0)
        patch.setattr(variances, "CLIPPED_VARIANCE", 1.0)
        typical, worth = variances._prior(known, freedom)
    # Where all variances agree, limma takes their mean, and rnnbench the mean of their logarithms.
    return [typical if np.isfinite(worth) else 0.0, 1 / worth]


def _rejected(p_values: np.ndarray) -> int:
    largest = verdict._largest_rejected(dict(zip(map(str, range(len(p_values))), p_values.tolist(), strict=True)))
    return int((p_values <= largest).sum())


def _difference(own: Sequence[Sequence[float]], other: Sequence[Sequence[float]]) -> float:
    mine, theirs = np.array(own), np.array(other)
    return float(np.max(np.abs(mine - theirs) / np.maximum(1.0, np.abs(theirs))))


def _r(expression: str, samples: Iterable[np.ndarray]) -> list[list[float]]:
    """The values of an R expression for each sample `x`."""
    lines = "\n".join(" ".join(map(repr, sample.tolist())) for sample in samples)
    program = (
        'options(digits = 17); for (line in readLines(file("stdin"))) '
        f'{{ x = as.numeric(strsplit(line, " ")[[1]]); cat({{ {expression} }}, "\\n") }}'
    )
    done = subprocess.run(["Rscript", "-e", program], input=lines, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return [[float(value) for value in line.split()] for line in done.stdout.splitlines()]
