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
