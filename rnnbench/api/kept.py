"""`rnnbench.load_fastest`, in a module of its own: a process that runs kept modules imports nothing else."""

from pathlib import Path

from torch import nn

from rnnbench.api import for_users
from rnnbench.speedup.kept.module import KeptModule, load


@for_users
def load_fastest(folder: str | Path, *, as_given: nn.Module | None = None) -> KeptModule:
    """Load what `rnnbench.fastest(...).save(folder)` has kept, without compiling.

        rnnbench.fastest(nn.GRU(64, 256), torch.randn(16, 32, 64)).save("my-gru")  # in another process, once
        fast = rnnbench.load_fastest("my-gru")
        outputs, state = fast(torch.randn(16, 32, 64))

    It takes some 0.1 seconds, in a process that has imported torch. The kept shapes run in the ways that were fastest
    where they were saved. Lengths that pieces of kept code add up to run by that code, too, and so do all batch sizes
    of 2 and more if it was found by `fastest(..., any_batch=True)`. Before any code is loaded, this machine is compared
    with that one, and files with their checksums; then the outputs of trial inputs are compared. The code has all your
    rights, so load only folders that you or somebody you trust has saved. The folder is only read, and not needed after
    it is loaded.

    Args:
        folder: The folder.
        as_given: A module of the class that was saved, built with the same sizes; it gets the folder's weights. It runs
            all calls that are not kept. A layer of torch.nn needs none, since it can be built anew.

    Returns:
        A module with the weights of the folder, under the names that they have in the module as given, without
        gradients. It is called as that module was, (input, state=None) -> (outputs, state), from several threads, too,
        and can be copied by `copy.deepcopy` but not pickled. Any other call, such as one of a shape that no code runs,
        with gradients or under autocast, runs as given and warns once; without the module as given it raises
        ValueError. So does a call in training or evaluation mode if the module was saved in the other one and computes
        something else there, and any call after its weights were pruned. Weights that change, as by `load_state_dict`,
        count from the next call on. `repr` says which shape runs in which way.

    Raises:
        UserError: The folder is none of rnnbench's, is damaged, was made for another processor, system, torch or
            version of rnnbench, computes something else here, or `as_given` has other parameters.
    """
    return load(Path(folder), as_given)
