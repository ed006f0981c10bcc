"""A picture of a run: how many of the messages had come after how long."""

from xml.sax.saxutils import escape

from p2pnode.sim.report import Report

WIDTH, HEIGHT, LEFT, TOP, BOTTOM, RIGHT = 860, 420, 60, 50, 50, 240
COLOURS = ("#1b6ca8", "#0b8a5f", "#888888", "#b0b0b0", "#d98c00", "#b3261e", "#6a4c93")
POINTS = 200
"""Points of a line at most: a picture of a thousand messages need not be a megabyte."""


def svg(report: Report) -> str:
    """Return the picture as an SVG document."""
    longest = max((row.delays[-1] for row in report.rows if row.delays), default=1.0) / 60
    across, up = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def x(hours: float) -> float:
        return LEFT + across * hours / max(longest, 1e-9)

    def y(share: float) -> float:
        return TOP + up * (1 - share)

    size = f'width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}"'
    what = f"{report.nodes} nodes, {report.days:g} days, {report.messages} messages"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="24" font-size="16">{escape(report.title)}</text>',
        f'<text x="{LEFT}" y="42" fill="#555">{what}, seed {report.seed}</text>',
    ]
    for tenth in range(0, 11, 2):
        at = y(tenth / 10)
        parts.append(
            f'<path d="M{LEFT} {at:.1f}H{LEFT + across}" stroke="#ddd"/>'
            f'<text x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{tenth * 10} %</text>'
        )
    for quarter in range(5):
        hours = longest * quarter / 4
        parts.append(
            f'<text x="{x(hours):.1f}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">'
            f"{hours:.1f}</text>"
        )
    parts.append(
        f'<text x="{LEFT + across / 2}" y="{HEIGHT - 10}" text-anchor="middle">'
        "hours since it was written</text>"
    )
    for number, row in enumerate(report.rows):
        colour = COLOURS[number % len(COLOURS)]
        every = max(1, len(row.delays) // POINTS)
        steps = [
            (x(delay / 60), y((at + 1) / max(1, report.messages)))
            for at, delay in enumerate(row.delays)
            if at % every == 0 or at == len(row.delays) - 1
        ]
        line = f"M{x(0):.1f} {y(0):.1f}" + "".join(f"L{a:.1f} {b:.1f}" for a, b in steps)
        parts.append(f'<path d="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        at = TOP + 18 + 22 * number
        parts.append(
            f'<path d="M{WIDTH - RIGHT + 20} {at - 4}h22" stroke="{colour}" stroke-width="3"/>'
            f'<text x="{WIDTH - RIGHT + 50}" y="{at}">{escape(row.name)}'
            f" {100 * row.delivered:.0f} %</text>"
        )
    return "\n".join([*parts, "</svg>", ""])
