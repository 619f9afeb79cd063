"""The report's page: headings, sentences and pictures in one self-contained HTML file."""

from __future__ import annotations

import base64
import html
import json
import os
from collections.abc import Iterator

import numpy as np

from ...core.io.atomic import atomic_text
from ...core.metrics import rank_correlation
from ..evaluate import remarks, table_rows
from . import figures as draw
from .assets import CSS, SCRIPT
from .content import ReportContent
from .drawing import Picture
from .energy import energy_picture, groups_picture


def write_report(path: str | os.PathLike[str], content: ReportContent) -> None:
    """Write the report; the same content gives the same bytes, and the page loads nothing from elsewhere."""
    atomic_text(path, "".join(_page(content)))


def _page(content: ReportContent) -> Iterator[str]:
    title = html.escape(content.title)
    yield "<!DOCTYPE html>\n<html lang='en'>\n<head>\n<meta charset='utf-8'>\n"
    yield "<meta name='viewport' content='width=device-width, initial-scale=1'>\n"
    yield f"<title>{title}</title>\n<link rel='icon' href='data:,'>\n<style>{CSS}</style>\n</head>\n<body>\n<main>\n"
    yield f"<h1>{title}</h1>\n<p class='soft'>{html.escape(content.source)}</p>\n"
    yield _tiles(content)
    yield _space_section(content)
    yield _energy_section(content)
    yield _group_sections(content)
    space = content.space
    text = "How much of the variation each axis holds" + (
        ", and which normal modes it is made of."
        if space.on == "amplitudes" and space.is_linear
        else f" of the {space.on}."
        if space.is_linear
        else f" of the {space.on}, measured by going back from the axes to particles that were left out."
    )
    yield _section("Explained variance", text, draw.explained_variance(space))
    yield _amplitude_section(content)
    picture = draw.quality(content)
    if picture:
        text = "Score of each particle and the one-sigma errors that the estimation predicts."
        yield _section("Quality of the estimates", text, picture)
    yield _truth_section(content)
    yield _files_section(content)
    yield f"</main>\n<script>{SCRIPT}</script>\n</body>\n</html>\n"


def _tiles(content: ReportContent) -> str:
    space = content.space
    tiles = [
        (f"{len(space.coordinates):,}", "particles"),
        (f"{100 * space.converged.mean():.1f} %", "converged"),
    ]
    if len(space.modes):
        tiles.append((", ".join(map(str, space.modes[:6])) + (" …" if len(space.modes) > 6 else ""), "normal modes"))
    first = f"{space.axis_name} 1"
    tiles.append((f"{100 * space.explained_variance_ratio[0]:.1f} %", f"of the variance along {first}"))
    if content.motion:
        tiles.append((f"{content.motion['rmsd']:.1f} Å", f"RMSD from end to end of {first}"))
    if content.score is not None and np.isfinite(content.score).any():
        tiles.append((f"{np.nanmedian(content.score):.3f}", "median score"))
    if content.figures:
        if "amplitude_mean_abs_error" in content.figures:
            tiles.append((f"{content.figures['amplitude_mean_abs_error']:.1f} Å", "mean amplitude error"))
        if "axis_distance_deg" in content.figures:
            tiles.append((f"{content.figures['axis_distance_deg']['mean']:.2f}°", "mean angle between axes"))
    items = "".join(f"<li><b>{html.escape(value)}</b><span>{label}</span></li>" for value, label in tiles)
    return f"<ul class='tiles'>{items}</ul>\n"


def _space_section(content: ReportContent) -> str:
    picture = draw.conformational_space(content)
    marker = "<span class='marker' id='marker'></span>" if picture.markers and content.motion else ""
    plot = f"<figure><div class='plot'>{_image(picture)}{marker}</div></figure>"
    notes = "".join(f"<li>{html.escape(note)}</li>" for note in content.notes)
    notes = f"<ul class='notes'>{notes}</ul>" if notes else ""
    if not content.motion or content.path is None:
        text = "Where the particles are. With the normal modes (<code>--modes</code>) the motion itself is shown too."
        return f"<section>\n<h2>Conformational space</h2>\n<p>{text}</p>\n{plot}{notes}</section>\n"
    motion = content.motion
    data = {key: motion[key] for key in ("unit", "frames", "starts", "moved")}
    data["positions"] = [round(float(value), 3) for value in content.path[:, 0]]
    data["markers"] = picture.markers
    data["name"] = content.space.axis_name
    data["coordinateUnit"] = content.space.unit
    stored = json.dumps(data, separators=(",", ":"), allow_nan=False)
    name = f"{content.space.axis_name} 1"
    most = max(motion["moved"])
    ghost = "<span style='color:#b3561b'>thin orange line: first frame</span>" if motion["starts"] else ""
    describe = f"Animated {motion['what']} along {name}; parts move by up to {most:.1f} Å."
    return (
        "<section>\n<h2>Motion along the first axis</h2>\n"
        f"<p>The structure from the 2nd to the 98th percentile of the particles along {name}, as {motion['what']}; "
        "the ring in the plot shows where in the conformational space it is. Drag to turn the structure.</p>\n"
        "<div class='pair'>\n<div>\n"
        f"<canvas id='stage' tabindex='0' role='img' aria-label='{html.escape(describe, quote=True)}'></canvas>\n"
        "<div class='controls'><button id='play' type='button'>Play</button>"
        "<input id='position' type='range' min='0' max='1000' value='0' step='1' aria-label='position'>"
        "<output id='where'></output></div>\n"
        f"<div class='scale'>moves by 0 Å <i></i> {most:.1f} Å &ensp;·&ensp; {ghost}</div>\n"
        f"</div>\n{plot}\n</div>\n{notes}"
        f"<script type='application/json' id='motion'>{stored}</script>\n</section>\n"
    )


