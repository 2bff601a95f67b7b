from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from daskbatch.store.refusal import naming, refusal


def error(number: int, *names: str) -> OSError:
    return OSError(number, os.strerror(number), *names)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_for_want_of_room_it_says_what_to_do(number: int) -> None:
    text = refusal(error(number, "/data/out/x.seg"))
    assert text == (
        f"the output folder cannot be written '/data/out/x.seg': {os.strerror(number)}. "
        "Next: make room, then repeat the command"
    )


def test_other_errors_are_told_as_they_are() -> None:
    assert refusal(error(errno.EACCES, "/out")) == "PermissionError: [Errno 13] Permission denied: '/out'"


def test_an_error_of_writing_gets_the_name_of_the_file() -> None:
    with pytest.raises(OSError, match="No space left on device: '/out/a'"), naming(Path("/out/a")):
        raise error(errno.ENOSPC)
    # but one that names a file already is about that one
    with pytest.raises(FileNotFoundError, match="'/b'"), naming(Path("/out/a")):
        raise error(errno.ENOENT, "/b")
