"""Self-contained HTML page of a report."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from pathlib import Path

_STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #1c1c1c; max-width: 1080px;
       margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: .2rem; }
h2 { font-size: 1.15rem; margin-top: 2.2rem; border-bottom: 1px solid #ddd; }
p.note { color: #555; margin-top: 0; }
.figures { display: grid; grid-template-columns: repeat(auto-fill, minmax(430px, 1fr)); gap: 1rem;
           margin-bottom: 1rem; }
.figures.wide { display: block; }
.figures img { width: 100%; border: 1px solid #eee; border-radius: 4px; }
table { border-collapse: collapse; }
th, td { text-align: right; padding: .25rem .9rem .25rem 0; border-bottom: 1px solid #eee;
         font-variant-numeric: tabular-nums; }
th:first-child, td:first-child { text-align: left; }
pre { background: #f6f6f6; padding: .8rem; border-radius: 4px; overflow-x: auto; }
"""

Table = tuple[Sequence[str], Sequence[Sequence[str]]]
"""Head and rows of a table."""


class Page:
    """Page that grows from top to bottom.

    Args:
        title: Heading of the page.
        note: Line below the heading.
    """

    def __init__(self, title: str, note: str) -> None:
        self._title = html.escape(title)
        self._parts = [f"<h1>{self._title}</h1>", f'<p class="note">{html.escape(note)}</p>']

    def heading(self, text: str) -> None:
        """Add the heading of a section."""
        self._parts.append(f"<h2>{html.escape(text)}</h2>")

    def paragraph(self, text: str) -> None:
        """Add a line of text."""
        self._parts.append(f"<p>{html.escape(text)}</p>")

    def table(self, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Add a table; the first column is text, the others are numbers."""
        lines = [_row("th", head), *(_row("td", row) for row in rows)]
        self._parts.append(f"<table>{''.join(lines)}</table>")

    def figures(self, pictures: Sequence[tuple[str, Path]], *, wide: bool = False) -> None:
        """Add PNG files, embedded, with an alternative text for those who cannot see them.

        Args:
            pictures: Alternative text and file of each picture.
            wide: Whether each takes the whole width of the page, rather than half.
        """
        images = [
            f'<img alt="{html.escape(title)}" src="data:image/png;base64,'
            f'{base64.b64encode(path.read_bytes()).decode()}">'
            for title, path in pictures
        ]
        look = "figures wide" if wide else "figures"
        self._parts.append(f'<div class="{look}">{"".join(images)}</div>')

    def code(self, text: str) -> None:
        """Add preformatted text."""
        self._parts.append(f"<pre>{html.escape(text)}</pre>")

    def to_html(self) -> str:
        """Return the whole document."""
        head = (
            '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
            f"<title>{self._title}</title><style>{_STYLE}</style>"
        )
        lines = ("<!doctype html>", '<html lang="en">', f"<head>{head}</head>", "<body>",
                 *self._parts, "</body>", "</html>", "")  # fmt: skip
        return "\n".join(lines)


def _row(cell: str, values: Sequence[str]) -> str:
    return f"<tr>{''.join(f'<{cell}>{html.escape(value)}</{cell}>' for value in values)}</tr>"
