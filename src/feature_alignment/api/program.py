"""The command ``feature-alignment``: measure a network, list what is published, look at a claim."""

import argparse
import difflib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from feature_alignment import command
from feature_alignment.api.extras import MissingExtraError, needs
from feature_alignment.api.published import REFERENCE

MEASURES = "alignment, spectrum, nfa, loss"


def program() -> None:
    """Run the command and leave the interpreter with its exit status."""
    command.run(main)


def main(argv: Sequence[str] | None = None) -> None:
    """Carry out a subcommand; see ``--help``."""
    parser = argparse.ArgumentParser(
        prog="feature-alignment", description=__doc__.split("``")[2].strip(": .").capitalize()
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    own = commands.add_parser(
        "measure",
        help="measure a network of your own",
        description="Measure a network on a batch, once, or once for each file of weights.",
    )
    own.add_argument("model", help="FILE.py:FUNCTION that returns the model, or MODULE:FUNCTION")
    own.add_argument("--data", required=True, help="FILE.py:FUNCTION that returns (x, y)")
    own.add_argument("--out", type=Path, help="table to write (CSV)")
    own.add_argument("--plot", type=Path, help="figure to write (PDF, PNG or SVG)")
    own.add_argument("--measures", nargs="+", default=None, help=f"some of {MEASURES}")
    own.add_argument("--output", help="FILE.py:FUNCTION from what the model returns to a tensor")
    own.add_argument("--weights", type=Path, nargs="+", default=[], help="files of state_dict()s")
    own.add_argument("--against", metavar="FIGURE", help="draw it over a published figure")
    own.add_argument("--trainable-only", action="store_true", help="leave frozen parameters out")
    own.add_argument("--run", default="own", help="name of the run in the table")
    own.add_argument("--seed", type=int, default=0, help="seed in the table")
    own.set_defaults(work=measure)

    shown = commands.add_parser(
        "list",
        help="list published figures with their claims and minutes",
        description="List published figures, verdicts on their claims, and core-minutes.",
    )
    shown.add_argument("word", nargs="?", default="", help="part of the names of figures")
    shown.add_argument("--claims", action="store_true", help="name every claim")
    _add_repository(shown, scale=True)
    shown.set_defaults(work=list_figures)

    judged = commands.add_parser(
        "audit",
        help="tell what was measured for a claim, at each scale",
        description="Tell measure, bound, seeds and verdict of a claim, at each scale.",
    )
    judged.add_argument("claim", help="id of a claim, such as the command list --claims prints")
    _add_repository(judged)
    judged.set_defaults(work=audit)

    arguments = parser.parse_args(argv)
    try:
        arguments.work(arguments)
    except MissingExtraError as error:
        raise ValueError(str(error)) from error


def _add_repository(parser: argparse.ArgumentParser, *, scale: bool = False) -> None:
    parser.add_argument(
        "--repository", type=Path, default=REFERENCE.parent, help="folder of the repository"
    )
    if scale:
        parser.add_argument("--scale", default="laptop", help="of the published run")


def measure(arguments: argparse.Namespace) -> None:
    """Measure a model, and write or print the table."""
    import torch

    from feature_alignment.api.probe import MEASURES, Probe

    if arguments.against and not arguments.plot:
        raise ValueError("expected --plot FILE with --against; it says where to draw")
    model, data = find(arguments.model)(), find(arguments.data)()
    if not isinstance(model, torch.nn.Module):
        raise ValueError(
            f"expected {arguments.model} to return a torch.nn.Module, got a {type(model).__name__}"
        )
    if not isinstance(data, tuple | list) or len(data) != 2:
        raise ValueError(f"expected {arguments.data} to return (x, y)")
    probe = Probe(
        model,
        *data,
        arguments.measures or MEASURES,
        output=find(arguments.output) if arguments.output else None,
        run=arguments.run,
        seed=arguments.seed,
        trainable_only=arguments.trainable_only,
    )
    if not arguments.weights:
        probe(step=0)
    for step, path in enumerate(arguments.weights):
        model.load_state_dict(_weights(path))
        if step == 0:
            probe.start_from_here()
        probe(step=step)
    if arguments.out:
        from feature_alignment.provenance import describe
        from feature_alignment.tables import write_table

        spec = {"model": arguments.model, "data": arguments.data}
        write_table(arguments.out, probe.table, describe([__name__], spec))
        print(f"{len(probe.table)} values in {arguments.out}")
    else:
        print(probe.table.to_string(index=False))
    if arguments.plot:
        from feature_alignment.api.published import against

        figure = against(probe.table, arguments.against) if arguments.against else probe.plot()
        arguments.plot.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(arguments.plot, bbox_inches="tight")
        print(f"drawn in {arguments.plot}")


def find(name: str) -> Callable[..., Any]:
    """Return the function that ``FILE.py:FUNCTION`` or ``MODULE:FUNCTION`` names.

    Raises:
        ValueError: If there is no such file, module or function.
    """
    where, colon, function = name.rpartition(":")
    if not colon or not where or not function:
        raise ValueError(f"expected FILE.py:FUNCTION or MODULE:FUNCTION, got {name!r}")
    if where.endswith(".py"):
        path = Path(where).resolve()
        if not path.is_file():
            raise ValueError(f"no file {where}, of which {name!r} names a function")
        if str(path.parent) not in sys.path:
            sys.path.insert(0, str(path.parent))  # for what it imports next to it
        spec = importlib.util.spec_from_file_location(path.stem, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    else:
        try:
            module = importlib.import_module(where)
        except ModuleNotFoundError as error:
            raise ValueError(f"no module {where!r}: {error}") from error
    if not callable(getattr(module, function, None)):
        near = [part for part in dir(module) if not part.startswith("_")]
        known = ", ".join(difflib.get_close_matches(function, near, n=4, cutoff=0))
        raise ValueError(f"{where} has no function {function!r}; near it: {known}")
    return getattr(module, function)


def _weights(path: Path) -> Mapping:
    import torch

    if path.suffix == ".safetensors":
        with needs("workflow"):
            from safetensors.torch import load_file

        return load_file(path)
    return torch.load(path, weights_only=True, map_location="cpu")


def list_figures(arguments: argparse.Namespace) -> None:
    """Print every published figure with the verdicts on its claims and its core-minutes."""
    with needs("workflow"):
        from feature_alignment.audit.ledger import counts, line, read_ledger
        from feature_alignment.publish.costs import read_costs

    folder = arguments.repository / "reference" / arguments.scale
    rows = read_ledger(_existing(folder / "ledger.json"))
    minutes = {
        f"{cost['paper']}/{cost['figure']}": cost["core_minutes"]
        for cost in read_costs(_existing(folder / "costs.tsv")).to_dict("records")
    }
    tables = sorted({*minutes, *(row["table"] for row in rows)})
    chosen = [table for table in tables if arguments.word in table and not table.endswith("/total")]
    if not chosen:
        raise ValueError(
            f"no figure has {arguments.word!r} in its name; see feature-alignment list"
        )
    for table in chosen:
        own = [row for row in rows if row["table"] == table]
        spent = f"{minutes[table]:g} core-minutes" if table in minutes else "minutes not known"
        noun = "claim" if len(own) == 1 else "claims"
        told = f"{len(own)} {noun}: {counts(own)}" if own else "no claims"
        print(f"{table}  ({spent})  {told}")
        if arguments.claims:
            for row in own:
                print(f"  {line(row)}")


def audit(arguments: argparse.Namespace) -> None:
    """Print what a claim says and what was found at each scale."""
    with needs("workflow"):
        from feature_alignment.audit.ledger import interval, number, read_ledger, remark

    folder = arguments.repository
    paths = [
        *sorted(folder.glob("reference/*/ledger.json")),
        *sorted(Path.cwd().glob("results/*/audit/ledger.json")),
    ]
    if not paths:
        _existing(folder / "reference" / "laptop" / "ledger.json")
    ledgers = {path: {row["id"]: row for row in read_ledger(path)} for path in paths}
    known = sorted(set().union(*ledgers.values()))
    if arguments.claim not in known:
        near = [name for name in known if name.startswith(arguments.claim)]
        near = near or difflib.get_close_matches(arguments.claim, known, n=5, cutoff=0)
        raise ValueError(f"no claim {arguments.claim!r}; there are: {', '.join(near)}")
    found = {
        path: rows[arguments.claim] for path, rows in ledgers.items() if arguments.claim in rows
    }
    first = next(iter(found.values()))
    print(f"{first['id']}  ({first['class']}, {first['place']})")
    print(first["statement"])
    print(f"measure and bound: {first['asks'] or first['criterion']}")
    print(f"compared with: {first['untrained'] or 'nothing'}; needs scale {first['needs']}")
    for path, row in found.items():
        own = path.is_relative_to(Path.cwd() / "results")
        where = f"your results, {row['scale']}" if own else f"published, {path.parent.name}"
        told = f"{where}: {row['verdict']}"
        if row["estimate"] is not None:
            told += f", {number(row['estimate'])}"
            told += f" ({interval(row)})" if interval(row) else ""
        told += f", seeds {row['seeds']}" if row["seeds"] else ""
        print(told + (f"; {more}" if (more := remark(row)) else ""))


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise ValueError(
            f"no {path}: published results are part of the repository and not of the installed "
            "package; clone it, and name its folder with --repository"
        )
    return path


if __name__ == "__main__":
    program()
