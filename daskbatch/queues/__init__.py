"""Batch queues: how a job is written, and what is said of it."""
