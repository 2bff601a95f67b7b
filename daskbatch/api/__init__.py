"""WHAT the user declares."""
