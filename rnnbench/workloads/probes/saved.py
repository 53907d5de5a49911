"""What forward keeps for backward."""

from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from rnnbench.cells.states import leaves, storage_address
from rnnbench.store.readings import Readings
from rnnbench.workloads.prepare import Built


def probe(built: Built) -> Readings:
    """Bytes of the storages that one forward saves, each counted once; parameters and inputs don't count."""
    if built.case.workload.phase == "inference":
        return Readings({"saved_bytes": 0})  # inference mode records nothing
    given = {storage_address(tensor) for tensor in (*built.model.parameters(), built.input, *leaves(built.layer_state))}
    sizes: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        if storage_address(tensor) not in given:
            sizes[storage_address(tensor)] = tensor.untyped_storage().nbytes()
        return tensor.detach()  # an output saved with its graph would make a cycle with the graph

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        output, _ = built.model(built.input, built.state)
    saved = sum(sizes.values())  # read while `output` holds the graph and every storage: no address comes twice
    del output
    return Readings({"saved_bytes": saved})
