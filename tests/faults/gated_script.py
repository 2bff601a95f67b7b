"""An entry script that halts where the test wants it to. Each call of ``run()`` is a line in the file ``--calls``.

A mini-batch whose first number is at least ``--hold`` waits for the file ``--go``. One that holds a number of
``--bad`` fails while there is no file ``--mended``. All paths are relative to the folder that the run was begun in.
"""

import argparse
import os
import time
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("--calls", type=Path, required=True)
parser.add_argument("--hold", type=int, default=10_000)
parser.add_argument("--go", type=Path, default=Path("go"))
parser.add_argument("--bad", default="")
parser.add_argument("--mended", type=Path, default=Path("mended"))
parser.add_argument("--name-in", type=Path, help="file with a word that each result carries")
options, _ = parser.parse_known_args()

bad = {int(number) for number in options.bad.split(",") if number}
word = options.name_in.read_text() if options.name_in else "item"


def numbers_of(mini_batch):
    if isinstance(mini_batch, list):
        return [int(Path(path).stem[1:]) for path in mini_batch]
    return [int(value) for value in mini_batch["id"]]


def run(mini_batch):
    numbers = numbers_of(mini_batch)
    calls = os.open(options.calls, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(calls, f"{numbers[0]}\n".encode())
    os.close(calls)
    while numbers[0] >= options.hold and not options.go.exists():
        time.sleep(0.01)
    time.sleep(0.01)  # more than a task may take: so each mini-batch is a task of its own
    if bad.intersection(numbers) and not options.mended.exists():
        raise ValueError(f"no luck with the mini-batch of {numbers[0]}")
    return [{"id": number, "text": f'"{word} {number}", said\nhe'} for number in numbers]
