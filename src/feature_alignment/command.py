"""How every module runs as a program: log lines, and errors a user can act on."""

import logging
import sys
from collections.abc import Callable, Sequence


def run(main: Callable[[Sequence[str] | None], None]) -> None:
    """Run ``main`` as a program and leave the interpreter with its exit status.

    Log lines go to standard error. An error that a user can mend (bad input, a missing or
    unwritable file, a training run that diverged) is printed as one message; anything else keeps
    its traceback, since it is a defect of the program.

    Args:
        main: Takes the argument list, or ``None`` for :data:`sys.argv`.
    """
    sys.stdout.reconfigure(errors="backslashreplace")  # in a locale without our letters
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    for name in ("feature_alignment", "__main__"):
        logging.getLogger(name).setLevel(logging.INFO)
    try:
        main(None)
    except (ValueError, OSError, ArithmeticError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    raise SystemExit(0)
