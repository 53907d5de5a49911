"""The first pair of cases under pyperf, which runs this file again in each of its processes."""

import pyperf

from tests.validation.cases import bare, pairs

if __name__ == "__main__":
    runner = pyperf.Runner(processes=5)
    for case in pairs()[0]:
        runner.bench_func(case.key, bare(case))
