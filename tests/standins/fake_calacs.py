"""A calacs.e that behaves well, or badly in the way that a file beside it says; no more than Python is needed."""

from __future__ import annotations

import json
import stat
import sys
from pathlib import Path

SCRIPT = r'''
import json, os, signal, sys, time
if "--version" in sys.argv:
    print("10.5.0 (16-Mar-2026)"); sys.exit(0)
HERE = os.path.dirname(os.path.abspath(sys.argv[0]))
name = sys.argv[-1]
root = name.partition("_")[0]
product = root + "_flt.fits"
modes = json.load(open(os.path.join(HERE, "modes.json")))
mode, _, argument = modes.get(root, modes.get("*", "good")).partition(":")

def note(kind, data):
    with open(os.path.join(HERE, kind + ".jsonl"), "a") as out:
        out.write(json.dumps(data) + "\n")

def calibrate(switches=b"'COMPLETE'", cut=None, target=product):
    data = open(name, "rb").read()
    end = data.index(b"END" + b" " * 77) + 80
    data = data[:end].replace(b"'PERFORM '", switches) + data[end:]
    with open(target, "wb") as out:
        out.write(data[:cut])

def once(what):
    """Do something only the first time that this exposure is calibrated."""
    marker = os.path.join(HERE, root + ".tried")
    if not os.path.exists(marker):
        open(marker, "w").close()
        what()

note("started", {"pid": os.getpid(), "root": root, "argv": sys.argv[1:], "cwd": os.getcwd(), "env": dict(os.environ)})
print("CALBEG*** " + root, flush=True)
if mode == "status":
    print("ERROR:    " + root + " can't be calibrated"); sys.exit(int(argument))
elif mode == "signal":
    os.kill(os.getpid(), int(argument))
elif mode == "nothing":
    sys.exit(0)
elif mode == "uncalibrated":
    calibrate(b"'PERFORM '")
elif mode == "partial":
    calibrate(cut=-5000)
elif mode == "leaves":
    open(root + "_blv_tmp.fits", "wb").write(b"x" * 100000); calibrate(cut=2880); sys.exit(2)
elif mode == "flood":
    for _ in range(300):
        sys.stdout.write("x" * 99999 + "\n")
    calibrate(cut=100)
elif mode == "binary":
    sys.stdout.buffer.write(bytes(range(256)) * 50 + b"\n\x1b]0;owned\x07\x1b[31m[/bad] [bold]\n")
    sys.stdout.flush(); sys.exit(2)
elif mode == "hang":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        time.sleep(1)
elif mode == "slow":
    time.sleep(float(argument)); calibrate()
elif mode == "orphan":
    # What it leaves is in a session of its own, holds the log open, and writes a product when all is over.
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            note("orphan", {"pid": os.getpid(), "cwd": os.getcwd()})
            try:
                time.sleep(float(argument)); open(product, "wb").write(b"late and wrong")
                note("wrote", {"cwd": os.getcwd()})
            except OSError as error:
                note("wrote", {"error": str(error)})
        os._exit(0)
    while True:
        time.sleep(1)
elif mode == "stop-worker":
    once(lambda: (os.kill(os.getppid(), signal.SIGSTOP), time.sleep(60))); calibrate()
elif mode == "kill-worker":
    once(lambda: (os.kill(os.getppid(), signal.SIGKILL), time.sleep(60))); calibrate()
elif mode == "always-kill-worker":
    os.kill(os.getppid(), signal.SIGKILL); time.sleep(60)
elif mode == "killed-once":
    once(lambda: os.kill(os.getpid(), signal.SIGKILL)); calibrate()
elif mode == "memory":
    hog = []
    while True:
        hog.append(bytearray(1 << 24))
else:
    calibrate()
print("CALEND*** " + root, flush=True)
'''


class FakeCalacs:
    """A folder with a fake ``calacs.e``, to be put on the search path."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        program = folder / "calacs.e"
        program.write_text(f"#!{sys.executable} -IS\n{SCRIPT}")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        self.behave()

    def behave(self, **modes: str) -> None:
        """Say how it behaves for each exposure (``every=`` for all others)."""
        (self.folder / "modes.json").write_text(
            json.dumps({name.replace("every", "*"): how for name, how in modes.items()})
        )

    def noted(self, kind: str) -> list[dict]:
        """What it noted: ``started``, ``orphan``, ``wrote``."""
        path = self.folder / f"{kind}.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
