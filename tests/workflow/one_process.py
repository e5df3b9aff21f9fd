"""Carry out commands of the workflow's rules, ``python -m MODULE …``, in this one process.

They are lines of standard input; what a log would take is left out.
"""

import importlib
import re
import shlex
import sys


def main() -> None:
    """Read the commands, and carry them out."""
    for command in sys.stdin.read().splitlines():
        python, option, module, *arguments = shlex.split(command)
        assert (python, option) == ("python", "-m"), command
        end = next((i for i, word in enumerate(arguments) if re.fullmatch("2?>", word)), None)
        importlib.import_module(module).main(arguments[:end])


if __name__ == "__main__":
    main()
