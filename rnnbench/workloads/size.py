"""How much memory a case needs at least, by its sizes alone: a case larger than the machine is not tried."""

from rnnbench.store.records import GATES, ITEM_BYTES, LOADS, Workload


def least_bytes(workload: Workload) -> int:
    """Bytes of inputs, states, weights and outputs of one model; two models, gradients and the rest come on top."""
    numbers = workload.batch_size * workload.input_steps * workload.input_size
    numbers += workload.batch_size * workload.output_steps * workload.output_size
    if workload.phase in LOADS:
        numbers += workload.samples * (workload.input_size + workload.seq_len * workload.output_size)
    if workload.phase != "loading":
        width = workload.directions * workload.hidden_size
        numbers += workload.batch_size * width * (workload.num_layers + workload.input_steps)
        numbers += width * workload.output_size
        gates, above = GATES.get(workload.reference, 0), width * (workload.num_layers - 1)
        numbers += gates * width * (workload.input_size + above + workload.num_layers * workload.hidden_size)
    return numbers * ITEM_BYTES[workload.dtype]
