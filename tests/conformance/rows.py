"""What users of ParallelRunStep hold, line by line: what works here, what is ignored, and the test that tries it.

The tables of ``README.md`` and ``docs/parallelrunstep.md`` are made of this; ``test_table.py`` holds them equal.
``python tests/conformance/rows.py`` writes both.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["LEGEND", "ROWS", "Row", "full", "sections", "short"]

ROOT = Path(__file__).parents[2]
BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"

LEGEND = (
    "**yes**: as in Azure, with data in folders and on S3 or Azure Blob Storage. **local**: on this machine or a Dask"
    " cluster that is there; batch queues: `docs/hpc.md`."
)
_STATES = ("yes", "local")


@dataclass(frozen=True, slots=True)
class Row:
    """A call, an option or a rule."""

    section: str
    call: str
    """In Markdown."""
    works: str
    """``"yes"`` or ``"local"``, see `LEGEND`."""
    note: str
    """What is ours, and what is ignored."""
    test: str
    """The function that tries it, in a file beside this one."""


def _rows(section: str, *rows: tuple[str, str, str, str]) -> tuple[Row, ...]:
    return tuple(Row(section, *row) for row in rows)


ROWS = (
    *_rows(
        "The tutorial's calls",
        (
            "`Workspace.from_config()`, `create`, `get`",
            "yes",
            "`config.json` or `.azureml/config.json`, here or above; a workspace is a folder. Identities are ignored",
            "test_workspace",
        ),
        (
            "`ComputeTarget.create`, `AmlCompute.provisioning_configuration`, `ws.compute_targets`, `get_status()`",
            "local",
            "VM sizes and node counts of a cluster are ignored; ours: `ComputeTarget.register(ws, name, scheduler)`",
            "test_compute_targets",
        ),
        (
            "`Datastore.register_azure_blob_container`, `path`, `upload`, `download`, `get_default_datastore()`",
            "yes",
            "`redirect` in `config.json` names local copies; ours: `Datastore.register(ws, name, url)`; no keys",
            "test_datastores",
        ),
        (
            "`Dataset.File.from_files`, `.Tabular.from_delimited_files`, `.from_parquet_files`, `register`",
            "yes",
            "references, with versions: `Dataset.get_by_name`; data is not copied",
            "test_datasets",
        ),
        (
            "`as_named_input`, `as_mount`, `as_download`",
            "yes",
            "a path that can be read: the data itself, of a store each node's copy; `path_on_compute` is ignored",
            "test_named_inputs_mounts_and_downloads",
        ),
        (
            "`PipelineParameter`, `DatasetConsumptionConfig`",
            "yes",
            "values and datasets; a wrong name is an error at submission",
            "test_pipeline_parameters_and_consumption",
        ),
        (
            "`PipelineData`, `OutputFileDatasetConfig`",
            "yes",
            "also as a later step's input; `output_overwrite` and the like are ignored",
            "test_outputs_hand_on_what_a_step_wrote",
        ),
        (
            "`Model.register`, `Model.get_model_path`, `Model.list`",
            "yes",
            "a file or a folder, in versions; found on every worker that sees the workspace's folder",
            "test_models",
        ),
        (
            "`Environment`, `CondaDependencies.create`, `env.docker`",
            "yes",
            'this Python runs the script, or one built for `"build_environments": true`; Docker images are ignored',
            "test_environments",
        ),
        ("`ParallelRunConfig`, `ParallelRunStep`", "yes", "see below", "test_config_and_step"),
        (
            "`Pipeline`, `Experiment.submit(pipeline, pipeline_parameters=)`",
            "yes",
            "returns at once; the work outlives the notebook; two steps at a time",
            "test_pipeline_and_experiment",
        ),
        (
            "`Pipeline.submit(experiment_name, pipeline_parameters=)`",
            "yes",
            "the same by the experiment's name",
            "test_a_pipeline_submits_itself",
        ),
        (
            "`RunDetails(run).show()`, `wait_for_completion(show_output=True)`, `get_status()`",
            "yes",
            "a widget in notebooks, text in terminals",
            "test_following_a_run",
        ),
        (
            "`find_step_run(name)[0].get_output_data(name)`, `download`, `path_on_datastore`",
            "yes",
            "the result is `<path_on_datastore>/<append_row_file_name>`",
            "test_fetching_the_result",
        ),
        ("Resubmission with another dataset, size, number of processes", "yes", "", "test_resubmission"),
        (
            "The same code with `azureml` imports",
            "yes",
            "`python -m daskbatch.azureml script.py`; names without a stand-in are errors that list those there are",
            "test_only_the_imports_differ",
        ),
    ),
    *_rows(
        "ParallelRunConfig",
        (
            "`environment`, `entry_script`, `error_threshold`, `output_action`, `compute_target`, `node_count`",
            "yes",
            "required; on one machine `node_count` above 1 is that machine",
            "test_required_options",
        ),
        (
            "`mini_batch_size`",
            "yes",
            '10 files or `1MB`; `"5000rows"` is ours; never across files of a table',
            "test_mini_batch_size",
        ),
        (
            "`partition_keys`",
            "yes",
            "names in `partition_format`, or what `partition_by` wrote; an error beside `mini_batch_size`",
            "test_partition_keys",
        ),
        ("`error_threshold`", "yes", "items; -1: any number; stops when the count is greater", "test_error_threshold"),
        (
            "`allowed_failed_count`, `allowed_failed_percent`",
            "yes",
            "the same for mini-batches; any one stops the run",
            "test_allowed_failed_mini_batches",
        ),
        ("`output_action`", "yes", "`append_row`, `summary_only`", "test_output_action"),
        (
            "`append_row_file_name`",
            "yes",
            "`parallel_run_step.txt`; the suffix chooses the format",
            "test_append_row_file_name",
        ),
        ("`process_count_per_node`", "yes", "1", "test_process_count_per_node"),
        ("`run_invocation_timeout`", "yes", "60 s, counted from `run()`'s begin", "test_run_invocation_timeout"),
        ("`run_max_try`", "yes", "3, the first try included", "test_run_max_try"),
        ("`logging_level`", "yes", "of `EntryScript().logger`", "test_logging_level"),
        (
            "`source_directory`, `description`, `environment_variables`",
            "yes",
            "a copy of the folder runs, by `.amlignore` or `.gitignore`; values of variables are stored nowhere",
            "test_source_directory_description_environment_variables",
        ),
        ("`load_yaml`, `save_to_yaml`", "yes", "Azure's keys", "test_load_yaml_and_save_to_yaml"),
        (
            "PipelineParameters in six of them",
            "yes",
            "size, nodes, processes, logging level, timeout, tries",
            "test_pipeline_parameters_in_the_config",
        ),
    ),
    *_rows(
        "ParallelRunStep",
        ("`name`", "yes", "3 to 32 of `a-z`, `0-9`, `-`; unique", "test_name"),
        ("`inputs`", "yes", "several of one type; each is cut by itself; `context.dataset` tells which", "test_inputs"),
        ("`output`", "yes", "", "test_output"),
        ("`side_inputs`", "yes", "whole, readable on every node", "test_side_inputs"),
        ("`arguments`", "yes", "datasets and outputs become paths", "test_arguments"),
        (
            "`allow_reuse`",
            "yes",
            "same settings, script, packages, inputs, models and files that arguments name; its output untouched",
            "test_allow_reuse",
        ),
    ),
    *_rows(
        "Entry script",
        ("`init()`, `run()`, `shutdown()`", "yes", "once a process", "test_init_run_and_shutdown"),
        ("`run(mini_batch)`, `run(mini_batch, context)`", "yes", "", "test_run_with_and_without_context"),
        (
            "Files: a list of paths; tables: a DataFrame with a RangeIndex",
            "yes",
            "",
            "test_what_run_is_given",
        ),
        (
            "Returns: DataFrame, list, tuple, array, Series, generator",
            "yes",
            "dicts become columns",
            "test_what_run_may_return",
        ),
        ("Counting: failed = given - returned", "yes", "more than given is no error", "test_counting"),
        ("None is an error", "yes", "that says so", "test_none_is_told"),
        (
            "`context.minibatch_index`, `.partition_key_value`, `.dataset`, `.retry_count`, the row where it begins",
            "yes",
            "`global_row_index_lower_bound` with sizes in rows, else None",
            "test_context",
        ),
        (
            "`EntryScript()`: `logger`, `log_dir`, `output_dir`, `working_dir`, `agent_name`",
            "yes",
            "",
            "test_entry_script_object",
        ),
        (
            "`sys.argv` before the import",
            "yes",
            "and nothing of ours in it",
            "test_arguments_and_module_level_argparse",
        ),
        ("`__file__`, modules beside the script", "yes", "", "test_siblings_are_found"),
        ("`AZUREML_BI_OUTPUT_PATH`, `environment_variables`", "yes", "", "test_environment_of_the_script"),
        (
            "`CUDA_VISIBLE_DEVICES`, `AZUREML_MODEL_DIR`",
            "yes",
            "a GPU for each process; the folder of the one model, or of all models where there are several",
            "test_gpus_and_the_model_folder",
        ),
    ),
    *_rows(
        "append_row",
        ("List: `str(item)` a line", "yes", "", "test_a_list_is_a_line_each"),
        ("DataFrame: separated by spaces, no header", "yes", "in `.txt`", "test_a_dataframe_in_text"),
        ("`.csv` with a header, `.jsonl`, `.parquet`", "yes", "ours", "test_the_suffix_chooses"),
        ("No item at all fails the run", "yes", "", "test_no_item_at_all"),
    ),
    *_rows(
        "Retry, timeout, abort",
        ("`run_max_try` tries, then failed", "yes", "exact", "test_tries_in_total"),
        (
            "Every failed item with its reason",
            "yes",
            "`failed_items.jsonl`",
            "test_every_failed_item_is_listed_with_why",
        ),
        ("A timeout kills", "yes", "the whole process tree, in time", "test_a_timeout_ends_all_processes"),
        ("`init()` that fails stops the run", "yes", "soon, with the traceback", "test_init_that_fails_stops_the_run"),
    ),
    *_rows(
        "Logs",
        ("`job_progress_overview.<timestamp>.txt`", "yes", "", "test_log_of_progress"),
        ("`job_result.txt`, `job_error.txt`", "yes", "", "test_logs_of_the_end"),
        (
            "`user/entry_script_log`, `user/stdout`, `user/stderr`, `user/error`",
            "yes",
            "`<node>/<process>.log.txt`, and so on",
            "test_logs_of_the_script",
        ),
        (
            "`sys/job_report`, `sys/node`, `perf`",
            "yes",
            "`processed_mini-batches.csv`, `node_summary.csv`; failed ones are in `failed_items.jsonl`",
            "test_logs_of_the_system",
        ),
    ),
    *_rows(
        "Job YAML of version 2",
        (
            "`inputs`, `outputs`, `compute`, `input_data`",
            "local",
            "an unknown `compute` is this machine, and that is said",
            "test_inputs_outputs_compute_and_input_data",
        ),
        ("`mini_batch_size`", "yes", "", "test_job_mini_batch_size"),
        ("`partition_keys`", "yes", "with an `MLTable` that tells the paths' format", "test_job_partition_keys"),
        ("`mini_batch_error_threshold`, `error_threshold`", "yes", "-1", "test_job_thresholds"),
        ("`resources.instance_count`, `max_concurrency_per_instance`", "yes", "", "test_job_resources"),
        ("`retry_settings`", "yes", "`max_retries: 2` is three tries; `timeout: 60`", "test_job_retry_settings"),
        ("`environment_variables`, `logging_level`", "yes", "", "test_job_variables_and_logging_level"),
        ("`task`", "yes", "Azure's own environments and `model` are ignored", "test_job_task"),
        ("No `append_row_to`", "yes", "results are only counted", "test_job_without_append_row_to"),
        (
            "In a `type: pipeline`",
            "yes",
            "`daskbatch submit`; jobs of other types are errors",
            "test_a_job_in_a_pipeline",
        ),
    ),
    *_rows(
        "Asked for in vain",
        ("A local run to debug on", "yes", "`daskbatch try`: pdb works", "test_debugging_on_this_machine"),
        ("Errors that say what happened", "yes", "", "test_errors_say_what_happened"),
        ("Logs that are there", "yes", "", "test_the_logs_are_there"),
        ("Headers and Parquet", "yes", "", "test_headers_and_parquet"),
        ("Rows per mini-batch", "yes", '`"5000rows"`', "test_rows_of_a_mini_batch"),
        ("Splitting one big Parquet file", "yes", "at its row groups", "test_one_big_parquet_file_is_split"),
        ("No duplicates", "yes", "", "test_no_duplicates"),
        ("Resume after preemption", "yes", "the same command again", "test_resume_after_preemption"),
        (
            "A DataFrame as input",
            "yes",
            "Dask; of pandas `Dataset.Tabular.from_pandas_dataframe(frame)`",
            "test_a_dataframe_as_input",
        ),
        ("Progress that keeps moving", "yes", "", "test_progress_that_moves"),
        ("Timeouts that mean it", "yes", "", "test_timeouts_that_mean_it"),
    ),
)


def sections() -> list[str]:
    """Names of the tables, in order."""
    return list(dict.fromkeys(row.section for row in ROWS))


def short() -> str:
    """The README's table: all rows under each other."""
    lines = ["| call or setting | works | notes |", "| --- | --- | --- |"]
    for section in sections():
        lines.append(f"| **{section}** | | |")
        lines += [f"| {row.call} | {row.works} | {row.note} |" for row in ROWS if row.section == section]
    return "\n".join(line.replace("|  |", "| |") for line in lines)


def full() -> str:
    """The tables of the documentation, which name the tests too."""
    lines = []
    for section in sections():
        lines += [f"## {section}", "", "| call or setting | works | notes | test |", "| --- | --- | --- | --- |"]
        for row in ROWS:
            if row.section == section:
                lines.append(f"| {row.call} | {row.works} | {row.note} | `{row.test}` |".replace("|  |", "| |"))
        lines.append("")
    return "\n".join(lines).rstrip("\n")


def pages() -> Iterator[tuple[Path, str]]:
    """Each page with what stands between its marks."""
    yield ROOT / "README.md", short()
    yield ROOT / "docs" / "parallelrunstep.md", full()


def write() -> None:
    """Write the tables into the pages."""
    for path, table in pages():
        before, _, rest = path.read_text().partition(BEGIN)
        _, _, after = rest.partition(END)
        path.write_text(f"{before}{BEGIN}\n\n{LEGEND}\n\n{table}\n\n{END}{after}")


if __name__ == "__main__":
    write()
