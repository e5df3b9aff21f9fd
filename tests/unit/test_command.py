import os
import subprocess
import sys
from pathlib import Path

import pytest

from feature_alignment import command


def fails_with(error):
    def main(argv):
        raise error

    return main


@pytest.mark.parametrize("error", [ValueError, OSError, ArithmeticError])
def test_an_error_of_the_user_is_one_line_and_a_non_zero_exit(error, capsys):
    assert command.outcome(fails_with(error("no such dataset"))) == 1
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
        command.outcome(fails_with(KeyError("x")))


def test_success_is_exit_zero():
    assert command.outcome(lambda argv: None) == 0


def test_a_locale_without_our_letters_stops_no_program():
    program = "from feature_alignment import command; command.run(lambda argv: print('\\u03ba'))"
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | locale, text=True, capture_output=True
    )
    assert (done.returncode, done.stdout) == (0, "\\u03ba\n"), done.stderr


def run_as_program(body, **options):
    program = f"import atexit, gc, sys\nfrom feature_alignment import command\n{body}"
    return subprocess.run([sys.executable, "-c", program], stderr=subprocess.PIPE, **options)


def test_a_program_that_leaves_at_once_has_written_everything_and_cleaned_up():
    body = "atexit.register(print, 'cleaned up'); command.run(lambda argv: print('x' * 100_000))"
    done = run_as_program(body, stdout=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == b"x" * 100_000 + b"\ncleaned up\n"


def test_output_that_cannot_be_written_is_a_failure():
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with Path("/dev/full").open("wb") as full:
        done = run_as_program("command.run(lambda argv: print('x'))", stdout=full, env=buffered)
    assert done.returncode == 120


def test_garbage_is_collected_in_a_program_though_not_while_it_loads(tmp_path):
    body = "gc.disable(); command.run(lambda argv: sys.exit(not gc.isenabled()))"
    assert run_as_program(body).returncode == 0
    room = tmp_path / "users_own"
    room.mkdir()
    (room / "__init__.py").write_text("import feature_alignment")
    (room / "__main__.py").write_text("import gc; raise SystemExit(not gc.isenabled())")
    done = subprocess.run([sys.executable, "-m", "users_own"], cwd=tmp_path)
    assert done.returncode == 0
