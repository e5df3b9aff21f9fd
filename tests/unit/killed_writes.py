"""Write a file again and again, slowly, until killed; for :mod:`test_storage`."""

import sys
import time
from pathlib import Path

from feature_alignment.storage import replacing

if __name__ == "__main__":
    path = Path(sys.argv[1])
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(b"half")
        file.flush()
        print("writing", flush=True)
        time.sleep(60)
