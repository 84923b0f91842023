"""A paper against a store: macros, pasted tables and sentences, and that no changed number goes unnoticed."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from report_samples import FAILED, Outcome, add_row, make_store, write_grid

from spectral_bench.common.errors import UserError
from spectral_bench.reports.api import all_tables
from spectral_bench.reports.collect import collect
from spectral_bench.reports.paper import Checked, Checker, Finding, State, read_paper
from spectral_bench.reports.paper.facts import facts_of, key, written
from spectral_bench.reports.paper.reading import definitions_in
from spectral_bench.reports.paper.tex import plain, tables_in
from spectral_bench.reports.renderers.latex import render_latex
from spectral_bench.reports.renderers.macros import render_macros
from spectral_bench.reports.table import Table

Check = Callable[[str], Checked]
PAPER = r"""
\documentclass{article}
\input{numbers}
\newcommand{\bn}[1]{\benchnumber{#1}}
\begin{document}
With $K = 24$, $\alpha = 0.37$ and 5 seeds, as in Table 3.1 and Section 4.2 of version 1.25, 2.3 times faster.
k-means reaches an mIoU of \benchnumber{main/k-means/miou}\,\% and an accuracy of \bn{main/k-means/accuracy}\,\%.
% an mIoU of 99.9 in a comment
\begin{verbatim}
an mIoU of 98.7
\end{verbatim}
Others report an mIoU of 12.3. % bench: ignore
\input sections/results
\include{sections/tables}
\end{document}
an mIoU of 97.6
"""
RESULTS = r"""
NeuralEF, $k{=}8$ has an mIoU of $66.7 \pm 2.0$\,\% at the $95\,\%$ confidence level, and an accuracy of 80.0\,\%.
That is 14.3 points less than k-means and 0.667 as a fraction: NeuralEF, k=8 has an mIoU of 0.667.
The fit of k-means takes 7.0\,s. After 2.5 epochs NeuralEF, k=8 was done.
The mIoU of k-means rounds to 81\%.
"""
TABLES = r"""
\input{main}
\begin{table}
\caption{Pasted and changed.}
\begin{tabular*}{\linewidth}{l S[table-format=2.1] c rr}
\toprule
\multirow{2}{*}{Method} & \multicolumn{2}{c}{Scores} & \multicolumn{2}{c}{Costs} \\
\cmidrule(lr){2-3}
 & {mIoU (\%)} & \textbf{accuracy} $\uparrow$ & fit (min) & features [s] \\
\midrule
\rowcolor{gray!10} \textbf{k-means}$^{\dagger}$ & \bfseries 81.0(12) & $\mathbf{89.5} \pm 0.7$ & 0.117 & 3.0 \\
\emph{NeuralEF}, $k{=}8$ & 66.7 \pm 2.0 & \cellcolor{red}{80.0} & \num{0.333} & \SI{3}{\second} \\
\addlinespace
Ours & 98.0 & \underline{99.0}\textsuperscript{a} & 0.15 & 3 \\
\bottomrule
\end{tabular*}
\end{table}
\begin{tabular}{lcc}
 & k-means & NeuralEF, $k=8$ \\ \hline
mIoU & 81.00 & 67 \\
Their method & 11.1 & 12.2 \\
\end{tabular}
"""


def tables_of(folder: Path) -> list[Table]:
    store = make_store(folder)
    rows = [
        add_row(store, "k-means", {0: Outcome(10, fit_s=7.0), 1: Outcome(11, fit_s=7.0)}),
        add_row(store, "NeuralEF, k=8", {0: Outcome(19, fit_s=20.0), 1: Outcome(21, fit_s=20.0)}),
        add_row(store, "SpIN", {0: Outcome(1, fit_s=9.0)}),
        add_row(store, "broken", {0: FAILED}),
    ]
    return all_tables(collect(write_grid(store, *rows)))


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> list[Table]:
    return tables_of(tmp_path_factory.mktemp("paper"))


@pytest.fixture(scope="module")
def checker(tables: list[Table]) -> Checker:
    macros = {name: [text] for name, text in definitions_in(render_macros(tables))}
    return Checker(facts_of(tables), macros)


@pytest.fixture
def check(checker: Checker, tmp_path: Path) -> Check:
    """Checks a text as a paper of one file."""

    def checked(text: str) -> Checked:
        (tmp_path / "one.tex").write_text(text)
        return checker.check(read_paper(tmp_path / "one.tex"))

    return checked


@pytest.fixture
def paper(tables: list[Table], tmp_path: Path) -> Path:
    files = {"paper": PAPER, "sections/results": RESULTS, "sections/tables": TABLES, "numbers": render_macros(tables)}
    for name, text in (files | {"main": render_latex(tables[0])}).items():
        (tmp_path / f"{name}.tex").parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.tex").write_text(text)
    return tmp_path / "paper.tex"


def denied(checked: Checked) -> list[Finding]:
    return [one for one in checked.findings if one.state is not State.AGREES]


def told(checked: Checked) -> list[tuple[str, str, str]]:
    return [(one.state.value, one.paper, one.store) for one in checked.findings]


def test_a_true_paper_agrees_in_all_that_it_says(checker: Checker, paper: Path):
    checked = checker.check(read_paper(paper))
    assert denied(checked) == []
    assert checked.unused == ()
    kinds = [one.kind for one in checked.findings]
    assert (kinds.count("macro"), kinds.count("text")) == (2, 8)
    assert {"81.0 %", "1.2 %", "0.7", "0.117 min", "81.00", "67", "98.0 %"} <= {one.paper for one in checked.findings}
    assert {one.place.file.name for one in checked.findings} == {"paper.tex", "results.tex", "tables.tex", "main.tex"}
    assert checked.passed_over == 2  # a row of others


@pytest.mark.parametrize(
    ("macro", "use"),
    [
        (r"\newcommand{\res}[2]{\textbf{\benchnumber{main/#1/#2}}}", r"\res{k-means}{miou}"),
        (r"\newcommand*\res[1]{\benchnumber{main/#1/miou}}", r"\res{k-means}, a\resume{x}"),
        (r"\newcommand{\res}[2][k-means]{\benchnumber{main/#1/#2}}", r"\res{miou}"),
        (r"\newcommand{\res}[2][x]{\benchnumber{main/#1/#2}}", r"\res[k-means]{miou}"),
        (r"\def\res#1#2{\benchnumber{main/#1/#2}}", r"\res{k-means}{miou}"),
        (r"\newcommand{\bn}[1]{\benchnumber{#1}}\newcommand{\res}[1]{\bn{main/k-means/#1}}", r"\res{miou}"),
        (r"\newcommand{\both}[1]{\benchnumber{main/#1/miou} \pm \benchnumber{main/#1/miou-std}}", r"\both{k-means}"),
    ],
)
def test_numbers_are_followed_through_macros_with_arguments(
    checker: Checker, tables: list[Table], tmp_path: Path, macro: str, use: str
):
    numbers = render_macros(tables)
    seen = {}
    for name, text in (
        ("good", numbers),
        ("bad", numbers.replace("k-means/miou\\endcsname{", "k-means/miou\\endcsname{1")),
    ):
        (tmp_path / "numbers.tex").write_text(text)
        (tmp_path / "paper.tex").write_text(f"\\input{{numbers}}\n{macro}\n\nSee {use}.\n")
        seen[name] = [one for one in checker.check(read_paper(tmp_path / "paper.tex")).findings if one.kind == "macro"]
    expected = ["main/k-means/miou", *["main/k-means/miou-std"] * ("both" in macro)]
    assert [(one.name, one.state, one.place.line) for one in seen["good"]] == [
        (name, State.AGREES, 4) for name in expected
    ]
    assert seen["bad"][0].state is State.DIFFERS


@pytest.mark.parametrize("name", ["comment", "verbatim"])
def test_what_begins_in_a_comment_hides_nothing(check: Check, name: str):
    shown = f"%\\begin{{{name}}}\nk-means has an mIoU of 99.9.\n% \\end{{{name}}}\n"
    hidden = f"5\\% \\begin{{{name}}}\nk-means has an mIoU of 97.9.\n\\end{{{name}}}\n"
    assert [one.paper for one in check(f"{shown}{hidden}k-means has an mIoU of 98.9.\n").findings] == ["99.9", "98.9"]


def test_rows_are_known_by_their_titles_where_a_store_has_several_grids(tmp_path: Path):
    store = make_store(tmp_path)
    write_grid(store, add_row(store, "k-means", {0: Outcome(10)}), name="one")
    write_grid(store, add_row(store, "SpIN", {0: Outcome(20)}), name="two")
    checker = Checker(facts_of(all_tables(collect(store))), {})
    (tmp_path / "paper.tex").write_text("SpIN has an mIoU of 81.8\\,\\%.\n")  # which is that of k-means
    (found,) = checker.check(read_paper(tmp_path / "paper.tex")).findings
    assert (found.state, found.store) == (State.DIFFERS, "66.7 %")


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("SpIN has $\\mathrm{mIoU} = 98.7$ for $\\alpha = 0.37$ and $p < 0.05$, mIoU > 1.5.", ["98.7"]),
        ("SpIN: mIoU=91\\,\\%, accuracy = 92, with ViT-B/16.5 in 1/2 of 12/11.", ["91 %", "92"]),
        ("mIoU and accuracy of k-means are 81.0/91.3.", ["91.3"]),
    ],
)
def test_numbers_behind_a_sign_of_equality_or_a_slash_are_looked_up(check: Check, text: str, wrong: list[str]):
    assert [one.paper for one in denied(check(text))] == wrong


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("\\iffalse SpIN: mIoU 98.7.\\fi SpIN: mIoU 97.6.", ["97.6"]),
        ("\\iffalse\nmIoU 98.7\n\\ifdraft mIoU 96.5 \\else 95.4 \\fi\nmIoU 94.3\n\\fi\nSpIN: mIoU 93.2.", ["93.2"]),
        ("\\iffalse mIoU 98.7 \\else SpIN: mIoU 97.6. \\fi", ["97.6"]),
        ("\\iffalse\nmIoU 98.7 % \\fi\nmIoU 96.5\n\\fi SpIN: mIoU 95.4.", ["95.4"]),
        ("% \\iffalse\nSpIN: mIoU 98.7.\n% \\fi", ["98.7"]),
        ("\\iffalse \\begin{comment} \\fi SpIN: mIoU 98.7. \\iffalse \\end{comment} \\fi", ["98.7"]),
        ("\\begin{verbatim} \\iffalse \\end{verbatim} SpIN: mIoU 98.7.", ["98.7"]),
        ("\\iftrue SpIN: mIoU 98.7. \\fi", ["98.7"]),
        ("\\verb|SpIN: mIoU 98.7| and \\lstinline!mIoU 97.6!, SpIN: mIoU 96.5.", ["96.5"]),
        ("\\verb+50%+ of it; SpIN: mIoU 98.7.", ["98.7"]),
    ],
)
def test_what_tex_does_not_print_as_text_is_passed_over(check: Check, text: str, wrong: list[str]):
    assert [one.paper for one in denied(check(text))] == wrong


def test_a_hundred_changed_numbers_are_all_noticed(checker: Checker, paper: Path):
    """In each copy one digit of one number is another one."""
    read = read_paper(paper)
    right = [one for one in checker.check(read).findings if not one.note]
    draw = random.Random(19)
    missed = []
    for _ in range(100):
        one = draw.choice(right)
        place = read.definitions[one.name].place if one.kind == "macro" else one.place
        lines = place.file.read_text().split("\n")
        line = re.split(r"(?<!\\)%", lines[place.line - 1])[0]
        digits = one.paper.split()[0].lstrip("+-")
        spots = [found.start() for found in re.finditer(rf"(?<![\d.=]){re.escape(digits)}(?![\d.])", line)]
        if not spots:  # the spread of 81.0(12)
            digits, spots = "12", [line.index("(12)") + 1]
        at = draw.choice(spots) + draw.choice([index for index, sign in enumerate(digits) if sign.isdigit()])
        other = draw.choice([digit for digit in "123456789" if digit != line[at]])
        whole = lines[place.line - 1]
        before = place.file.read_bytes()
        lines[place.line - 1] = whole[:at] + other + whole[at + 1 :]
        place.file.write_text("\n".join(lines))
        if not denied(checker.check(read_paper(paper))):
            missed.append((str(place), one.paper, lines[place.line - 1]))
        place.file.write_bytes(before)
    assert missed == []


def test_a_difference_tells_both_values_and_the_cell(check: Check):
    table = r"\begin{tabular}{lr} configuration & mIoU \\ \hline NeuralEF, k=8 & 76.7 \\ broken & 1.0 \\ \end{tabular}"
    one, other = check(table).findings
    assert (one.state, one.paper, one.store, one.name) == ("differs", "76.7", "66.7 %", "main/neuralef-k-8/miou")
    assert len(one.runs) == 2
    assert (other.state, other.store, other.note) == ("differs", "failed", "broken, mIoU")
    assert told(check("The mIoU of SpIN is 97.0.")) == [("differs", "97.0", "98.0 %")]
    (finding,) = check("We reach an mIoU of 55.5.").findings
    assert (finding.state, "no such number; the nearest is" in finding.note) == ("not found", True)


def test_macros_are_held_against_todays(check: Check):
    defined = r"\expandafter\def\csname bench:{}\endcsname{{{}}}" + "\n"
    name = "main/k-means/miou"
    assert told(check(defined.format(name, "81.0") + rf"\benchnumber{{{name}}}")) == [("agrees", "81.0", "81.0")]
    assert told(check(defined.format(name, "81.9") + rf"\benchnumber{{{name}}}")) == [("differs", "81.9", "81.0")]
    (gone,) = check(defined.format("main/kmeans/miou", "1") + r"\benchnumber{main/kmeans/miou}").findings
    assert (gone.state, gone.note) == ("not found", "no such number today; did you mean main/k-means/miou?")
    (undefined,) = check(rf"\benchnumber{{{name}}}").findings
    assert (undefined.state, undefined.store, undefined.note) == (
        "not found",
        "81.0",
        "the paper defines no such number",
    )
    assert check(defined.format(name, "81.9")).unused == (name,)


@pytest.mark.parametrize(
    "text",
    [
        "We use $K=24$, $t = 0.01$ and 12.5M parameters in 3.5 epochs, with mIoU as the score.",
        "See Fig. 4.1, Eq. (2.3) and Table 7.7 for the mIoU.",
        "It is 2.5 times, or $3.1\\times$, faster in mIoU; 2.2-fold.",
        "The mIoU has intervals at the 99.9\\,\\% level; 95\\,\\% confidence.",
        "In 2023, we had 5 seeds and 64 images at 3.14 GHz.",
        "\\begin{tabular}{lr} method & year \\\\ \\hline theirs & 55.5 \\\\ \\end{tabular}",
        "\\includegraphics[width=0.45\\linewidth]{miou-77.7} \\cite{an-mIoU-of-66.6} \\vspace{3.3pt} mIoU",
    ],
)
def test_what_is_no_result_is_passed_over(check: Check, text: str):
    assert denied(check(text)) == []


def test_unread_files_are_told_and_loops_refused(tmp_path: Path):
    (tmp_path / "a.tex").write_text("\\input{glyphtounicode}\n\\input{x.bbl}\ntext \\input{gone} \\import{sub/}{b}\n")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/b.tex").write_text("\\input{../a}\n")
    with pytest.raises(UserError, match=r"a\.tex: inputs itself"):
        read_paper(tmp_path / "a.tex")
    (tmp_path / "sub/b.tex").write_text("words\\endinput words\nmore\n")
    paper = read_paper(tmp_path / "a.tex")
    assert [(place.line, name) for place, name in paper.unread] == [(3, "gone")]
    assert "more" not in paper.text
    with pytest.raises(UserError, match=r"none\.tex: cannot be read"):
        read_paper(tmp_path / "none.tex")
    (tmp_path / "bytes.tex").write_bytes(b"\0\1")
    with pytest.raises(UserError, match="expected a LaTeX file"):
        read_paper(tmp_path / "bytes.tex")


def test_latex_becomes_what_a_reader_sees():
    assert plain(r"\textbf{42.4}\,$\pm$\,0.3$^{a}$\,\%") == "42.4 ± 0.3 %"
    assert plain(
        r"\num{1{,}234(5)}~\SI{2.5}{\giga\byte} $1.2\times10^{-3}$ $-$1"
    ) == "1,234(5) 2.5 GB 1.2×10^-3 -1".replace("1,234", "1234")
    assert plain("a\\textcolor{red}{b}\n\\label{x}\\\\[2pt]c \\cite[p.~4]{d}").count("\n") == 1
    assert key(plain(r"NeuralEF, $\alpha{=}0.3$")) == key("neuralef, α=0.3") == "neuralefalpha03"
    assert (written("1,234.50").value, written("1.2×10^-3").decimals, written("-3e2").value) == (1234.5, 4, -300.0)


def test_a_table_within_a_cell_is_a_part_of_it():
    inner = r"\begin{tabular}{@{}c@{}}two\\lines\end{tabular}"
    (table,) = tables_in(
        rf"\begin{{tabular}}{{lc}} a & {inner} \\ \midrule \makecell{{b\\c}} & 1.5 \\ \end{{tabular}} x"
    )
    assert [[cell.text for cell in row] for row in (*table.heads, *table.body)] == [
        ["a", "two lines"],
        ["b c", "1.5"],
    ]
