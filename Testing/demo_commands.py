"""What both halves of the demo do alike: a verb run as a user would, a folder put aside."""

import shlex
import subprocess
import sys


def fresh_folder(folder):
    """An earlier demo is put aside, never overwritten."""
    if folder.exists() and any(folder.iterdir()):
        number = next(n for n in range(1, 1000) if not folder.with_name(f"{folder.name}-{n}").exists())
        folder.rename(folder.with_name(f"{folder.name}-{number}"))
        print(f"The earlier {folder} is now {folder.name}-{number}.")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def synthct(*words):
    """Run a verb as a user would; the demo ends where it fails."""
    words = [str(word) for word in words]
    print(f"\n$ synthct {shlex.join(words)}", flush=True)
    done = subprocess.run([sys.executable, "-m", "synthct", *words], check=False)
    if done.returncode:
        sys.exit(done.returncode)
