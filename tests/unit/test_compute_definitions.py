from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from daskbatch import (
    ComputeTarget,
    Dataset,
    Environment,
    ParallelRunConfig,
    ParallelRunStep,
    Pipeline,
    UsageError,
    Workspace,
)
from daskbatch.api.compute_definition import definition_of
from daskbatch.api.execution import step_call
from daskbatch.cli import cli
from daskbatch.options import make_spec
from daskbatch.options.compute import DEFINED, parse_compute
from daskbatch.spec import Compute, RunSpec

SLURM = """\
type: slurm
queue: gpu
cores: 4
memory: 8GB
walltime: "01:30:00"
node_count: 8
process_count_per_node: 2
job_extra_directives: [--gres=gpu:1]
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder; it has no workspace."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "slurm.yml").write_text(SLURM)
    return tmp_path


@pytest.fixture
def ws(folder: Path) -> Workspace:
    return Workspace.create("w", folder)


def invoke(*args: str) -> Result:
    return CliRunner().invoke(cli, args)


def spec(tmp_path: Path, **options: Any) -> RunSpec:
    script = tmp_path / "score.py"
    script.write_text("def run(mini_batch): return mini_batch\n")
    return make_spec(script, [str(script)], output=tmp_path / "out", **options)


def refused(**given: Any) -> str:
    with pytest.raises(UsageError) as error:
        parse_compute({"type": "slurm", "name": "t", **given})
    return str(error.value)


def test_a_definition_is_a_job_and_options_of_the_run(folder: Path) -> None:
    compute, options = parse_compute(definition_of("slurm.yml"))
    assert (compute.type, compute.name, compute.is_queue) == ("slurm", "slurm", True)
    assert compute.keywords == {
        "queue": "gpu",
        "cores": 4,
        "memory": "8GB",
        "walltime": "01:30:00",
        "job_extra_directives": ["--gres=gpu:1"],
    }
    assert options == {"node_count": 8, "process_count_per_node": 2}


def test_json_is_taken_too(folder: Path) -> None:
    Path("pbs.json").write_text(json.dumps({"type": "pbs", "name": "mine", "cores": 1, "memory": "1GB"}))
    assert parse_compute(definition_of("pbs.json"))[0] == Compute("pbs", "mine", {"cores": 1, "memory": "1GB"})


def test_what_the_run_is_given_wins(folder: Path) -> None:
    made = spec(folder, compute=definition_of("slurm.yml"), node_count=2, min_nodes=2)
    assert (made.node_count, made.process_count_per_node, made.min_nodes) == (2, 2, 2)
    assert (made.job_replacements, made.min_nodes_timeout, made.scheduler) == (100, None, None)
    every = {"min_nodes": 2, "min_nodes_timeout": 60, "job_replacements": 0, "dashboard": True}
    assert set(every) | {"node_count", "process_count_per_node"} == set(DEFINED)
    made = spec(folder, compute={"type": "slurm", "node-count": 3, **every})
    assert (made.node_count, made.min_nodes, made.min_nodes_timeout) == (3, 2, 60.0)
    assert (made.job_replacements, made.dashboard) == (0, True)


def test_a_floor_that_is_never_reached_is_refused(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"min_nodes must be at most node_count=1.*got 2.*greater node_count"):
        spec(folder, compute={"type": "slurm"}, min_nodes=2)
    with pytest.raises(UsageError, match="at most node_count=3"):
        spec(folder, compute={"type": "slurm", "min_nodes": 4}, node_count=3)


@pytest.mark.parametrize("given", ["local", "serial", {"type": "dask", "scheduler": "tls://host:8786"}])
def test_a_floor_where_nothing_is_waited_for_is_refused(folder: Path, given: Any) -> None:
    with pytest.raises(
        UsageError, match=r"min_nodes must be 1 where neither a batch queue nor hosts.*got 2.*Next: leave it out"
    ):
        spec(folder, compute=given, node_count=2, min_nodes=2)
    assert spec(folder, compute=given, min_nodes=1).min_nodes == 1


def test_a_dask_cluster_is_a_scheduler(folder: Path) -> None:
    made = spec(folder, compute={"type": "dask", "scheduler": "tls://host:8786"})
    assert (made.scheduler, made.compute.is_queue) == ("tls://host:8786", False)
    with pytest.raises(UsageError, match="must have scheduler"):
        parse_compute({"type": "dask"})
    with pytest.raises(UsageError, match="uses no scheduler that is there already"):
        parse_compute({"type": "slurm"}, "tls://host:8786")


def test_a_name_is_looked_up_in_the_workspace_of_the_folder(ws: Workspace) -> None:
    ComputeTarget.register(ws, "gpus", definition="slurm.yml")
    found = definition_of("gpus")
    assert isinstance(found, dict)
    assert (found["type"], found["name"], found["node_count"]) == ("slurm", "gpus", 8)
    with pytest.raises(UsageError, match=r"no compute target 'gpu' .*Did you mean 'gpus'\? There are: gpus, local"):
        definition_of("gpu")


def test_a_name_where_there_is_no_workspace(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"got 'gpus', and there is no workspace here. Next: 'daskbatch init'"):
        definition_of("gpus")
    with pytest.raises(UsageError, match=r"cannot be read: No such file"):
        definition_of("other.yml")


def test_a_type_or_key_that_is_not_there() -> None:
    with pytest.raises(UsageError, match=r"type of compute 't' must be .*slurm.*got 'slrum'"):
        parse_compute({"type": "slrum", "name": "t"})
    with pytest.raises(UsageError, match="type of compute must be"):
        parse_compute({"cores": 1})
    text = refused(wall_time="1:00:00")
    assert "compute 't' of type slurm has no key 'wall_time'. Did you mean 'walltime'?" in text
    for name in ("account", "cores", "interface", "job_script_prologue", "job_cpu", "min_nodes", "memory"):
        assert name in text
    assert "ncpus" not in text


@pytest.mark.parametrize("name", ["processes", "nanny", "security", "protocol", "worker_command"])
def test_what_is_not_the_users_to_say(name: str) -> None:
    assert f"must not give {name}: each job is one Dask worker" in refused(**{name: 1})


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"cores": 0}, "cores must be a whole number from 1, got 0"),
        ({"cores": "4"}, "cores must be a whole number from 1, got '4'"),
        ({"cores": True}, "got True"),
        ({"memory": "lots"}, "memory must be a size such as 8GB, got 'lots'"),
        ({"walltime": 5400}, "walltime must be a text such as '01:30:00', got 5400. YAML reads 1:30:00"),
        ({"walltime": "soon"}, "got 'soon'"),
        ({"walltime": "1:00:00:00"}, "got '1:00:00:00'"),
        ({"type": "lsf", "walltime": "1:30:00"}, "got '1:30:00'"),
        ({"type": "oar", "walltime": 2}, "got 2"),
        ({"job_extra_directives": "--gres=gpu:1"}, "job_extra_directives must be a list of texts"),
        ({"job_extra_directives": {"a": "b"}}, "job_extra_directives must be a list of texts"),
        ({"env_extra": "module load x"}, "env_extra must be a list of texts"),
        ({"type": "htcondor", "job_extra_directives": ["a = b"]}, "must be a mapping"),
        ({"coordinator": "small"}, "coordinator must be a mapping"),
        ({"coordinator": {"wall_time": "1"}}, "coordinator of compute 't' of type slurm has no key 'wall_time'. Did"),
        ({"coordinator": {"cores": 0}}, "coordinator of compute 't': cores must be"),
        ({"coordinator": {"queue": ["a"]}}, "coordinator of compute 't': queue must be one text or number, got ['a']"),
        ({"queue": {"a": 1}}, "queue must be one text or number, got {'a': 1}"),
        ({"queue": True}, "queue must be one text or number, got True"),
        ({"interface": ["ib0"]}, "interface must be one text or number, got ['ib0']"),
        ({"scheduler_options": "a"}, "scheduler_options must be a mapping"),
        ({"type": "lsf", "use_stdin": "yes"}, "use_stdin must be true or false, got 'yes'"),
        ({"type": "htcondor", "cancel_command_extra": "-pool a"}, "cancel_command_extra must be a list of texts"),
        ({"worker_extra_args": ["--lifetime 1h", "--nworkers=2"]}, "worker_extra_args must not give --nworkers: each"),
        ({"worker_extra_args": ["--nanny"]}, "must not give --nanny"),
        ({"extra": ["--protocol", "tcp"]}, "extra must not give --protocol"),
        ({"node_count": "many"}, "compute 't': node_count must be a whole number from 1 to 2147483647, got 'many'"),
        ({"process_count_per_node": 0}, "process_count_per_node must be a whole number from 1"),
        ({"min_nodes": 0}, "min_nodes must be a whole number from 1"),
        ({"min_nodes_timeout": "soon"}, "min_nodes_timeout must be"),
        ({"job_replacements": -1}, "job_replacements must be a whole number from 0"),
        ({"dashboard": "maybe"}, "dashboard must be true or false, got 'maybe'"),
    ],
)
def test_wrong_values(given: dict[str, Any], expected: str) -> None:
    assert expected in refused(**given)


@pytest.mark.parametrize(
    "given",
    [
        {"walltime": "UNLIMITED"},
        {"walltime": "0"},
        {"walltime": "1-12"},
        {"type": "pbs", "walltime": 5400},
        {"type": "htcondor", "job_extra_directives": {"+Project": "x"}},
        {"coordinator": {"queue": "small", "walltime": "1-00", "job_script_prologue": ["module load x"]}},
        {"memory": "1.5 GiB"},
        {"job_script_prologue": None},
        {"node_count": None, "min_nodes": None, "job_replacements": 0, "min_nodes_timeout": "60", "dashboard": False},
        {"worker_extra_args": ["--lifetime", "55m", "--resources=gpu=1"]},
        {"type": "lsf", "use_stdin": True},
        {"type": "htcondor", "cancel_command_extra": ["-pool", "a"]},
    ],
)
def test_right_values(given: dict[str, Any]) -> None:
    parse_compute({"type": "slurm", **given})


@pytest.mark.parametrize(
    "line",
    [
        "export HF_TOKEN=abcd1234",
        'export DB_PASSWORD="abcd1234"',
        "export AWS_SECRET_ACCESS_KEY='abcd1234'",
        "export A=1 API_KEY=abcd1234",
        "login --password=abcd1234",
        "login --token abcd1234",
        "--export=ALL,HF_TOKEN=abcd1234",
        "git clone https://me:abcd1234@host/code",
        "curl -H 'Authorization: Bearer abcd1234' https://host",
    ],
)
def test_secrets_are_refused_and_not_shown(line: str) -> None:
    for given in (
        {"job_script_prologue": ["module load x", line]},
        {"coordinator": {"job_script_prologue": [line]}},
        {"python": line},
    ):
        text = refused(**given)
        assert "seems to hold a password, key or token" in text
        assert "abcd1234" not in text
    named = {"type": "htcondor", "job_extra_directives": {"environment": line}}
    assert "abcd1234" not in refused(**named)
    assert "seems to hold" in refused(type="htcondor", job_extra_directives={"+ApiKey": "abcd1234"})


@pytest.mark.parametrize(
    "line",
    [
        "export TOKENIZERS_PARALLELISM=false",
        "export AWS_SHARED_CREDENTIALS_FILE=/home/u/.aws/credentials",
        'export HF_TOKEN="$(cat ~/.token)"',
        "export HF_TOKEN=`cat ~/.token`",
        "export HF_TOKEN=$HF_TOKEN",
        "source ~/secrets.sh",
        "login --token-file ~/.token --password $(cat ~/.password)",
        'curl -H "Authorization: Bearer $(cat ~/.token)" https://host:443/a@b',
        "git clone https://me:$PASSWORD@host/code",
        "export http_proxy=http://proxy:3128",
    ],
)
def test_what_is_no_secret(line: str) -> None:
    parse_compute({"type": "slurm", "job_script_prologue": [line]})


def test_a_queue_in_a_workspace(ws: Workspace) -> None:
    made = ComputeTarget.register(ws, "gpus", definition={"type": "slurm", "cores": 1, "memory": "1GB"})
    assert made.type == "slurm"
    assert made.options() == {"compute": {"type": "slurm", "cores": 1, "memory": "1GB", "name": "gpus"}}
    assert made.path.is_file()
    assert ws.compute_targets["gpus"].options() == made.options()
    assert definition_of(made) == made.options()["compute"]
    with pytest.raises(UsageError, match=r"either scheduler=.*or definition="):
        ComputeTarget.register(ws, "other")
    with pytest.raises(UsageError, match=r"compute 'other' of type slurm has no key 'core'"):
        ComputeTarget.register(ws, "other", definition={"type": "slurm", "core": 1})
    assert list(ws.compute_targets) == ["gpus", "local"]
    dask = ComputeTarget.register(ws, "dask", definition={"type": "dask", "scheduler": "tls://host:1"})
    assert dask.options() == {"scheduler": "tls://host:1"}


def test_add_list_show_and_remove(ws: Workspace) -> None:
    added = invoke("compute", "add", "gpus", "slurm.yml")
    assert added.output == "Compute target 'gpus' of type slurm: daskbatch run ... --compute gpus\n"
    assert invoke("compute", "list").output == "gpus  slurm\nlocal  Local\n"
    shown = invoke("compute", "show", "gpus").output
    assert shown.splitlines()[0] == f"# {ws.folder / 'compute' / 'gpus.json'}"
    assert "type: slurm\n" in shown
    assert "walltime: 01:30:00\n" in shown or "walltime: '01:30:00'\n" in shown
    again = invoke("compute", "add", "gpus", "slurm.yml")
    assert again.exit_code == 2
    assert "taken" in again.output
    assert invoke("compute", "add", "gpus", "slurm.yml", "--overwrite").exit_code == 0
    assert invoke("compute", "remove", "gpus").exit_code == 0
    assert invoke("compute", "list").output == "local  Local\n"
    assert invoke("compute", "remove", "gpus").exit_code != 0


def test_what_would_be_submitted(folder: Path) -> None:
    text = invoke("compute", "show", "slurm.yml", "--job-script").output
    assert "#SBATCH -p gpu\n" in text
    assert "#SBATCH --gres=gpu:1\n" in text
    assert text.rstrip().endswith("--nthreads 2")
    text = invoke("compute", "show", "slurm.yml", "--job-script", "--process-count-per-node", "4").output
    assert text.rstrip().endswith("--nthreads 4")
    coordinator = invoke("compute", "show", "slurm.yml", "--job-script", "--coordinator").output
    assert "#SBATCH --requeue\n" in coordinator
    assert "gres" not in coordinator
    assert "resume OUTPUT" in coordinator


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--job-script", "--process-count-per-node", "0"], "process_count_per_node must be a whole number from 1"),
        (["--process-count-per-node", "2"], "--process-count-per-node is of the job"),
        (["--coordinator"], "--coordinator is of the job, not of the compute target. Next: add --job-script"),
    ],
)
def test_options_of_a_job_script(folder: Path, options: list[str], told: str) -> None:
    done = invoke("compute", "show", "slurm.yml", *options)
    assert done.exit_code == 2
    assert told in done.output


def test_a_wrong_definition_is_not_kept(ws: Workspace) -> None:
    Path("bad.yml").write_text("type: slurm\nnode_count: many\n")
    done = invoke("compute", "add", "bad", "bad.yml")
    assert done.exit_code == 2
    assert "compute 'bad': node_count must be" in done.output
    assert list(ws.compute_targets) == ["local"]


def test_what_has_no_jobs_has_no_script(folder: Path) -> None:
    assert invoke("compute", "show", "local").output == "# this machine\nlocal\n...\n"
    done = invoke("compute", "show", "local", "--job-script")
    assert done.exit_code == 2
    assert "has no jobs" in done.output


def test_a_coordinator_of_its_own(folder: Path) -> None:
    own = SLURM + "coordinator: {queue: small, walltime: 2-00, job_extra_directives: [--qos=low]}\n"
    Path("slurm.yml").write_text(own)
    worker = invoke("compute", "show", "slurm.yml", "--job-script").output
    assert "#SBATCH -p gpu\n" in worker
    assert "low" not in worker
    coordinator = invoke("compute", "show", "slurm.yml", "--job-script", "--coordinator").output
    for line in ("-p small", "-t 2-00", "--qos=low", "--requeue", "--cpus-per-task=1"):
        assert f"#SBATCH {line}\n" in coordinator


def test_a_wrong_target_ends_the_command_before_anything_begins(folder: Path) -> None:
    Path("score.py").write_text("def run(mini_batch): return mini_batch\n")
    Path("bad.yml").write_text("type: slurm\nwaltime: '1:00:00'\n")
    done = invoke("run", "score.py", "score.py", "--output", "out", "--compute", "bad.yml")
    assert done.exit_code == 2
    assert "Did you mean 'walltime'?" in done.output
    assert not Path("out").exists()


def test_a_step_runs_on_a_queue(ws: Workspace, folder: Path) -> None:
    Path("score.py").write_text("def run(mini_batch): return mini_batch\n")
    target = ComputeTarget.register(ws, "gpus", definition="slurm.yml")
    config = ParallelRunConfig(
        environment=Environment("e"),
        entry_script=str(folder / "score.py"),
        error_threshold=1,
        output_action="append_row",
        compute_target=target,
        node_count=3,
    )
    step = ParallelRunStep("score", config, inputs=[Dataset.File.from_files(str(folder / "score.py"))])
    document = Pipeline(ws, [step]).bind(None)["steps"][0]
    assert document["compute_target"] == "gpus"
    made = step_call(document, ws, None, {}, {}, ws.compute_targets["gpus"].options())
    options = {name: value for name, value in made.options.items() if name != "script_output"}
    parsed = make_spec(made.entry, [str(folder / "score.py")], output=folder / "out", **options)
    assert (parsed.compute.type, parsed.compute.name, parsed.compute.keywords["queue"]) == ("slurm", "gpus", "gpu")
    assert (parsed.node_count, parsed.process_count_per_node) == (3, 1)
