"""`rnnbench`, and `python -m rnnbench`."""

import os
import sys


def main() -> None:
    """Run the command line. Ctrl-C prints one line, even during imports, and is ignored during exit."""
    import signal

    try:
        from rnnbench.cli import main as command

        command()
    except KeyboardInterrupt:
        os.write(2, b"rnnbench: interrupted\n")
        sys.exit(130)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


if __name__ == "__main__":
    if not sys.flags.safe_path:  # `-m` puts the current folder first, where a `random.py` would break every command
        sys.path.append(sys.path.pop(0))
    main()
