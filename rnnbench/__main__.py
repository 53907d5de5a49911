"""`rnnbench`, and `python -m rnnbench`."""

import signal
import sys


def main() -> None:
    """Run the command line; Ctrl-C is one line also while it is loaded, and nothing while it ends."""
    try:
        from rnnbench.cli import main as command

        command()
    except KeyboardInterrupt:
        sys.stderr.write("rnnbench: interrupted\n")
        sys.exit(130)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


if __name__ == "__main__":
    main()
