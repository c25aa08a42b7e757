#!/usr/bin/env python3
"""Draws docs/bigsql.svg, the picture in the README: runs bigsql with the statements below and renders
what it prints as the text of a terminal. Run it in the root of the repository:

    cargo build --release && docs/picture.py target/release/bigsql
"""

import html
import re
import subprocess
import sys

OUT = "docs/bigsql.svg"
FLAGS = ["--workers", "2"]
STATEMENTS = [
    """select a.name, count(*) as flights, round(avg(f.dep_delay), 1) as mean_delay
from 'testdata/flights/flights/*.parquet' f
join 'testdata/flights/airlines.parquet' a using (carrier)
group by a.name order by flights desc limit 3;""",
    """explain stages select origin, count(*) from 'testdata/flights/flights/*.parquet' group by origin;""",
    """select carrier, avg(f.dep_dealy) from 'testdata/flights/flights/*.parquet' f group by 1;""",
]

COLUMNS = 132  # of the terminal: longer lines are cut
CHARACTER, LINE, MARGIN = 7.8, 17, 16  # width, height and border in pixels

STYLE = f"""
  rect {{ fill: #1b1f27; }}
  text {{ font: 13px ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace;
         fill: #d5d9e0; white-space: pre; }}
  .prompt {{ fill: #7ec699; }} .keyword {{ fill: #82aaff; }} .text {{ fill: #e6c07b; }}
  .error {{ fill: #f07178; }} .dim {{ fill: #7d8590; }}
"""

KEYWORDS = (
    "as by count desc explain from group join limit order select stages using avg round"
).split()
TOKEN = re.compile(r"('[^']*')|\b(" + "|".join(KEYWORDS) + r")\b")


def span(kind, text):
    return f'<tspan class="{kind}">{html.escape(text)}</tspan>' if kind else html.escape(text)


def statement_line(prompt, line):
    """A line as it was typed, with the colours of the prompt."""
    parts, at = [span("prompt", prompt)], 0
    for token in TOKEN.finditer(line):
        parts.append(span(None, line[at : token.start()]))
        parts.append(span("text" if token.group(1) else "keyword", token.group()))
        at = token.end()
    return "".join(parts) + span(None, line[at:])


def output_line(line):
    """A line that bigsql printed."""
    line = line if len(line) <= COLUMNS else line[: COLUMNS - 1] + "…"
    if line.startswith(("error:", "hint:")):
        word, rest = line.split(":", 1)
        return span("error" if word == "error" else "prompt", word + ":") + span(None, rest)
    is_border = line.startswith("+-") or re.fullmatch(r"\d+ rows? in .*", line)
    return span("dim" if is_border else None, line)


def session(program):
    """The lines of the terminal, as SVG."""
    yield span("dim", "$ ") + span(None, "bigsql " + " ".join(FLAGS))
    for statement in STATEMENTS:
        for number, line in enumerate(statement.splitlines()):
            yield statement_line("bigsql> " if number == 0 else "......> ", line)
        command = [program, *FLAGS, "--timer", "on", "-c", statement]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        yield from map(output_line, done.stdout.splitlines())
        yield ""


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: docs/picture.py PROGRAM, which is bigsql")
    lines = list(session(sys.argv[1]))[:-1]
    width, height = round(COLUMNS * CHARACTER + 2 * MARGIN), len(lines) * LINE + 2 * MARGIN
    with open(OUT, "w", encoding="utf-8") as svg:
        svg.write(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">\n')
        svg.write(f"<style>{STYLE}</style>\n")
        svg.write(f'<rect width="{width}" height="{height}" rx="8"/>\n')
        for number, line in enumerate(lines):
            y = MARGIN + LINE * number + 12
            svg.write(f'<text x="{MARGIN}" y="{y}" xml:space="preserve">{line}</text>\n')
        svg.write("</svg>\n")


if __name__ == "__main__":
    main()
