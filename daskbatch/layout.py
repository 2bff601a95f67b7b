"""Names in output folders and workspaces, which users and programs rely on."""

from __future__ import annotations

__all__ = ["FAILED_ITEMS", "LOGS", "RUN_SUMMARY", "STATE_FOLDER", "WORKSPACE_FOLDER", "WORKSPACE_VARIABLE"]

FAILED_ITEMS = "failed_items.jsonl"
"""A line for each mini-batch that failed or returned too little; there only if one did."""
LOGS = "logs"
RUN_SUMMARY = "run_summary.json"
"""There once the run has ended."""
STATE_FOLDER = ".daskbatch"
"""Private: what the run is, its plan, ledgers and segments."""
WORKSPACE_FOLDER = "workspace"
"""In a workspace's root: all that is registered, and the runs."""
WORKSPACE_VARIABLE = "DASKBATCH_WORKSPACE"
"""Environment variable that names a workspace's root to entry scripts."""
