"""`python -m tests.validation products`: the product of a step in each library, and in rnnbench's own code.

Each row is a product with a weight of four gates, stored by row as parameters are, or by column as suites store it for
inference. Times are the shortest blocks of calls in turns; copies and packing, once for 16 steps, are a part of them.
"""

import pandas as pd
import torch

from rnnbench.kernels.direct import row_stride
from rnnbench.kernels.libraries import Matrix, SharedProducts, library_seconds

STEPS, GATES = 16, 4
BATCHES, HIDDEN_SIZES, THREADS = (1, 8, 32, 64), (64, 256, 512), (1, 2)


def products() -> pd.DataFrame:
    """A row for each size, order and number of threads: microseconds of one product in each library."""
    rows = []
    for threads in THREADS:
        torch.set_num_threads(threads)
        for hidden in HIDDEN_SIZES:
            columns = GATES * hidden
            orders = {"by row": (1, hidden), "by column": (row_stride(columns, torch.float32), 1)}
            for stored, strides in orders.items():
                for batch in BATCHES:
                    left, right = Matrix((batch, hidden), (hidden, 1)), Matrix((hidden, columns), strides)
                    asked = SharedProducts(left, right, STEPS, torch.float32, threads, has_bias=True)
                    seconds = library_seconds(asked)
                    sizes = {"threads": threads, "hidden_size": hidden, "batch_size": batch, "stored": stored}
                    rows.append(sizes | {library: 1e6 * taken / STEPS for library, taken in seconds.items()})
    return pd.DataFrame(rows)
