"""No upload of a result is left pending, however its beginning ends, on moto and on Ceph."""

from __future__ import annotations

import errno
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from fault_proxy import Fault, FaultProxy
from lives import wait_for
from s3_server import BOTH, Bucket

from daskbatch.remote import compose
from daskbatch.remote.compose import begin
from daskbatch.remote.options import checked

pytest_plugins = ["s3_services"]

both = pytest.mark.parametrize("s3", BOTH, indirect=True)


def failing(error: BaseException) -> Callable[[str], None]:
    def record(_: str) -> None:
        raise error

    return record


@both
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), KeyboardInterrupt()], ids=["full", "ctrl-c"])
def test_one_that_cannot_be_noted_is_aborted(s3: Bucket, error: BaseException) -> None:
    with pytest.raises(type(error)):
        begin(f"{s3.url}/whole", checked(s3.options), failing(error))
    assert s3.pending() == []


def test_what_went_wrong_first_is_told(s3: Bucket, proxied: FaultProxy) -> None:
    # Given credentials that end when the upload is noted, so that it cannot be aborted either
    proxied.faults = [Fault("expired", "DELETE", "uploadId", times=100)]
    with pytest.raises(OSError, match="full"):
        begin(f"{s3.url}/whole", checked({"endpoint_url": proxied.endpoint}), failing(OSError(errno.ENOSPC, "full")))
    assert proxied.count("DELETE", "uploadId")


@both
def test_ctrl_c_while_the_store_is_asked_leaves_nothing(s3: Bucket, proxied: FaultProxy) -> None:
    main = threading.main_thread().ident
    assert main is not None
    options = checked({"endpoint_url": proxied.endpoint})
    compose.pending(s3.url, options)  # the client is there already
    proxied.latency = 0.5

    def interrupt() -> None:
        wait_for(lambda: proxied.count("POST", "uploads"), "the request")
        signal.pthread_kill(main, signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever other tests have left there
    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            begin(f"{s3.url}/whole", options)
    finally:
        thread.join()
        signal.signal(signal.SIGINT, before)
    time.sleep(2 * proxied.latency)  # a request that nobody waited for gets to the store in that time
    assert s3.pending() == []


def test_ctrl_c_right_after_the_answer_leaves_nothing(s3: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = compose.run, []

    def run(file_system: Any, work: Any) -> Any:
        answer = real(file_system, work)
        calls.append(work)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return answer

    monkeypatch.setattr(compose, "run", run)
    with pytest.raises(KeyboardInterrupt):
        begin(f"{s3.url}/whole", checked(s3.options))
    assert s3.pending() == []
