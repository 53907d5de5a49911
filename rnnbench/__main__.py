"""`rnnbench`, and `python -m rnnbench`."""

import os
import sys


def main() -> None:
    """Run the command line. Ctrl-C prints one line, even during imports, and is ignored during exit."""
    import signal

    _open_streams()
    try:
        from rnnbench.cli import main as command

        command()
    except KeyboardInterrupt:
        os.write(2, b"rnnbench: interrupted\n")
        sys.exit(130)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _open_streams() -> None:
    """Open standard streams that are closed: a file of rnnbench could take their numbers and be printed into."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
            os.set_inheritable(descriptor, True)


def _import_from_here_last() -> None:
    """Search the current folder last: `-m` puts it first, where a `random.py` would break every command."""
    try:
        here = os.getcwd()  # noqa: PTH109 - pathlib might be a file of that folder
    except OSError:
        return
    if not sys.flags.safe_path and sys.path[0] == here:
        del sys.path[0]
        if os.path.samefile(here, f"{sys.modules[__package__].__path__[0]}/.."):  # noqa: PTH121
            sys.path.append(here)


if __name__ == "__main__":
    _import_from_here_last()
    main()
