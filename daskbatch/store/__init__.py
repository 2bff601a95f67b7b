"""WHAT is on disk."""
