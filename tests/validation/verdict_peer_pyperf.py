"""The planted cases under pyperf, which starts this file again for each of its processes."""

import pyperf

from tests.validation.verdict_peer_cases import bare, cases

if __name__ == "__main__":
    # The fewest processes and values that leave something to compare: each process imports torch.
    runner = pyperf.Runner(processes=2, values=5, warmups=1, loops=4)
    for name in cases():
        runner.bench_func(name, bare(name))
