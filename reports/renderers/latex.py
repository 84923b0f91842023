"""LaTeX with booktabs and siunitx: a table environment to include, or a document that compiles alone.

Numbers stand in ``S`` columns, spreads and footnote marks in a narrow column beside them. Each cell has its own source
line, and a comment on it names the runs that the number comes from.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from spectral_bench.reports.formatting import NO_VALUE, NumberFormat, cell_text, heading, number_format
from spectral_bench.reports.renderers.tex_escape import comment, escape, label
from spectral_bench.reports.table import Cell, CellState, Column, Note, Table, TableRow

PACKAGES = r"\usepackage{booktabs,siunitx,adjustbox}"
MOST_ROWS = 30  # a float; longer tables go on in the next one
_WIDE, _LONG = 140, 12  # characters of all headings, and of one, from which on long headings are turned
_LONG_NOTES, _NOTES_A_PAGE = 2500, 5000  # characters
_DOCUMENT = r"""\documentclass{article}
\usepackage[T1]{fontenc}
\IfFileExists{lmodern.sty}{\usepackage{lmodern}}{}
\usepackage[a4paper,landscape,margin=15mm]{geometry}
%(packages)s
\pagestyle{empty}
\begin{document}
%(body)s\end{document}
"""


@dataclass(frozen=True)
class _Layout:
    """How one column is set: its number format and whether spreads or marks need a column of their own."""

    column: Column
    style: NumberFormat
    beside: bool
    specification: str

    @property
    def numeric(self) -> bool:
        return self.column.kind != "text"


def render_latex(table: Table) -> str:
    """The table as ``table`` environments of at most 30 rows. Needs ``PACKAGES`` and a T1 font encoding."""
    table = table.folded()
    layouts = [_layout(table, column) for column in table.columns]
    starts = range(0, max(len(table.rows), 1), MOST_ROWS)
    lines = [f"% {comment(table.name)}: needs {PACKAGES} and \\usepackage[T1]{{fontenc}}"]
    for start in starts:
        part = replace(table, rows=table.rows[start : start + MOST_ROWS])
        lines += _environment(part, layouts, first=start == 0, last=start == starts[-1])
    if not _fits(table):
        lines += _notes_alone(table)
    return "\n".join(lines) + "\n"


def render_standalone(table: Table) -> str:
    """A document that holds the table alone and compiles with pdfLaTeX, XeLaTeX and LuaLaTeX."""
    return _DOCUMENT % {"packages": PACKAGES, "body": render_latex(table)}


def _environment(table: Table, layouts: list[_Layout], *, first: bool, last: bool) -> list[str]:
    """One float. The parts of a long table share one number; only the first has a label, only the last the notes."""
    caption = escape(table.caption) if first else "(continued)"
    return [
        *([] if first else [r"\addtocounter{table}{-1}"]),
        r"\begin{table}[htbp]",
        r"  \centering\small\setlength{\tabcolsep}{4pt}\setlength{\emergencystretch}{3em}",
        r"  \setlength{\belowcaptionskip}{4pt}",
        rf"  \caption{{{caption}}}",
        *([rf"  \label{{tab:{label(table.name)}}}"] if first else []),
        *(_tabular(table, layouts) if layouts else []),
        *(_notes(table) if last and _fits(table) else []),
        r"\end{table}",
    ]


def _tabular(table: Table, layouts: list[_Layout]) -> list[str]:
    turned = sum(len(layout.column.label) for layout in layouts) > _WIDE
    lines = [
        r"  \begin{adjustbox}{max width=\linewidth,max totalheight=0.75\textheight}",
        r"  \sisetup{detect-weight=true,retain-explicit-plus=true}%",
        rf"  \begin{{tabular}}{{{' '.join(layout.specification for layout in layouts)}}}",
        r"    \toprule",
        "    " + " & ".join(_heading(layout, turned) for layout in layouts) + r" \\",
        r"    \midrule",
    ]
    group = table.rows[0].group if table.rows else ""
    for row in table.rows:
        if row.group != group:
            lines.append(r"    \addlinespace")
            group = row.group
        lines += _row(row, layouts)
    return [*lines, r"    \bottomrule", r"  \end{tabular}", r"  \end{adjustbox}"]


def _fits(table: Table) -> bool:
    """Whether the notes fit below the rows; else they follow in floats of their own."""
    return sum(len(note.text) for note in table.notes) <= _LONG_NOTES


def _notes(table: Table) -> list[str]:
    return [
        rf"  \par\smallskip\parbox{{\linewidth}}{{\footnotesize\raggedright {_note(note)}}}" for note in table.notes
    ]


def _notes_alone(table: Table) -> list[str]:
    """Floats with the notes alone, one after the other in a paragraph, as many as fill most of a page in each."""
    parts: list[list[Note]] = [[]]
    for note in table.notes:
        if parts[-1] and sum(len(one.text) for one in parts[-1]) + len(note.text) > _NOTES_A_PAGE:
            parts.append([])
        parts[-1].append(note)
    lines = []
    for part in parts:
        lines += [
            r"\begin{table}[htbp]",
            r"  \footnotesize\raggedright",
            *(f"  {_note(note)}\\quad" for note in part),
            r"\end{table}",
        ]
    return lines


def _note(note: Note) -> str:
    symbol = rf"\textsuperscript{{{escape(note.symbol)}}}\," if note.symbol else ""
    return f"{symbol}{escape(note.text)}"


def _layout(table: Table, column: Column) -> _Layout:
    style = number_format(table, column)
    cells = [row.cell(column) for row in table.rows]
    if column.kind == "text":
        return _Layout(column, style, False, "l")
    beside = any(_spread(column, cell, style) or cell.marks for cell in cells)
    texts = [style.text(cell.number) for cell in cells if cell.number is not None]
    return _Layout(column, style, beside, _number_column(texts) + (" @{}l" if beside else ""))


def _number_column(texts: list[str]) -> str:
    """An S column wide enough for all of these numbers."""
    finite = [match for match in (re.fullmatch(r"([+-]?)(\d+)(?:\.(\d+))?", text) for text in texts) if match]
    sign = "+" if any(match[1] for match in finite) else ""
    whole = max((len(match[2]) for match in finite), default=1)
    decimals = max((len(match[3] or "") for match in finite), default=0)
    return f"S[table-format={sign}{whole}.{decimals}]"


def _heading(layout: _Layout, turned: bool) -> str:
    """The heading of a column; the cells show the form of their spread, so it does not. Long ones stand on end."""
    text = escape(heading(replace(layout.column, spread="none"), layout.style))
    if turned and layout.numeric and len(layout.column.label) > _LONG:
        text = rf"\rotatebox{{90}}{{{text}}}"
    return rf"\multicolumn{{2}}{{c}}{{{text}}}" if layout.beside else f"{{{text}}}"


def _row(row: TableRow, layouts: list[_Layout]) -> list[str]:
    lines = []
    for index, layout in enumerate(layouts):
        cell = row.cell(layout.column)
        runs = f" % {comment(layout.column.key)}: {comment(' '.join(cell.runs))}" if cell.runs else ""
        lines.append(f"    {'& ' if index else ''}{_cell(layout, cell)}{runs}")
    return [*lines, r"    \\"]


def _cell(layout: _Layout, cell: Cell) -> str:
    marks = rf"\textsuperscript{{{escape(','.join(cell.marks))}}}" if cell.marks else ""
    value = cell.number
    if not layout.numeric:
        return _bold(escape(cell_text(layout.column, cell, layout.style)), cell) + marks
    if value is None:
        return _words(layout, cell, marks)
    style = layout.style.suited(value, cell.std)
    text = _power(style.text(value))
    number = text if re.fullmatch(r"[+-]?[\d.]+", text) else f"{{{text}}}"
    number = rf"\bfseries {number}" if cell.bold else number
    return f"{number} & {_spread(layout.column, cell, style)}{marks}" if layout.beside else number


def _words(layout: _Layout, cell: Cell, marks: str) -> str:
    """A numeric column's cell without a number: a state in italics, a dash, or a text."""
    text = escape(cell_text(layout.column, cell, layout.style))
    if cell.state is not CellState.DONE:
        text = rf"\textit{{{text}}}"
    elif cell.value is None:
        text = escape(NO_VALUE)
    return rf"\multicolumn{{2}}{{c}}{{{text}{marks}}}" if layout.beside else f"{{{text}{marks}}}"


def _bold(text: str, cell: Cell) -> str:
    return rf"\textbf{{{text}}}" if cell.bold else text


def _spread(column: Column, cell: Cell, style: NumberFormat) -> str:
    if cell.number is None:
        return ""
    if column.spread == "std" and cell.std is not None:
        return rf"\,$\pm$\,{_power(style.plain(cell.std))}"
    if column.spread == "interval" and cell.low is not None and cell.high is not None:
        return rf"\enspace[{_signed(style.plain(cell.low))}, {_signed(style.plain(cell.high))}]"
    return ""


def _power(text: str) -> str:
    """A number in which a power of ten is set as one."""
    digits, e, power = text.partition("e")
    return rf"${digits}\times10^{{{power}}}$" if e else text


def _signed(text: str) -> str:
    """A number with a true minus sign."""
    return f"$-${text[1:]}" if text.startswith("-") else text
