"""``python -m host --python-script FILE WORDS…``: runs a script as ``Slicer --no-main-window --python-script`` does.

Exit code: what the script gave to ``slicer.util.exit`` or ``sys.exit``; 1 after an exception; 0 otherwise.
"""

import argparse
import runpy
import sys
import traceback

from . import HostUnavailableError, start


def main(words: list[str]) -> int:
    """Run the script and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m host", description=__doc__.splitlines()[0])
    parser.add_argument("--python-script", required=True, metavar="FILE", help="script; all further words are its own")
    parser.add_argument("--no-main-window", action="store_true", help="make no window")
    parser.add_argument("--testing", action="store_true", help="message boxes answer themselves")
    parser.add_argument("--show", action="store_true", help="open real windows instead of drawing into memory")
    parser.add_argument("words", nargs=argparse.REMAINDER)
    options = parser.parse_args(words)
    try:
        host = start(offscreen=not options.show, testing=options.testing, main_window=not options.no_main_window)
    except HostUnavailableError as error:
        print(error, file=sys.stderr)
        return 1
    sys.argv = [options.python_script, *options.words]
    try:
        runpy.run_path(options.python_script, run_name="__main__")
        host.process_events()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except Exception:
        traceback.print_exc()
        return 1
    import slicer

    return slicer.app._exit_code or 0


sys.exit(main(sys.argv[1:]))
