import os
import subprocess
import sys

import pytest

from feature_alignment import command


def fails_with(error):
    def main(argv):
        raise error

    return main


@pytest.mark.parametrize("error", [ValueError, OSError, ArithmeticError])
def test_an_error_of_the_user_is_one_line_and_a_non_zero_exit(error, capsys):
    with pytest.raises(SystemExit) as stopped:
        command.run(fails_with(error("no such dataset")))
    assert stopped.value.code == 1
    assert capsys.readouterr().err == "error: no such dataset\n"


@pytest.mark.parametrize("console", ["3", None, "99", "tty"])
def test_an_error_that_a_full_log_cannot_hold_goes_to_the_console(console):
    program = """
from feature_alignment import command
def main(argv):
    raise OSError("cannot write \u03ba.csv: No space left on device")
command.run(main)
"""
    environment = os.environ | {"PYTHONUTF8": "1"}
    environment.pop(command.CONSOLE, None)
    if console:
        environment[command.CONSOLE] = console
    done = subprocess.run(
        ["bash", "-c", 'exec 3>&2; "$0" -c "$1" > /dev/full 2>&1', sys.executable, program],
        env=environment,
        text=True,
        capture_output=True,
    )
    assert done.returncode != 0
    told = "error: cannot write κ.csv: No space left on device\n" if console == "3" else ""
    assert done.stderr == told


def test_a_defect_keeps_its_traceback():
    with pytest.raises(KeyError):
        command.run(fails_with(KeyError("x")))


def test_success_is_exit_zero():
    with pytest.raises(SystemExit) as stopped:
        command.run(lambda argv: None)
    assert stopped.value.code == 0


def test_a_locale_without_our_letters_stops_no_program():
    program = "from feature_alignment import command; command.run(lambda argv: print('\\u03ba'))"
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | locale, text=True, capture_output=True
    )
    assert (done.returncode, done.stdout) == (0, "\\u03ba\n"), done.stderr
