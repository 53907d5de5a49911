"""`python -m tests.validation products`: the product of a step in each library, and in rnnbench's own code.

Each row is a product with a weight of four gates, stored by row as parameters are, or by column as suites store it for
inference. Times are the shortest blocks of calls in turns; packing, once for 16 steps, is a part of them.
"""

import pandas as pd
import torch

from rnnbench.kernels.direct import row_stride
from rnnbench.kernels.libraries import Matrix, SharedProducts, library_seconds, product_calls, shortest

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
                    asked = SharedProducts(left, right, STEPS, torch.float32, threads)
                    seconds = _in_others(asked) | library_seconds(asked)
                    sizes = {"threads": threads, "hidden_size": hidden, "batch_size": batch, "stored": stored}
                    rows.append(sizes | {library: 1e6 * taken / STEPS for library, taken in seconds.items()})
    return pd.DataFrame(rows)


def _in_others(products: SharedProducts) -> dict[str, float]:
    """Seconds of all products in the libraries that `prepacked` does not use."""
    left, right = (factor.tensor(products.dtype) for factor in (products.left, products.right))
    seconds = {}
    for name, call in product_calls(left, right.t()).items():
        taken = shortest({"multiply": call.multiply, "pack": call.pack or (lambda: None)})
        seconds[name] = products.count * taken["multiply"] + (taken["pack"] if call.pack else 0.0)
    return seconds
