import os
import subprocess
import sys
from pathlib import Path

RUN = Path(__file__).with_name("run.py")


def test_what_is_damaged_ends_in_a_clear_error_or_an_equal_result():
    """A process of its own: attempts are forked from one that has computed nothing yet."""
    done = subprocess.run(
        [sys.executable, RUN, "--seed=0", "--count=2", "--jobs=2"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all" in done.stdout.splitlines()[-1]
