"""Definitions of ``type: ssh``."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from daskbatch import ComputeTarget, UsageError, Workspace
from daskbatch.api.compute_definition import definition_of
from daskbatch.cli import cli
from daskbatch.cluster.over_ssh import over_ssh
from daskbatch.cluster.ssh_host import hosts_of, worker_command
from daskbatch.cluster.ssh_process import RemoteWorker, Unreachable, own_address
from daskbatch.options import make_spec
from daskbatch.options.compute import parse_compute
from daskbatch.options.restore import at_another_place, options_from, stored_options
from daskbatch.spec import RunSpec

HOSTS = """\
type: ssh
hosts: [node1, node2, "::1"]
connect_options: {username: me, port: 2222, client_keys: ~/.ssh/id_batch}
worker_options: {nthreads: 8, memory_limit: 16GB}
remote_python: /opt/my python/bin/python
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    (tmp_path / "hosts.yml").write_text(HOSTS)
    return tmp_path


def spec(folder: Path, **options: Any) -> RunSpec:
    script = folder / "score.py"
    script.write_text("def run(mini_batch): return mini_batch\n")
    return make_spec(script, [str(script)], output=folder / "out", **options)


def refused(**given: Any) -> str:
    with pytest.raises(UsageError) as error:
        parse_compute({"type": "ssh", "name": "t", "hosts": ["a", "b"], **given})
    return str(error.value)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def test_all_hosts_are_wanted_unless_fewer_are(folder: Path) -> None:
    made = spec(folder, compute=definition_of("hosts.yml"), min_nodes=3)
    assert (made.node_count, made.compute.default_node_count, made.min_nodes) == (None, 3, 3)
    assert (made.compute.is_ssh, made.compute.is_queue) == (True, False)
    assert spec(folder, compute=definition_of("hosts.yml"), node_count=2).node_count == 2
    with pytest.raises(UsageError, match=r"node_count must be at most 3, the hosts of compute='hosts', got 4"):
        spec(folder, compute=definition_of("hosts.yml"), node_count=4)
    with pytest.raises(UsageError, match=r"min_nodes must be at most node_count=3, the hosts there are, got 4"):
        spec(folder, compute=definition_of("hosts.yml"), min_nodes=4)


def test_what_is_stored_makes_the_same_again(folder: Path) -> None:
    compute = {"type": "ssh", "hosts": ["a"], "connect_options": {"known_hosts": None}}
    made = spec(folder, compute=compute)
    again = options_from(stored_options(made))
    assert again["compute"] == {**compute, "name": ""}
    assert parse_compute(again["compute"])[0] == made.compute


def test_hosts_may_be_taken_out_and_added_when_a_run_goes_on(folder: Path) -> None:
    stored = options_from(stored_options(spec(folder, compute={"type": "ssh", "hosts": ["a", "b"]})))
    for hosts in (["a"], ["a", "b", "c"]):
        given = {"compute": {"type": "ssh", "hosts": hosts}}
        names = {name: stored[name] for name in ("node_count", "compute")}
        again = at_another_place({**names, "scheduler": None}, given)
        made = spec(folder, **{**again, **given})
        assert (made.node_count, made.compute.default_node_count) == (None, len(hosts))


def test_how_hosts_are_reached(folder: Path) -> None:
    hosts = hosts_of(parse_compute(definition_of("hosts.yml"))[0])
    assert [(host.name, host.address) for host in hosts] == [
        ("node1:2222", "node1"),
        ("node2:2222", "node2"),
        ("[::1]:2222", "::1"),
    ]
    assert {host.connect["client_keys"] for host in hosts} == {"/home/me/.ssh/id_batch"}
    assert all(host.is_checked and host.connect["keepalive_interval"] for host in hosts)
    assert all(host.connect["connect_timeout"] >= host.connect["login_timeout"] for host in hosts)
    slow, _ = parse_compute({"type": "ssh", "hosts": ["a"], "connect_options": {"login_timeout": "2m"}})
    assert hosts_of(slow)[0].connect["connect_timeout"] == "2m"
    each = [{"known_hosts": None, "connect_timeout": 3}, {}]
    first, second = hosts_of(
        parse_compute({"type": "ssh", "hosts": ["a", "b"], "connect_options": each, "remote_python": ["x", "y"]})[0]
    )
    assert (first.name, first.is_checked, first.connect["connect_timeout"], first.python) == ("a", False, 3, "x")
    assert (second.name, second.is_checked, second.python) == ("b", True, "y")


