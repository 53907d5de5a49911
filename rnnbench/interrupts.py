"""Ctrl-C, and the signals that end a job, such that none of them is lost.

Python raises KeyboardInterrupt wherever the program is. Where nothing can be raised, as in what runs at the end of an
object or of an import, it prints the exception and goes on; a library may turn it into an error of its own.
"""

import signal
import sys
import threading
from types import FrameType

AGAIN_SECONDS = 0.01  # until what could not raise has surely ended
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # Ctrl-C, a job that CI cancels, a terminal that closes

received: list[int] = []  # numbers of the signals that came


def raise_interrupts() -> None:
    """Raise KeyboardInterrupt for each signal that ends a program, but for those that the shell ignores."""
    for number in ENDING:
        if signal.getsignal(number) != signal.SIG_IGN:  # `nohup` ignores SIGHUP
            signal.signal(number, _interrupt)
    sys.unraisablehook = _send_again


def _interrupt(number: int, frame: FrameType | None) -> None:
    received.append(number)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a closing terminal sends it twice, and we are ending already
    raise KeyboardInterrupt


def _send_again(unraisable: "sys.UnraisableHookArgs") -> None:
    """Send an interrupt again that came where nothing can be raised; print any other exception, as Python does."""
    if not issubclass(unraisable.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(unraisable)
        return
    main = threading.main_thread().ident
    timer = threading.Timer(AGAIN_SECONDS, signal.pthread_kill, (main, signal.SIGINT))
    timer.daemon = True
    timer.start()
