"""HOW one run goes: plan, submit, decide, combine."""
