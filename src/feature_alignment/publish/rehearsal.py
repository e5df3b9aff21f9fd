"""Publish the tables of a run at scale smoke, which `make quickstart` agrees with.

The tables, their provenance, the ledger and the costs are copied, and how far rounding moves the
tables is measured by runs that were made again with other vector instructions. There are no
pictures and no archived runs: they would be of stand-ins for data.
"""

import argparse
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from feature_alignment import command
from feature_alignment.audit.ledger import read_ledger
from feature_alignment.evidence import read_evidence
from feature_alignment.integrity import verify
from feature_alignment.publish.documents import copy, origin
from feature_alignment.publish.rounding import EVENT, LEAST, TIMES, WIDEST, Tolerances, write
from feature_alignment.publish.scales import REHEARSAL
from feature_alignment.storage import write_json, write_text
from feature_alignment.tables import meta_path

PAGE = """# Results at scale smoke

{made}
They come from small stand-ins for the datasets, so they judge no claim of a paper. They are here
for `make quickstart`, which makes them again and says whether they agree: on one kind of processor,
with the same versions of torch, numpy and scipy, they have the same bytes.

Another processor rounds otherwise. How far that moves the values was measured: the same runs were
made {times} with other vector instructions. `rounding.csv` has of each measure of each table the
largest difference that was found, the largest value and the standard deviation. A value may be off
by {factor} times this difference. One that moved in single precision may be off by {event:.0%} of
the standard deviation in any case, since rounding that switches a unit of a network on or off moves
a training as a whole, and any other by {least:g} of the largest value. A measure is not compared
where that is more than {widest:.0%} of the standard deviation: trainings at a high learning rate
magnify rounding until nothing is left in common.

Of {tables} tables, the other instructions left {same} as they are, byte by byte. Of {measures}
measures, {untold} are not compared elsewhere. Tables of which no measure is compared: {names}.

`make publish-smoke` writes all of this.
"""


def main(argv: Sequence[str] | None = None) -> None:
    """Publish a run at scale smoke; see ``--help`` for the arguments.

    Raises:
        ValueError: If the run is of another scale, or a file of it is not what it should be.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, required=True, help="folder of the run's results")
    parser.add_argument(
        "--again", type=Path, nargs="+", required=True, help="folders of tables of other rounding"
    )
    parser.add_argument("--published", type=Path, required=True, help="folder to publish in")
    arguments = parser.parse_args(argv)
    publish(arguments.results, arguments.again, arguments.published)


def publish(results: Path, again: Sequence[Path], folder: Path) -> None:
    """Copy the tables and the ledger of a run, and write the tolerances and the page."""
    ledger = read_ledger(results / "audit" / "ledger.json")
    if scales := {row["scale"] for row in ledger} - {REHEARSAL}:
        raise ValueError(
            f"expected a run at scale {REHEARSAL}, got {', '.join(scales)}; publish that with"
            " `snakemake publish`"
        )
    tables = sorted((results / "tables").glob("*/*.csv"))
    metas = []
    for table in tables:  # before anything is published
        name = f"{table.parent.name}/{table.stem}"
        metas.append(read_evidence(table, figure=name, scale=REHEARSAL)[1])
    shutil.rmtree(folder / "tables", ignore_errors=True)
    for table in tables:
        for source in (table, meta_path(table), table.with_suffix(".npz")):
            if source.exists():  # few figures show arrays
                verify(source)
                copy(source, folder / "tables" / table.parent.name / source.name)
    copy(results / "costs.tsv", folder / "costs.tsv")
    write_json(folder / "ledger.json", ledger)
    write(folder, again)
    write_text(folder / "README.md", _page(Tolerances.read(folder), len(again), metas))


def _page(tolerances: Tolerances, again: int, metas: Sequence[Mapping]) -> str:
    names = sorted(tolerances.tables())
    same = [name for name in names if not tolerances.moved(name)]
    untold = [name for name in names if not tolerances.compared(name)]
    return PAGE.format(
        made=origin(f"reference/{REHEARSAL}", metas).strip(),
        times="once" if again == 1 else f"{again} times",
        factor=TIMES,
        event=EVENT,
        least=LEAST,
        widest=WIDEST,
        tables=len(names),
        same=len(same),
        measures=len(tolerances.rows),
        untold=sum(tolerances.of(*key) is None for key in tolerances.rows.index),
        names=", ".join(untold) or "none",
    )


if __name__ == "__main__":
    command.run(main)
