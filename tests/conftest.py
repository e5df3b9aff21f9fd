import sys
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parent.parent

sys.path.insert(0, str(Path(__file__).resolve().parent))

torch.set_num_threads(1)  # as jobs have it: more threads add in another order