def test_the_command_on_each_host(folder: Path) -> None:
    compute = parse_compute(definition_of("hosts.yml"))[0]
    command = worker_command(compute, hosts_of(compute)[0], "tls://me:1", "w-1", 4)
    assert command == (
        "exec '/opt/my python/bin/python' -P -m daskbatch.cluster.ssh_worker tls://me:1 w-1"
        """ '{"nthreads": 4, "memory_limit": "16GB"}'"""
    )
    bare = parse_compute({"type": "ssh", "hosts": ["a"]})[0]
    command = worker_command(bare, hosts_of(bare)[0], "tls://me:1", "w-1", None)
    assert command.startswith(f"exec {sys.executable} -P -m ")
    assert command.endswith(" w-1")


@pytest.mark.parametrize("address", ["gate:8786", "tls://gate.example.org:8786", "10.0.0.1:1", "tls://[fe80::1]:8786"])
def test_addresses_that_hosts_may_be_told(address: str) -> None:
    content = {"type": "ssh", "hosts": ["a"], "scheduler_options": {"contact_address": address}}
    assert parse_compute(content)[0].is_ssh


def test_the_home_folder_of_a_host(tmp_path: Path) -> None:
    compute = parse_compute({"type": "ssh", "hosts": ["a"], "remote_python": "~/my env/bin/python"})[0]
    command = worker_command(compute, hosts_of(compute)[0], "tls://me:1", "w-1", None)
    assert command.startswith("exec ~/'my env/bin/python' -P -m ")
    # Then a shell there finds it
    program = tmp_path / "my env" / "bin" / "python"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\necho found $1\n")
    program.chmod(0o700)
    done = subprocess.run(
        ["sh", "-c", command], env={"HOME": str(tmp_path)}, capture_output=True, text=True, check=True
    )
    assert done.stdout == "found -P\n"


@pytest.mark.parametrize("options", [{"interface": "no-such-0"}, {"host": "192.0.2.1"}])
def test_a_scheduler_that_cannot_listen_so(folder: Path, options: dict[str, str]) -> None:
    compute = parse_compute({"type": "ssh", "name": "t", "hosts": ["a"], "scheduler_options": options})[0]
    made, told = spec(folder, compute=compute.public), r"scheduler_options=.*of compute='t': .*Next: give a host"
    with pytest.raises(UsageError, match=told), over_ssh(made, compute, folder / "logs"):
        pass


def test_show(folder: Path) -> None:
    ComputeTarget.register(Workspace.create("w", folder), "mine", definition="hosts.yml")
    shown = CliRunner().invoke(cli, ["compute", "show", "mine"]).output
    assert "client_keys: ~/.ssh/id_batch" in shown
    assert shown.count("daskbatch.cluster.ssh_worker tls://SCHEDULER:PORT NAME") == 3
    told = CliRunner().invoke(cli, ["compute", "show", "mine", "--job-script", "--process-count-per-node", "2"]).output
    assert told.splitlines()[0].startswith("node1:2222: exec '/opt/my python/bin/python' -P")
    assert told.count('"nthreads": 2') == 3


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"hosts": None}, "must have hosts: a list of names or addresses, got None"),
        ({"hosts": []}, "must have hosts"),
        ({"hosts": "a"}, "must have hosts"),
        ({"hosts": ["me@a"]}, "got 'me@a'. Next: user and port go into connect_options"),
        ({"hosts": ["a:22"]}, "got 'a:22'"),
        ({"host": ["a"]}, "no key 'host'. Did you mean 'hosts'?"),
        ({"worker_class": "x"}, "no key 'worker_class'"),
        ({"connect_options": "me"}, "connect_options must be a mapping, or a list with one for each host"),
        ({"connect_options": [{}]}, "one entry for each of the 2 hosts, got 1"),
        ({"connect_options": {"user": "me"}}, "no 'user'. Did you mean 'username'?"),
        ({"connect_options": {"command": "x"}}, "no 'command'"),
        ({"remote_python": 3}, "remote_python must be a path"),
        ({"worker_options": {"n_workers": 2}}, "must not give n_workers: each host has one Dask worker"),
        ({"worker_options": {"nthreads": 0}}, "nthreads of worker_options must be a whole number"),
        ({"worker_options": {"memory": "1GB"}}, "no 'memory'. Did you mean 'memory_limit'?"),
        ({"scheduler_options": {"contact_address": 3}}, "must be an address with a port that the hosts reach"),
        ({"scheduler_options": {"contact_address": "gate"}}, "got 'gate'. Next: give that port as port too"),
        ({"scheduler_options": {"contact_address": "tcp://gate:8786"}}, "got 'tcp://gate:8786'"),
        ({"scheduler_options": {"contact_address": "::1:8786"}}, "such as gate.example.org:8786 or [::1]:8786"),
        ({"scheduler_options": {"dashboard_address": ":8787"}}, "Allowed: contact_address, host, interface, port"),
    ],
)
def test_what_is_refused(given: dict[str, Any], told: str) -> None:
    assert told in refused(**given)


