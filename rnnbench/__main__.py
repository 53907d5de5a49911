"""`rnnbench`, and `python -m rnnbench`."""

import os
import sys
from typing import NoReturn


def main() -> None:
    """Run the command line. Ctrl-C prints one line, even during imports, and is ignored during exit."""
    import signal

    from rnnbench import interrupts

    try:
        interrupts.raise_interrupts()
        from rnnbench.cli import main as command

        command()
    except Exception:
        if not interrupts.received:  # otherwise an import has turned KeyboardInterrupt into it
            raise
        _say_interrupted()
    except KeyboardInterrupt:
        _say_interrupted()
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _say_interrupted() -> NoReturn:
    os.write(2, b"rnnbench: interrupted\n")
    sys.exit(130)


if __name__ == "__main__":
    if not sys.flags.safe_path:  # `-m` puts the current folder first, where a `random.py` would break every command
        sys.path.append(sys.path.pop(0))
    main()
