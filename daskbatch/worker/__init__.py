"""WHERE user code runs."""
