"""The planted cases under pyperf, which runs this file again in each of its processes."""

import pyperf

from tests.validation.verdict_peer_cases import bare, cases

if __name__ == "__main__":
    # The smallest numbers of processes and values that allow a comparison, because each process imports torch.
    runner = pyperf.Runner(processes=2, values=5, warmups=1, loops=4)
    for name in cases():
        runner.bench_func(name, bare(name))
