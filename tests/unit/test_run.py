"""What every training run shares."""

import json
import subprocess
import sys

PRECISION = """
import sys, torch
from feature_alignment.run.context import parse_run
torch.backends.cudnn.conv.fp32_precision = "tf32"
parse_run("module", "", sys.argv[1:])
print(torch.backends.cudnn.conv.fp32_precision, torch.get_float32_matmul_precision())
"""


def test_a_gpu_computes_in_full_single_precision(tmp_path):
    spec = tmp_path / "spec.json"
    spec.write_text(json.dumps({"paper": "paper", "run": "run", "settings": {}}))
    places = ["--spec", spec, "--out", tmp_path / "out.csv", "--checkpoint", tmp_path / "state"]
    command = [sys.executable, "-c", PRECISION, "--seed", "0", *map(str, places)]
    words = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert words == ["ieee", "highest"]
