"""An entry script that goes wrong on purpose, by name, for one mini-batch; every call is counted on disk.

``--fault NAME`` acts on the mini-batch that holds item ``--victim``; ``--times N`` only on its first N calls.
"""

import argparse
import ctypes
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("--fault", default="")
parser.add_argument("--victim", type=int, default=3)
parser.add_argument("--times", type=int, default=1000)
parser.add_argument("--calls", type=Path)
options, _ = parser.parse_known_args()


def init():
    if options.fault == "init_raises":
        raise RuntimeError("the model file is damaged")
    if options.fault == "init_hangs":
        time.sleep(3600)


def items_of(mini_batch):
    if isinstance(mini_batch, list):
        return [int(Path(path).stem[1:]) for path in mini_batch]
    return [int(value) for value in mini_batch["id"]]


def count(items):
    """Count this call; return how often this mini-batch has been called."""
    name = str(items[0])
    number = sum(1 for path in options.calls.iterdir() if path.name.split("-")[0] == name) + 1
    (options.calls / f"{name}-{number}-{os.getpid()}").touch()
    return number


def run(mini_batch):
    items = items_of(mini_batch)
    number = count(items)
    result = [f"item {item}" for item in items]
    if options.victim in items and number <= options.times and options.fault in FAULTS:
        return FAULTS[options.fault](result)
    return result


def raises(result):
    raise ValueError("bad item")


def hang(result):
    time.sleep(3600)


def hang_with_gil(result):
    re.match(r"(a+)+$", "a" * 60 + "b")


def ignore_sigterm(result):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    time.sleep(3600)


def exit_zero(result):
    os._exit(0)


def sys_exit(result):
    sys.exit("no more")


def segfault(result):
    ctypes.string_at(0)


def allocate(result):
    held = []
    while True:
        held.append(bytearray(20_000_000))
        time.sleep(0.01)


def grandchildren(result):
    # Leaves the session, and its parent: only a subreaper still finds it.
    code = "import os, time; os.setsid(); os.fork() and os._exit(0); time.sleep(3600)"
    for _ in range(3):
        subprocess.Popen([sys.executable, "-c", code, "daskbatch-fault-grandchild"])
    time.sleep(3600)


def leave_daemon(result):
    code = "import os, time; os.setsid(); time.sleep(3600)"
    subprocess.Popen([sys.executable, "-c", code, "daskbatch-fault-grandchild"])
    return result


def print_much(result):
    line = "x" * 99_999 + "\n"
    for _ in range(10_000):
        sys.stdout.write(line)
    return result


def close_descriptors(result):
    for fd in (0, 1, 2):
        os.close(fd)
    return result


def returns_none(result):
    return None


def too_few(result):
    return result[:-1]


def too_many(result):
    return [*result, "one more"]


def generator(result):
    yield from result


def generator_hangs(result):
    yield result[0]
    time.sleep(3600)


def fork_returns(result):
    # Both halves come back from run(): only one of them may answer.
    if os.fork():
        os.wait()
    return result


def fork_raises(result):
    # The child's error must not end the deadline of its parent, which hangs.
    if os.fork():
        time.sleep(3600)
    raise ValueError("in the child")


def generator_forks(result):
    # The child's generator comes to its end, while its parent hangs in it.
    if os.fork():
        time.sleep(3600)
    yield from result


class Odd:
    def __reduce__(self):
        raise TypeError("cannot be pickled")

    def __str__(self):
        return "odd"


def unserialisable(result):
    return [Odd() for _ in result]


FAULTS = {
    name: value
    for name, value in list(globals().items())
    if callable(value) and getattr(value, "__module__", None) == __name__ and name not in ("init", "run", "count")
}
