"""An entry script whose result depends on its input alone. Each call of ``run()`` is a line in the file ``--calls``.

A mini-batch that holds an item whose number ends in 37 always fails.
"""

import argparse
import os
import time
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("--calls", required=True)
parser.add_argument("--seconds", type=float, default=0.02, help="that a call takes")
parser.add_argument("--width", type=int, default=0, help="characters by which each item's result is longer")
options, _ = parser.parse_known_args()


def numbers_of(mini_batch):
    if isinstance(mini_batch, list):
        return [int(Path(path).stem[1:]) for path in mini_batch]
    return [int(value) for value in mini_batch["id"]]


def run(mini_batch):
    numbers = numbers_of(mini_batch)
    calls = os.open(options.calls, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(calls, f"{numbers[0]}\n".encode())
    os.close(calls)
    time.sleep(options.seconds)
    if any(number % 100 == 37 for number in numbers):
        raise ValueError(f"no luck with the mini-batch of {numbers[0]}")
    more = "x" * options.width
    return [{"id": number, "square": number**2, "text": f'"{number}", said\nhe{more}'} for number in numbers]
