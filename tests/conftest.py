import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parent.parent

sys.path.insert(0, str(Path(__file__).resolve().parent))

torch.set_num_threads(1)  # as jobs have it: more threads add in another order


@pytest.fixture
def restored_torch():
    """Undo what a program does to torch for its whole process."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)
