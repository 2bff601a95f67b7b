"""A scheduler without TLS is one that anybody may command: refused on other machines, used over TLS."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dask
import pytest
from distributed import LocalCluster
from distributed.security import Security

import daskbatch
from daskbatch.__main__ import main
from daskbatch.cluster.credentials import write_credentials
from daskbatch.events import Notice

ADDRESSES = ("tcp://192.0.2.1:8786", "192.0.2.1:8786", "ws://192.0.2.1:8786", "tcp://[2001:db8::1]:8786")
ADDRESSES += (f"tcp://{socket.gethostname()}:8786", "tcp://127.0.0.1.example.org:1", "tcp://localhost@example.org:1")


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize("how", ["address", "file", "definition"])
def test_one_on_another_machine_is_refused(address: str, how: str, files: Callable[[int], str], tmp_path: Path) -> None:
    scheduler = address
    if how == "file":
        scheduler = str(tmp_path / "scheduler.json")
        Path(scheduler).write_text(json.dumps({"address": address}))
    where: dict[str, Any] = {"scheduler": scheduler}
    if how == "definition":
        where = {"compute": {"type": "dask", "scheduler": scheduler}}
    with pytest.raises(daskbatch.UsageError, match=r"no TLS.*tls_ca_file.*--insecure"):
        daskbatch.run(lambda paths: paths, files(1), output=tmp_path / "out", progress=False, **where)
    assert not (tmp_path / "out").exists()


def test_the_command_exits_with_2(
    script: Callable[..., str], files: Callable[[int], str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = script("def run(mini_batch):\n    return mini_batch\n")
    with pytest.raises(SystemExit) as caught:
        main(["run", entry, files(1), "--output", str(tmp_path / "out"), "--scheduler", "tcp://192.0.2.1:1"])
    assert caught.value.code == 2
    assert "--insecure" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_scheduler_file_without_an_address_is_refused(files: Callable[[int], str], tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text("[]")
    with pytest.raises(daskbatch.UsageError, match="no address in it"):
        daskbatch.run(lambda paths: paths, files(1), output=tmp_path / "out", scheduler=tmp_path / "s.json")


@pytest.fixture(scope="module")
def own() -> Iterator[LocalCluster]:
    with LocalCluster(
        1, threads_per_worker=1, processes=False, protocol="tcp", host="127.0.0.1", dashboard_address="127.0.0.1:0"
    ) as cluster:
        yield cluster


@pytest.mark.parametrize("insecure", [False, True])
def test_one_on_loopback_is_used_with_a_warning(
    own: LocalCluster, insecure: bool, files: Callable[[int], str], tmp_path: Path
) -> None:
    told: list[Any] = []
    daskbatch.run(
        lambda paths: paths, files(1), output=tmp_path / "out", scheduler=own.scheduler_address, insecure=insecure,
        listeners=[told.append],
    )  # fmt: skip
    assert any("no TLS" in event.message for event in told if isinstance(event, Notice)) is not insecure


def test_insecure_lets_it_be_tried(
    files: Callable[[int], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daskbatch.cluster.existing._CONNECT_TIMEOUT", 0.3)
    with pytest.raises(daskbatch.UsageError, match="no Dask scheduler answers"):
        daskbatch.run(
            lambda paths: paths, files(1), output=tmp_path / "out", scheduler="tcp://192.0.2.1:1", insecure=True
        )


@pytest.mark.parametrize("how", ["options", "configuration", "definition", "neither"])
def test_tls(how: str, files: Callable[[int], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daskbatch.cluster.existing._CONNECT_TIMEOUT", 5.0)
    security = Security.temporary()
    paths = write_credentials(security, str(tmp_path))
    given = {
        "tls_ca_file": paths["tls_ca_file"],
        "tls_cert": paths["tls_client_cert"],
        "tls_key": paths["tls_client_key"],
    }
    # Given a cluster over TLS
    with LocalCluster(
        1, threads_per_worker=1, processes=False, protocol="tls", host="127.0.0.1", security=security,
        dashboard_address="127.0.0.1:0",
    ) as cluster:  # fmt: skip
        options: dict[str, Any] = {"scheduler": cluster.scheduler_address}
        config: dict[str, Any] = {}
        if how == "options":
            options |= given
        elif how == "definition":
            options = {"compute": {"type": "dask", **options, **given}}
        elif how == "configuration":
            config = {
                "distributed.comm.tls.ca-file": given["tls_ca_file"],
                "distributed.comm.tls.client.cert": given["tls_cert"],
                "distributed.comm.tls.client.key": given["tls_key"],
            }
        # When a run is to use it
        with dask.config.set(config):
            if how == "neither":
                with pytest.raises(daskbatch.UsageError, match="no Dask scheduler answers"):
                    daskbatch.run(lambda paths: paths, files(1), output=tmp_path / "out", progress=False, **options)
                return
            run = daskbatch.run(lambda paths: paths, files(1), output=tmp_path / "out", progress=False, **options)
    # Then it does
    assert run.output_file is not None


def test_tls_files_go_together_and_with_tls(files: Callable[[int], str], tmp_path: Path) -> None:
    inputs = files(1)

    def run(**options: Any) -> None:
        daskbatch.run(lambda paths: paths, inputs, output=tmp_path / "out", progress=False, **options)

    with pytest.raises(daskbatch.UsageError, match=r"go together.*give tls_cert, tls_key too"):
        run(scheduler="tls://h:1", tls_ca_file=__file__)
    with pytest.raises(daskbatch.UsageError, match="no such file"):
        run(scheduler="tls://h:1", tls_ca_file=__file__, tls_cert=__file__, tls_key="nowhere")
    with pytest.raises(daskbatch.UsageError, match="tls://HOST:PORT"):
        run(scheduler="tcp://127.0.0.1:1", tls_ca_file=__file__, tls_cert=__file__, tls_key=__file__)
