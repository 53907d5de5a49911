"""`rnnbench.load_fastest`, in a module of its own: a process that runs kept modules imports nothing else."""

from pathlib import Path

from rnnbench.api import for_users
from rnnbench.speedup.kept.module import KeptModule, load


@for_users
def load_fastest(folder: str | Path) -> KeptModule:
    """Load what `rnnbench.fastest(...).save(folder)` has kept, without compiling.

        rnnbench.fastest(nn.GRU(64, 256), torch.randn(16, 32, 64)).save("my-gru")  # in another process, once
        fast = rnnbench.load_fastest("my-gru")
        outputs, state = fast(torch.randn(16, 32, 64))

    It takes some 0.2 seconds, in a process that has imported torch. The kept shapes run in the ways that were fastest
    where they were saved. Before any code is loaded, this machine is compared with that one, and files with their
    checksums; then the results of trial inputs are compared. The code has all your rights, so load only folders that
    you or somebody you trust has saved. The folder is only read, and not needed after it is loaded.

    Args:
        folder: The folder.

    Returns:
        A module with the weights of the folder, under the names that they have in the module as given, without
        gradients. It is called as that module was, (input, state=None) -> (outputs, state), from several threads, too,
        and can be copied by `copy.deepcopy` but not pickled. Weights that change, as by `load_state_dict`, count from
        the next call on. Any other call raises ValueError, which names what is kept: another batch size, length or
        type, gradients, autocast, training mode, and pruned weights. `repr` says which shape runs in which way.

    Raises:
        UserError: The folder is none of rnnbench's, is damaged, was made for another processor, system, torch or
            version of rnnbench, or computes something else here.
    """
    return load(Path(folder))
