"""The map as a picture: one SVG file, without scripts, fonts or anything from elsewhere."""

import math
from xml.sax.saxutils import escape

from p2pnode.cli.map import standing, waiting
from p2pnode.cli.terminal import clean
from p2pnode.schema import Map, MapEntry, Meetings

SVG = "http://www.w3.org/2000/svg"

MOST = 200
"""Contacts drawn; of more, those met most often."""

LONGEST = 28
"""Characters of a name drawn."""

WIDTH, ROW, TOP = 800, 56, 60
LEFT, RIGHT, CENTRE = 250, WIDTH - 250, WIDTH // 2

DASHES = ("", "7 4", "2 4", "10 3 2 3", "1 6", "14 4")
"""Each transport's line: they differ without colours too."""

STYLE = """
svg { color-scheme: light dark; background: #fff; font: 14px system-ui, sans-serif; }
text { fill: #1a1a1a; } .small { font-size: 12px; fill: #555; }
.you, .here { fill: #1a1a1a; } .away { fill: #fff; stroke: #1a1a1a; stroke-width: 2; }
path { fill: none; }
.t0 { stroke: #0b62a8; } .t1 { stroke: #a33b00; } .t2 { stroke: #00704a; }
.t3 { stroke: #8a2a86; } .t4 { stroke: #6b5900; } .t5 { stroke: #555; }
@media (prefers-color-scheme: dark) {
  svg { background: #16181c; } text { fill: #eee; } .small { fill: #aaa; }
  .you, .here { fill: #eee; } .away { fill: #16181c; stroke: #eee; }
  .t0 { stroke: #6cb8f5; } .t1 { stroke: #ff9a62; } .t2 { stroke: #5fd3a4; }
  .t3 { stroke: #e29ade; } .t4 { stroke: #d9c35a; } .t5 { stroke: #aaa; }
}
"""


def svg(found: Map, now: int) -> str:
    """Return the map as SVG. now: wall time, for how long ago things were."""
    places = sorted(found.places, key=_often, reverse=True)[:MOST]
    transports = sorted({met.transport for place in places for met in place.met})
    style = {name: number % len(DASHES) for number, name in enumerate(transports)}
    height = TOP + ROW * max(2, math.ceil(len(places) / 2)) + 40
    middle = (TOP + height - 40) / 2
    view = f'viewBox="0 0 {WIDTH} {height}"'
    lines = [
        f'<svg xmlns="{SVG}" width="{WIDTH}" height="{height}" {view} role="img">',
        f"<title>{_text(f'Whom {found.name} met in {found.days} days')}</title>",
        f"<style>{STYLE}</style>",
        f'<text x="20" y="30">{_text(f"Whom {found.name} met in {found.days} days")}</text>',
    ]
    for number, place in enumerate(places):
        x = LEFT if number % 2 else RIGHT
        y = TOP + ROW * (number // 2) + ROW / 2
        lines += _links(place, x, y, middle, style)
    for number, place in enumerate(places):
        x = LEFT if number % 2 else RIGHT
        lines += _person(place, x, TOP + ROW * (number // 2) + ROW / 2, now)
    lines.append(f'<circle class="you" cx="{CENTRE}" cy="{middle:g}" r="10"/>')
    lines.append(f'<text x="{CENTRE}" y="{middle + 28:g}" text-anchor="middle">you</text>')
    lines += _legend(style, height - 16, len(found.places) - len(places))
    return "\n".join([*lines, "</svg>", ""])


def _often(place: MapEntry) -> int:
    return sum(sum(met.days) for met in place.met)


def _links(place: MapEntry, x: float, y: float, middle: float, style: dict[str, int]) -> list[str]:
    lines = []
    for number, met in enumerate(place.met):
        bend = (number - (len(place.met) - 1) / 2) * 24
        lines.append(
            f'<path class="t{style[met.transport]}" {_dashed(style[met.transport])}'
            f'stroke-width="{_width(met):g}"'
            f' d="M{CENTRE} {middle:g} Q{(CENTRE + x) / 2:g} {y + bend:g} {x:g} {y:g}"/>'
        )
    return lines


def _width(met: Meetings) -> float:
    """Return a line's width: one step more for each doubling."""
    return round(1.5 + 0.75 * math.log2(1 + sum(met.days)), 2)


def _dashed(style: int) -> str:
    return f'stroke-dasharray="{DASHES[style]}" ' if DASHES[style] else ""


def _person(place: MapEntry, x: float, y: float, now: int) -> list[str]:
    outward = -16 if x < CENTRE else 16
    anchor = "end" if x < CENTRE else "start"
    kind = "here" if place.peer.over else "away"
    said = ", ".join(filter(None, (standing(place, now), waiting(place))))
    place_ = f'x="{x + outward:g}" text-anchor="{anchor}"'
    return [
        f'<circle class="{kind}" cx="{x:g}" cy="{y:g}" r="7"/>',
        f'<text {place_} y="{y - 1:g}">{_text(place.peer.name, longest=LONGEST)}</text>',
        f'<text {place_} y="{y + 15:g}" class="small">{_text(said, longest=60)}</text>',
    ]


def _legend(style: dict[str, int], y: float, more: int) -> list[str]:
    lines = []
    x = 20.0
    for name, number in style.items():
        lines.append(
            f'<path class="t{number}" {_dashed(number)}stroke-width="3" d="M{x:g} {y - 4:g} h36"/>'
        )
        lines.append(f'<text x="{x + 44:g}" y="{y:g}" class="small">{_text(name)}</text>')
        x += 70 + 8 * min(len(name), LONGEST)
    if more > 0:
        lines.append(
            f'<text x="{WIDTH - 20}" y="{y:g}" class="small" text-anchor="end">'
            f"and {more} more</text>"
        )
    return lines


def _text(text: str, longest: int = 60) -> str:
    """Return a text that shows as itself: nothing in it is markup or moves anything."""
    shown = "".join(char for char in clean(text) if ord(char) & 0xFFFE != 0xFFFE)
    shown = shown if len(shown) <= longest else shown[: longest - 1] + "…"
    return escape(shown)