@pytest.mark.parametrize(
    "options",
    [
        {"client_keys": ["-----BEGIN OPENSSH PRIVATE KEY----- se4cret"]},
        {"client_keys": {"of": ["---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ---- se4cret"]}},
        {"env": {"API_TOKEN": "se4cret"}},
        {"env": ["API_TOKEN=se4cret"]},
        {"proxy_command": "ncat --proxy-password se4cret gate 22"},
        {"proxy_command": ["sshpass", "-p", "se4cret", "ssh", "gate"]},
        {"proxy_command": "/usr/bin/sshpass -p se4cret ssh gate -W %h:%p"},
        "password=se4cret",
        ["password=se4cret", {}],
    ],
)
def test_no_secret_is_taken_or_shown(options: Any) -> None:
    told = refused(connect_options=options)
    assert "connect_options" in told
    assert "se4cret" not in told


def test_what_only_sounds_like_a_secret_is_taken() -> None:
    options = {
        "password_auth": False, "env": {"LANG": "C"}, "proxy_command": "ssh gate -W %h:%p",
        "client_keys": ["~/.ssh/id_token"], "known_hosts": "~/.ssh/sshpass/hosts",
    }  # fmt: skip
    assert parse_compute({"type": "ssh", "hosts": ["a"], "connect_options": options})[0].keywords["hosts"] == ["a"]


def test_a_password_is_not_kept_nor_shown() -> None:
    told = refused(connect_options={"password": "se4cret"})
    assert "must not give password itself" in told
    assert "ssh-add" in told
    assert "se4cret" not in told


def test_the_address_that_hosts_are_told_is_this_machines() -> None:
    assert own_address(("127.0.0.1", 1)) == "127.0.0.1"
    assert own_address(("::1", 1, 0, 0)) == "::1"
    assert own_address(("192.0.2.1", 1)) is None  # that of a jump host
    assert own_address(("fe80::1%lo", 1, 0, 1)) is None
    assert own_address(None) is None


@pytest.mark.parametrize("known", [{}, {"known_hosts": None}])
@pytest.mark.parametrize("when", ["Host a", "Match final originalhost a"])
def test_a_configuration_that_ends_the_check_of_host_keys(folder: Path, when: str, known: dict[str, Any]) -> None:
    (folder / "config").write_text(f"Host a\n  HostName 127.0.0.1\n{when}\n  UserKnownHostsFile none\n")
    options = {"config": str(folder / "config"), "port": free_port(), **known}
    for address in ("a", "127.0.0.1"):
        made, _ = parse_compute({"type": "ssh", "hosts": [address], "connect_options": options})
        worker = RemoteWorker(hosts_of(made)[0], "w-1", None)
        with pytest.raises(Unreachable) as error:
            asyncio.run(worker.connect())
        refused_for_that = "says UserKnownHostsFile none" in str(error.value)
        assert refused_for_that == (address == "a" and not known)


def test_without_asyncssh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "asyncssh", None)
    assert refused(type="ssh", hosts=["a"]).endswith("needs asyncssh. Next: pip install asyncssh")
