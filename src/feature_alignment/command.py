"""How every module runs as a program: log lines, and errors a user can act on."""

import logging
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress

CONSOLE = "FEATURE_ALIGNMENT_CONSOLE"
"""Names the file descriptor of the console, where standard error is a log."""


def run(main: Callable[[Sequence[str] | None], None]) -> None:
    """Run ``main`` as a program and leave the interpreter with its exit status.

    Log lines go to standard error. An error that a user can mend (bad input, a missing or
    unwritable file, too little memory, a training run that diverged) is printed as one message;
    anything else keeps its traceback, since it is a defect of the program. Where the message
    cannot be written, as to a log on the disk that is full, it goes to the console instead.

    Args:
        main: Takes the argument list, or ``None`` for :data:`sys.argv`.
    """
    sys.stdout.reconfigure(errors="backslashreplace")  # in a locale without our letters
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    for name in ("feature_alignment", "__main__"):
        logging.getLogger(name).setLevel(logging.INFO)
    try:
        main(None)
    except (ValueError, OSError, ArithmeticError, MemoryError) as error:
        _tell(f"error: {error}\n")
        raise SystemExit(1) from None
    raise SystemExit(0)


def _tell(message: str) -> None:
    try:
        sys.stderr.write(message)
        sys.stderr.flush()
    except OSError:
        with suppress(OSError, ValueError):
            os.write(int(os.environ.get(CONSOLE, "")), message.encode(errors="backslashreplace"))