def _energy_section(content: ReportContent) -> str:
    landscape = content.landscape
    if landscape is None:
        return ""
    axes = len(landscape.surface.grid)
    text = (
        f"Minus the logarithm of the density of particles along the first {'axis' if axes == 1 else 'two axes'}, in "
        f"kT, smoothed by {' and '.join(f'{width:.3g}' for width in landscape.surface.bandwidth)}"
        f"{' ' + content.space.unit if content.space.unit else ''}; the smoothing's effect on valleys and barriers is "
        "taken off. "
        + (
            ""
            if content.space.is_linear
            else "These coordinates are not linear: where they stretch the conformations, the density is lower. "
        )
        + "Errors are those of the number of particles (bootstrap); errors of the single particles widen the "
        "density and lower the barriers."
    )
    lines = "".join(f"<li>{html.escape(line)}</li>" for line in landscape.lines()[1:])
    picture = energy_picture(content.space, landscape)
    return (
        f"<section>\n<h2>Free energy</h2>\n<p>{text}</p>\n<figure>{_image(picture)}</figure>"
        f"<ul class='notes'>{lines}</ul></section>\n"
    )


def _group_sections(content: ReportContent) -> str:
    space, parts = content.space, ""
    if content.labels is not None and content.labels.any():
        names = [f"group {number}" for number in range(1, int(content.labels.max()) + 1)]
        picture = groups_picture(space, content.labels, names)
        parts += _section("Groups", "Groups of particles that were found (_cflexGroup).", picture)
    if len(space.sets) > 1:
        picture = groups_picture(
            space, space.set_index + 1, [f"set {n}: {_short(s)}" for n, s in enumerate(space.sets, 1)]
        )
        parts += _section("Particle sets", "The particle sets that were reduced together (_cflexSet).", picture)
    return parts


def _short(source: str, most: int = 26) -> str:
    return source if len(source) <= most else "…" + source[-most:]


def _amplitude_section(content: ReportContent) -> str:
    if content.amplitudes is None:
        return ""
    text = "Amplitude of each normal mode over all particles."
    if content.n_atoms:
        text += (
            f" An amplitude q moves the {content.n_atoms:,} atoms by an RMSD of |q| / {np.sqrt(content.n_atoms):.1f}."
        )
    numbers, values = content.space.modes, content.amplitudes
    pictures = [draw.amplitude_histograms(numbers, values, content.n_atoms)]
    if len(numbers) > 1:
        pictures.append(draw.amplitude_pairs(numbers, values))
    return _section("Amplitudes of the normal modes", text, *pictures)


def _truth_section(content: ReportContent) -> str:
    errors, figures = content.errors, content.figures
    if errors is None or figures is None:
        return ""
    rows = "".join(_table_row(*row) for row in table_rows(figures))
    lines = "".join(f"<li>{html.escape(line)}</li>" for line in remarks(figures))
    correlation = rank_correlation(content.space.coordinates[:, 0], errors.frame) if errors.frame is not None else None
    if correlation is not None:
        said = (
            f"first axis: rank correlation with the true frame {correlation:.3f} (the sign of an axis has no meaning)"
        )
        lines += f"<li>{said}</li>"
    head = "<tr><th>absolute error</th><th>mean</th><th>std</th><th>median</th></tr>"
    table = f"<table><thead>{head}</thead><tbody>{rows}</tbody></table>"
    pictures = [draw.along_frames(content, correlation), draw.amplitude_errors(errors), draw.pose_errors(errors)]
    shown = "".join(f"<figure>{_image(picture)}</figure>" for picture in pictures if picture)
    return (
        f"<section>\n<h2>Comparison with the truth</h2>\n<p>Errors of {figures['n_particles']:,} particles whose true "
        "parameters are known. The angle between axes is the mean over x, y and z of the angle between the estimated "
        "and the true direction.</p>\n"
        f"<div class='pair'><div>{table}</div><ul class='notes'>{lines}</ul></div>\n{shown}</section>\n"
    )


def _table_row(label: str, values: dict[str, float], unit: str) -> str:
    unit = unit if unit == "°" else f" {unit}"
    columns = ("mean", "std", "median")
    cells = "".join(f"<td>{values[key]:.2f}{unit}</td>" if key in values else "<td></td>" for key in columns)
    return f"<tr><td>{label}</td>{cells}</tr>"


def _files_section(content: ReportContent) -> str:
    if not content.files:
        return ""
    cell = "<td style='text-align:left;white-space:normal'>"
    rows = "".join(
        f"<tr><td><a href='{name}'><code>{name}</code></a></td>{cell}{html.escape(what)}</td></tr>"
        for name, what in content.files
    )
    movie = next((name for name, _ in content.files if name.startswith("axis_1")), None)
    how = ""
    if movie:
        how = (
            "<p style='margin-top:14px'>To see the motion in ChimeraX, type in its command line, in this folder:</p>\n"
            f"<pre>open {movie} coordsets true\ncoordset #1 loop 5 bounce true\ncoordset slider #1</pre>\n"
        )
    return f"<section>\n<h2>Files</h2>\n<table><tbody>{rows}</tbody></table>\n{how}</section>\n"


def _section(heading: str, text: str, *pictures: Picture) -> str:
    shown = "".join(f"<figure>{_image(picture)}</figure>" for picture in pictures)
    return f"<section>\n<h2>{heading}</h2>\n<p>{text}</p>\n{shown}</section>\n"


def _image(picture: Picture) -> str:
    data = base64.b64encode(picture.png).decode("ascii")
    alt = html.escape(picture.alt, quote=True)
    return f"<img width='{picture.width}' alt='{alt}' src='data:image/png;base64,{data}'>"
