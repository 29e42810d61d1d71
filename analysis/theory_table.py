"""The table of docs/theory.md: every row of the theory scorecard, as the program gives it.

python analysis/theory_table.py [PROCESSES]     writes it between the two marks of the page
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from factorysim.study.theory import TheoryRow, theory_rows

PAGE = Path(__file__).parent.parent / "docs" / "theory.md"
MARKS = ("<!-- table -->\n", "<!-- end of table -->\n")


def table(rows: Sequence[TheoryRow]) -> str:
    """Write rows as a table of Markdown."""
    lines = [
        "| station | what | theory | simulated | +- | off | holds | sees 5 % of |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        half = (row.high - row.low) / 2
        cells = (
            row.id,
            row.metric,
            f"{row.expected:.4g}",
            f"{row.got:.4g}",
            f"{half:.2g}" if half > 1e-6 else "0",
            f"{row.error:+.1%}" if row.expected else f"{row.error:+.3g}",
            "yes" if row.holds else row.reason,
            ", ".join(row.sees),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run the scorecard and put its table into the page."""
    rows = theory_rows(workers=int(sys.argv[1]) if len(sys.argv) > 1 else 1)
    page = PAGE.read_text(encoding="utf-8")
    before, rest = page.split(MARKS[0])
    _, after = rest.split(MARKS[1])
    page = f"{before}{MARKS[0]}\n{table(rows)}\n{MARKS[1]}{after}"
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
