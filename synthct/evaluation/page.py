"""A report as one HTML file: words, tables and pictures inside it, nothing fetched from anywhere."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape
from string import Template

_PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; color: #1a1a1a; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: 0.2rem; }
h2 { font-size: 1.15rem; margin-top: 2rem; border-bottom: 1px solid #ccc; }
table { border-collapse: collapse; margin: 0.8rem 0; font-size: 0.9rem; display: block; overflow-x: auto; }
th, td { border: 1px solid #ddd; padding: 0.25rem 0.6rem; text-align: left; vertical-align: top; }
th { background: #f3f3f3; }
td a { white-space: nowrap; }
img { max-width: 100%; display: block; margin: 0.6rem 0; }
code { font-size: 0.85em; overflow-wrap: anywhere; }
.good { background: #dff2df; } .bad { background: #f8d7d4; }
.unsure { background: #fdf0cc; } .plain { background: #eee; }
.banner { padding: 0.7rem 1rem; margin: 1rem 0; font-size: 1.1rem; font-weight: 600; border-radius: 4px; }
footer { color: #555; margin-top: 3rem; font-size: 0.85rem; }
@media print { h2 { break-after: avoid; } img, tr { break-inside: avoid; } table { font-size: 0.65em; } }
</style>
</head>
<body>
<h1>$title</h1>
$body
<footer>Research software, not a medical device. Nothing here replaces the judgement of a qualified physicist.</footer>
</body>
</html>
""")


class Marked(str):
    """Text that is HTML already and is not escaped again."""


def page(title: str, parts: Iterable[str]) -> str:
    """Return a whole page from parts made by the functions below."""
    return _PAGE.substitute(title=escape(title), body="\n".join(parts))


def heading(text: str) -> Marked:
    """A section's heading."""
    return Marked(f"<h2>{escape(text)}</h2>")


def paragraph(text: str) -> Marked:
    """A paragraph of plain text."""
    return Marked(f"<p>{escape(text)}</p>")


def banner(text: str, kind: str) -> Marked:
    """One sentence on a coloured ground: ``good``, ``bad``, ``unsure`` or ``plain``."""
    return Marked(f'<div class="banner {kind}">{escape(text)}</div>')


def bullets(lines: Iterable[str]) -> Marked:
    """A list of sentences."""
    return Marked("<ul>" + "".join(f"<li>{_cell(line)}</li>" for line in lines) + "</ul>")


def code(text: str) -> Marked:
    """Text in the type of code: paths and hashes."""
    return Marked(f"<code>{escape(text)}</code>")


def table(head: Sequence[str], rows: Iterable[Sequence[str]], kinds: Sequence[str] = ()) -> Marked:
    """A table; ``kinds`` colours the rows as `banner` does."""
    lines = ["<table><tr>" + "".join(f"<th>{_cell(word)}</th>" for word in head) + "</tr>"]
    for number, row in enumerate(rows):
        ground = f' class="{kinds[number]}"' if number < len(kinds) else ""
        lines.append(f"<tr{ground}>" + "".join(f"<td>{_cell(word)}</td>" for word in row) + "</tr>")
    return Marked("\n".join([*lines, "</table>"]))


def picture(png: bytes, text: str) -> Marked:
    """A PNG inside the page, and what it shows for those who cannot see it."""
    return Marked(f'<img alt="{escape(text)}" src="data:image/png;base64,{base64.b64encode(png).decode()}">')


def _cell(text: str) -> str:
    return text if isinstance(text, Marked) else escape(text)
