"""Put the records of a folder into one compressed file, a line each, as the project keeps them.

python experiments/from_scratch/archive.py --records runs/from_scratch
"""

import gzip
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import tyro
from reaching import read

from tesp.errors import TespError
from tesp.storage.files import written_beside


@dataclass(frozen=True)
class Arguments:
    """Write the archive of a folder of records."""

    records: Path = Path("runs/from_scratch")
    """The folder that run.py wrote to."""
    output: Path = Path(__file__).parents[1] / "records" / "from_scratch" / "reported.jsonl.gz"
    """The archive, which is replaced if it exists."""


def main(arguments: Arguments) -> Path:
    """Write the archive; return it."""
    lines = [json.dumps(record, separators=(",", ":")) + "\n" for record in read(arguments.records)]
    with written_beside(arguments.output) as beside:
        # The time of writing is left out, so that equal records make equal files.
        beside.write_bytes(gzip.compress("".join(lines).encode(), mtime=0))
    return arguments.output


if __name__ == "__main__":
    try:
        print(main(tyro.cli(Arguments, description=__doc__)))
    except TespError as error:
        sys.exit(f"archive: {error}")
