"""``python -m daskbatch``."""

from __future__ import annotations

from daskbatch.cli import main

if __name__ == "__main__":
    main()
