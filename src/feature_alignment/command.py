"""How every module runs as a program: log lines, and errors a user can act on.

Programs are short and hundreds of them make a figure or a table each, so what is slow around them
is left out: while their modules load, Python looks for no garbage (the package's ``__init__`` sees
to that), and at the end they leave without taking torch's or matplotlib's modules apart.
"""

import atexit
import gc
import logging
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress

CONSOLE = "FEATURE_ALIGNMENT_CONSOLE"
"""Names the file descriptor of the console, where standard error is a log."""


def run(main: Callable[[Sequence[str] | None], None]) -> None:
    """Run ``main`` as a program and leave the interpreter with its exit status.

    Args:
        main: Takes the argument list, or ``None`` for :data:`sys.argv`.
    """
    gc.freeze()  # what was loaded stays until the end
    gc.enable()
    status = outcome(main)
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:  # as Python's own end would
        status = status or 120
    os._exit(status)


def outcome(main: Callable[[Sequence[str] | None], None]) -> int:
    """Run ``main`` and return the exit status.

    Log lines go to standard error. An error that a user can mend (bad input, a missing or
    unwritable file, too little memory, a training run that diverged) is printed as one message;
    anything else keeps its traceback, since it is a defect of the program. Where the message
    cannot be written, as to a log on the disk that is full, it goes to the console instead.
    """
    sys.stdout.reconfigure(errors="backslashreplace")  # in a locale without our letters
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    for name in ("feature_alignment", "__main__"):
        logging.getLogger(name).setLevel(logging.INFO)
    try:
        main(None)
    except (ValueError, OSError, ArithmeticError, MemoryError) as error:
        _tell(f"error: {error}\n")
        return 1
    return 0


def _tell(message: str) -> None:
    try:
        sys.stderr.write(message)
        sys.stderr.flush()
    except OSError:
        with suppress(OSError, ValueError):
            os.write(int(os.environ.get(CONSOLE, "")), message.encode(errors="backslashreplace"))
