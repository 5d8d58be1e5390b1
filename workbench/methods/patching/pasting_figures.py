"""What there is to draw of pasted cells: the answer as it is, after each cell, and the source's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.figures import Cell, Column, Figure, Scale, Table, said

if TYPE_CHECKING:
    from workbench.methods.patching.pasting import PastedAnswer, PastedCell, PasteResult

_NUMBER = Scale(ramp="signed", low=-1, high=1, decimals=2)


def paste_figures(result: PasteResult) -> tuple[Figure, ...]:
    """A table with a row for the prompt, for each cell that was pasted too, and for the source; and what it says."""
    target, foil = result.target.strip(), result.foil.strip()
    columns = (
        Column(heading="with", wraps=True),
        Column(heading=f"{target} − {foil}", right=True),
        Column(heading=f"p {target}", right=True),
        Column(heading=f"p {foil}", right=True, spare=1),
        Column(heading="first choice"),
    )
    rows = [_row("the prompt as it is", result.before)]
    rows += [_row(f"+ {_named(result, cell)}", answer) for cell, answer in zip(result.cells, result.after, strict=True)]
    rows.append(_row("the source itself", result.source))
    return (*said(_sentence(result)), Table(title="Pasted cells", columns=columns, rows=tuple(rows)))


def _sentence(result: PasteResult) -> str:
    now = result.after[-1] if result.after else result.before
    cells = f"{len(result.after)} cell{'s' * (len(result.after) != 1)}"
    same = now.top == result.before.top
    verb = "stays" if same else f"becomes “{now.top.strip()}” {now.p_top:.2f}, from"
    return f"with {cells} pasted the first choice {verb} “{result.before.top.strip()}” {result.before.p_top:.2f}"


def _named(result: PasteResult, cell: PastedCell) -> str:
    of = result.encoded_source.texts[cell.token].strip()
    into = result.encoded.texts[cell.into_token].strip()
    return f"{cell.what} {cell.layer} at “{of}” ({cell.token}) → {cell.into_layer} at “{into}” ({cell.into_token})"


def _row(name: str, answer: PastedAnswer) -> tuple[Cell, ...]:
    towards = Cell(text=_NUMBER.text(answer.difference), meaning="target" if answer.difference > 0 else "foil")
    return (
        Cell(text=name),
        towards,
        Cell(text=f"{answer.p_target:.3f}"),
        Cell(text=f"{answer.p_foil:.3f}"),
        Cell(text=f"{answer.top.strip()} {answer.p_top:.2f}", meaning="strong"),
    )
