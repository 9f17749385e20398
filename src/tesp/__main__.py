"""``python -m tesp`` is the command ``tesp``."""

import sys

from tesp.cli import main

sys.exit(main())
