"""What the program on a host refuses before it makes a worker."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from distributed.security import Security

from daskbatch.cluster import ssh_worker


def refusal(line: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(line.encode())))
    with pytest.raises(SystemExit) as left:
        ssh_worker.main(["tls://127.0.0.1:1", "w-1"])
    return left.value.code


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"version": "0.0.1"}, "the client 0.0.1. Next: install the same version there"),
        ({"python": "2.7"}, "a function or class cannot travel"),
        ({"needed": ["/no/such/folder"]}, "does not see '/no/such/folder'. Next: use folders that all hosts see"),
    ],
)
def test_what_is_refused(
    changed: dict[str, Any], told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = json.loads(ssh_worker.message(Security.temporary(), [], same_python=True))
    assert refusal(json.dumps({**given, **changed}) + "\n", monkeypatch) == ssh_worker.REFUSED
    assert told in capsys.readouterr().err


def test_a_client_that_is_gone_before_it_says_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    assert refusal("", monkeypatch) == "the client is gone"


def test_the_message_is_one_line_with_the_credentials(tmp_path: Path) -> None:
    security = Security.temporary()
    line = ssh_worker.message(security, [str(tmp_path)], same_python=False)
    assert line.count("\n") == 1
    given = json.loads(line)
    assert given["credentials"]["tls_worker_key"] == security.tls_worker_key
    assert (given["needed"], given["python"]) == ([str(tmp_path)], None)
