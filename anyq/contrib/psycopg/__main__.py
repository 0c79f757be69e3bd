"""The command line: ``python -m anyq.contrib.psycopg SCRIPT`` runs a program with anyq in psycopg's place.

Knows nothing but exit codes, and must not know more: `running` does it.
"""

from __future__ import annotations

import sys

from .running import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
