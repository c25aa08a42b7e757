"""The figures of a race as a line, a table, JSON and a bar chart."""

import json
import math
import statistics

COLORS = {"ours": "#b4483a", "workers": "#d9a05b", "duckdb": "#8a8a3c", "polars": "#3b6ea5", "datafusion": "#7a6a9c"}


def line(race, number):
    """What a query has measured, while others still run."""
    parts = [f"{name} {min(run['seconds'] for run in runs):.3f}" for name, runs in good(race, number).items()]
    parts += [f"{name}: {reason}" for name, reason in race.wrong[number].items()]
    return f"{number:>3}  " + "  ".join(parts)


def good(race, number):
    """The runs of the engines that answered each time."""
    runs = race.runs[number].items()
    return {name: runs for name, runs in runs if runs and all("error" not in run for run in runs)}


def figures(race, title, cores, rounds):
    names = list(race.engines)
    queries = []
    for number in race.runs:
        engines = {}
        for name, runs in good(race, number).items():
            engines[name] = {
                "min": min(run["seconds"] for run in runs),
                "median": statistics.median(run["seconds"] for run in runs),
                "cpu": min(run["cpu"] for run in runs),
                "peak": max(run["peak"] for run in runs),
                "rows": runs[0]["rows"],
            }
        queries.append({"query": number, "engines": engines, "wrong": race.wrong[number]})
    # Sums are over the queries that all engines answered.
    common = [query for query in queries if len(query["engines"]) == len(names)]
    totals = {}
    for name in names:
        of = [query["engines"][name] for query in common]
        first = [query["engines"][names[0]] for query in common]
        ratios = [own["min"] / base["min"] for own, base in zip(of, first)]
        totals[name] = {
            "min": sum(own["min"] for own in of),
            "median": sum(own["median"] for own in of),
            "cpu": sum(own["cpu"] for own in of),
            "peak": max((own["peak"] for own in of), default=0),
            "geometric_mean": math.exp(statistics.mean(map(math.log, ratios))) if ratios else None,
        }
    return {
        "title": title, "cores": cores, "rounds": rounds, "engines": names,
        "queries": queries, "common": [query["query"] for query in common], "totals": totals,
    }


def table(figures):
    names, totals = figures["engines"], figures["totals"]
    head = ["query", *names, "ours / best"]
    rows = []
    for query in figures["queries"]:
        own = query["engines"]
        cells = [f"{own[n]['min']:.3f} {own[n]['median']:.3f}" if n in own else "-" for n in names]
        others = [own[n]["min"] for n in names if n in own and n not in ("ours", "workers")]
        ratio = f"{own['ours']['min'] / min(others):.2f}" if "ours" in own and others else ""
        rows.append([str(query["query"]), *cells, ratio])
    rows.append([f"sum of {len(figures['common'])}", *(f"{totals[n]['min']:.3f} {totals[n]['median']:.3f}" for n in names), ""])
    rows.append(["CPU s", *(f"{totals[n]['cpu']:.2f}" for n in names), ""])
    rows.append(["peak MB", *(f"{totals[n]['peak'] / 1e6:.0f}" for n in names), ""])
    first = totals[names[0]]
    if first["min"]:
        rows.append([f"time / {names[0]}", *(f"{totals[n]['min'] / first['min']:.2f}" for n in names), ""])
        rows.append(["geometric mean", *(f"{totals[n]['geometric_mean']:.2f}" for n in names), ""])
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths)) for row in [head, *rows]]
    lines.insert(0, f"{figures['title']}, {figures['cores']} cores, {figures['rounds']} rounds: least and median seconds")
    for query in figures["queries"]:
        lines += [f"query {query['query']}, {name}: {reason}" for name, reason in query["wrong"].items()]
    return "\n".join(lines)


def write_json(figures, path):
    with open(path, "w") as file:
        json.dump(figures, file, indent=1)


def write_svg(figures, path):
    """Bars of the least times of each query, a group per query."""
    names = figures["engines"]
    bar, gap, left, top, height = 7, 10, 46, 54, 220
    times = [own["min"] for query in figures["queries"] for own in query["engines"].values()]
    most = max(times, default=1)
    group = bar * len(names) + gap
    width = left + group * len(figures["queries"]) + 20
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {top + height + 34}" '
        'font-family="sans-serif" font-size="11" fill="#444">',
        '<rect width="100%" height="100%" fill="#fff"/>',
        f'<text x="{left}" y="18" font-size="14">{figures["title"]}, {figures["cores"]} cores: seconds per query</text>',
    ]
    x = left
    for name in names:
        total = figures["totals"][name]["min"]
        label = f"{name} ({total:.1f} s)"
        color = COLORS.get(name.partition(":")[0], "#999")
        parts.append(f'<rect x="{x}" y="30" width="9" height="9" fill="{color}"/><text x="{x + 13}" y="39">{label}</text>')
        x += 30 + 6.5 * len(label)
    for tick in ticks(most):
        y = top + height - height * tick / most
        parts.append(f'<line x1="{left}" y1="{y:.1f}" x2="{width - 10}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>')
    for place, query in enumerate(figures["queries"]):
        for turn, name in enumerate(names):
            own = query["engines"].get(name)
            if own:
                tall = max(height * own["min"] / most, 1)
                color = COLORS.get(name.partition(":")[0], "#999")
                parts.append(
                    f'<rect x="{left + place * group + turn * bar}" y="{top + height - tall:.1f}" '
                    f'width="{bar - 1}" height="{tall:.1f}" fill="{color}"/>'
                )
        middle = left + place * group + bar * len(names) / 2
        parts.append(f'<text x="{middle:.1f}" y="{top + height + 16}" text-anchor="middle">{query["query"]}</text>')
    parts.append("</svg>")
    with open(path, "w") as file:
        file.write("\n".join(parts) + "\n")


def ticks(most):
    step = 10 ** math.floor(math.log10(most))
    step = next(size for size in (step / 5, step / 2, step, step * 2) if most / size <= 6)
    return [round(step * n, 9) for n in range(int(most / step) + 1)]
