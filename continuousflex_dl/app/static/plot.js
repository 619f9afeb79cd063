// The scatter plot: counts of all particles as a picture, a sample of them as WebGL points, drawing of outlines and paths.

import { postArrays } from './api.js';
import { GROUPS, INK, SELECTED, guarded, h, later, latest, whole } from './tools.js';

const MODES = { lasso: 'drawclosedpath', box: 'drawrect', path: 'drawopenpath', move: 'pan' };
const CONFIG = {
  responsive: true, scrollZoom: true, displaylogo: false, displayModeBar: 'hover',
  modeBarButtonsToRemove: ['select2d', 'lasso2d', 'pan2d', 'zoom2d', 'toImage', 'autoScale2d'],
};
const NUMBER = /-?\d+(?:\.\d+)?(?:e[+-]?\d+)?/gi;
// without WebGL the points are drawn as vectors, which is slow but right
const POINTS = document.createElement('canvas').getContext('webgl') ? 'scattergl' : 'scatter';
const LEAST_DISTANCE_PX = 3;

export class Plot {
  // told: { drawn(kind, corners), moved(values), picked(values), changed(text) }
  constructor(place, number, told) {
    this.place = place;
    this.number = number;
    this.told = told;
    this.mode = 'lasso';
    this.marks = { outline: null, path: null, at: null };
    this.window = null;
    this.refetch = later(guarded(() => this.load()), 180);
    this.follow = latest((event) => this.onMove(event));
    place.addEventListener('mousemove', (event) => { if (this.following) this.follow(event); });
    // a click, whatever is drawn by dragging; while the button is down Plotly covers the page
    let down = null;
    const far = (event) => down && Math.hypot(event.clientX - down.clientX, event.clientY - down.clientY) >= LEAST_DISTANCE_PX;
    place.addEventListener('mousedown', (event) => { down = event.button === 0 && event.detail === 1 ? event : null; }, true);
    window.addEventListener('mousemove', (event) => { if (far(event)) down = null; }, true);  // an outline ends where it began
    window.addEventListener('mouseup', guarded((event) => {
      const values = down && this.valuesAt(event);
      down = null;
      return values ? this.told.picked(values) : undefined;
    }), true);
    // marks are drawn over the plot: drawing the points again for each of them is slow without a graphics card
    this.overlay = h('canvas', { class: 'overlay', 'aria-hidden': 'true' });
    new ResizeObserver(() => { if (this.gd) window.Plotly.Plots.resize(this.place); }).observe(place);
  }

  async setAxes({ x, y, z, color }) {
    this.axes = { x, y, z, color };
    this.window = null;
    this.selection = null;
    this.linked = null;
    this.marks.outline = null;
    await this.load(true);
  }

  get flat() { return !this.axes.z; }

  async load(fresh = false) {
    const { x, y, z, color } = this.axes;
    const ask = { x: x.name, y: y.name, z: z?.name, color: color?.name, window: this.flat ? this.window : null };
    const { head, arrays } = await postArrays(`${this.number}/scene`, ask);
    const [counts, px, py, ...rest] = arrays;
    this.scene = { head, counts, x: px, y: py, z: z ? rest[0] : null, color: rest[z ? 1 : 0], rows: rest[z ? 2 : 1] };
    await this.draw(fresh);
    const drawn = px.length;
    this.told.changed(drawn < head.inside
      ? `${whole(drawn)} of ${whole(head.inside)} particles drawn as points, a fair sample; density and selections take all`
      : `all ${whole(head.inside)} particles ${this.window ? 'in this window ' : ''}drawn`);
    this.place.dataset.points = drawn;
    this.place.dataset.loads = Number(this.place.dataset.loads || 0) + 1;
  }

  async setSelection(points) { this.selection = points; await this.mark(); }
  async setLinked(points) { this.linked = points; await this.mark(); }
  async setMarks(marks) { Object.assign(this.marks, marks); await this.mark(); }
  async mark() { if (this.flat) this.paint(); else await this.draw(); }
  async setMode(mode) { this.mode = mode; if (this.gd && this.flat) await window.Plotly.relayout(this.place, { dragmode: MODES[mode] }); }
  async setPalette(palette) { this.palette = palette; if (this.scene) await this.draw(); }

  async draw(fresh = false) {
    const layout = this.layout();
    if (this.gd && !fresh) for (const axis of ['xaxis', 'yaxis']) layout[axis].range = this.gd.layout[axis]?.range || layout[axis].range;
    if (this.flat && this.window && !fresh) {
      layout.xaxis.range = this.window.slice(0, 2);
      layout.yaxis.range = this.window.slice(2);
    }
    this.gd = await window.Plotly.react(this.place, this.traces(), layout, CONFIG);
    if (!this.heard) {
      this.heard = true;
      this.gd.on('plotly_relayout', guarded((event) => this.onRelayout(event)));
      for (const event of ['plotly_afterplot', 'plotly_relayouting']) this.gd.on(event, () => this.paint());
      this.place.parentElement.append(this.overlay);
    }
    this.paint();
  }

  // Selection, outline, path and place, over a flat plot.
  paint() {
    const { overlay, place, marks } = this;
    const pixels = window.devicePixelRatio || 1;
    const { clientWidth: width, clientHeight: height } = place;
    if (overlay.width !== width * pixels || overlay.height !== height * pixels) Object.assign(overlay, { width: width * pixels, height: height * pixels });
    const ink = overlay.getContext('2d');
    ink.setTransform(pixels, 0, 0, pixels, 0, 0);
    ink.clearRect(0, 0, width, height);
    if (!this.flat || !this.gd?._fullLayout?.xaxis) return;
    const { xaxis, yaxis } = this.gd._fullLayout;
    const at = ([x, y]) => [xaxis._offset + xaxis.d2p(x), yaxis._offset + yaxis.d2p(y)];
    ink.save();
    ink.beginPath();
    ink.rect(xaxis._offset, yaxis._offset, xaxis._length, yaxis._length);
    ink.clip();
    if (this.selection) {
      ink.fillStyle = SELECTED;
      const size = this.scene.x.length > 3000 ? 2 : 5;
      const [sx, sy] = this.selection;
      for (let k = 0; k < sx.length; k++) {
        const [px, py] = at([sx[k], sy[k]]);
        ink.beginPath();
        ink.arc(px, py, size / 2 + 0.5, 0, 7);
        ink.fill();
      }
    }
    if (this.linked) {
      const arm = this.scene.x.length > 3000 ? 2.5 : 4;
      ink.beginPath();
      const [lx, ly] = this.linked;
      for (let k = 0; k < lx.length; k++) {
        const [px, py] = at([lx[k], ly[k]]);
        ink.moveTo(px - arm, py - arm);
        ink.lineTo(px + arm, py + arm);
        ink.moveTo(px - arm, py + arm);
        ink.lineTo(px + arm, py - arm);
      }
      for (const [color, width] of [['#fff', 3.5], [INK, 1.3]]) { Object.assign(ink, { strokeStyle: color, lineWidth: width }); ink.stroke(); }
    }
    const line = (points, color, width, close) => {
      ink.beginPath();
      points.forEach((point, k) => ink[k ? 'lineTo' : 'moveTo'](...at(point)));
      if (close) ink.closePath();
      Object.assign(ink, { strokeStyle: color, lineWidth: width, lineJoin: 'round' });
      ink.stroke();
    };
    if (marks.outline) line(marks.outline, SELECTED, 2, true);
    if (marks.path) { line(marks.path, '#fff', 4.5, false); line(marks.path, INK, 2, false); }
    for (const [k, basin] of (marks.basins || []).entries()) {
      const [px, py] = at(basin);
      Object.assign(ink, { font: '600 13px system-ui, sans-serif', strokeStyle: '#fff', lineWidth: 3, fillStyle: INK, textAlign: 'center' });
      ink.strokeText(`▾${k + 1}`, px, py);
      ink.fillText(`▾${k + 1}`, px, py);
    }
    if (marks.at) {
      ink.beginPath();
      ink.arc(...at(marks.at), 6, 0, 7);
      Object.assign(ink, { fillStyle: '#fff', strokeStyle: INK, lineWidth: 3 });
      ink.fill();
      ink.stroke();
    }
    ink.restore();
  }

  traces() {
    const { head, counts, x, y, z, color, rows } = this.scene;
    const { color: by } = this.axes;
    const many = x.length < head.inside;
    const scale = this.palette || 'Viridis';
    const traces = [];
    if (this.flat && many) traces.push(this.cells(head, counts, by ? 'Greys' : scale));
    const size = Math.max(1.8, Math.min(6, 60 / Math.sqrt(x.length) + 1.6));
    let marker;
    if (by?.whole) {
      marker = { color: Array.from(color, (k) => GROUPS[Math.abs(Math.round(k)) % GROUPS.length]) };
    } else {
      const title = by ? title_of(by) : 'local density';
      marker = { color, colorscale: scale, showscale: Boolean(by) || !many, colorbar: bar(title, !by) };
    }
    const hover = `${head_of(this.axes.x)} %{x:.4g}<br>${head_of(this.axes.y)} %{y:.4g}<br>particle %{customdata}<extra></extra>`;
    const shared = { mode: 'markers', x, y, customdata: Array.from(rows, (row) => row + 1), hovertemplate: hover, name: 'particles' };
    marker.size = z ? Math.max(1.5, size * 0.6) : size;
    marker.opacity = many && !by ? 0.55 : 0.85;
    traces.push(z ? { ...shared, type: 'scatter3d', z, marker } : { ...shared, type: POINTS, marker });
    if (this.flat) return traces;  // marks are painted over it
    if (this.selection) {
      const [sx, sy, sz] = this.selection;
      const ring = { color: SELECTED, size: marker.size + 1, opacity: 0.8 };
      traces.push({ type: 'scatter3d', mode: 'markers', hoverinfo: 'skip', name: 'selected', x: sx, y: sy, z: sz, marker: ring });
    }
    if (this.linked) {
      const [lx, ly, lz] = this.linked;
      traces.push({ type: 'scatter3d', mode: 'markers', hoverinfo: 'skip', name: 'beside', x: lx, y: ly, z: lz, marker: { color: INK, symbol: 'x', size: marker.size } });
    }
    return [...traces, ...this.drawings()];
  }

  // Path and place in three dimensions.
  drawings() {
    const { path, at } = this.marks;
    const line = (points, look) => ({ type: 'scatter3d', hoverinfo: 'skip', x: points.map((p) => p[0]), y: points.map((p) => p[1]), z: points.map((p) => p[2] ?? 0), ...look });
    const found = [];
    if (path) found.push(line(path, { mode: 'lines+markers', line: { color: INK, width: 2 }, marker: { color: INK, size: 3 }, name: 'path' }));
    if (at) found.push(line([at], { mode: 'markers', marker: { color: '#fff', size: 12, symbol: 'circle', line: { color: INK, width: 3 } }, name: 'here' }));
    return found;
  }

  cells(head, counts, colorscale) {
    const [nx, ny] = head.bins;
    const [x0, x1, y0, y1] = head.window;
    const z = [];
    let top = 1;
    for (let j = 0; j < ny; j++) {
      const row = new Array(nx);
      for (let i = 0; i < nx; i++) {
        const k = counts[j * nx + i];
        row[i] = k ? Math.log10(1 + k) : null;
        if (k > top) top = k;
      }
      z.push(row);
    }
    const ticks = [1, 10, 100, 1000, 10000, 100000].filter((k) => k <= top);
    const dx = (x1 - x0) / nx;
    const dy = (y1 - y0) / ny;
    return {
      type: 'heatmap', z, x0: x0 + dx / 2, dx, y0: y0 + dy / 2, dy, colorscale, reversescale: colorscale === 'Greys', hoverinfo: 'skip',
      zsmooth: 'fast', showscale: colorscale !== 'Greys', opacity: colorscale === 'Greys' ? 0.35 : 1,
      colorbar: { ...bar('particles per cell'), tickvals: ticks.map((k) => Math.log10(1 + k)), ticktext: ticks.map(whole) },
    };
  }

  layout() {
    const { x, y, z } = this.axes;
    const [x0, x1, y0, y1] = this.scene.head.window;
    const axis = (column, range) => ({
      title: { text: title_of(column), standoff: 6 }, range, zeroline: false, gridcolor: '#e7ebef', ticks: 'outside', automargin: true,
      ...(range ? {} : { autorange: true }),
    });
    const shared = {
      margin: { l: 56, r: 8, t: 22, b: 44 }, showlegend: false, font: { size: 12, color: INK }, hovermode: 'closest',
      paper_bgcolor: '#fff', plot_bgcolor: '#fff', uirevision: `${x.name} ${y.name} ${z?.name}`,
    };
    if (z) return { ...shared, xaxis: {}, yaxis: {}, scene: { xaxis: axis(x), yaxis: axis(y), zaxis: axis(z), aspectmode: 'cube' } };
    return {
      ...shared, xaxis: axis(x, [x0, x1]), yaxis: axis(y, [y0, y1]), dragmode: MODES[this.mode], shapes: [],
      newshape: { line: { color: SELECTED, width: 2 }, fillcolor: 'rgba(213,94,0,0.12)' },
    };
  }

  async onRelayout(event) {
    const shape = event.shapes?.[0];
    if (shape) {
      const corners = shape.type === 'rect'
        ? [[shape.x0, shape.y0], [shape.x1, shape.y0], [shape.x1, shape.y1], [shape.x0, shape.y1]]
        : this.thinned(pairs(shape.path));
      await window.Plotly.relayout(this.place, { shapes: [] });
      if (corners.length >= (this.mode === 'path' ? 2 : 3)) await this.told.drawn(this.mode === 'path' ? 'path' : 'outline', corners);
      return;
    }
    if (!this.flat) return;
    if (event['xaxis.autorange'] || event['yaxis.autorange']) {
      this.window = null;
      await this.load(true);
    } else if (event['xaxis.range[0]'] !== undefined || event['yaxis.range[0]'] !== undefined || event['xaxis.range']) {
      const { xaxis, yaxis } = this.gd.layout;
      this.window = [...xaxis.range, ...yaxis.range].map(Number);
      this.refetch();
    }
  }

  // A drawn line has a corner per mouse event; those closer than a few pixels say nothing.
  thinned(points) {
    const { xaxis, yaxis } = this.gd._fullLayout;
    const kept = [];
    let last = null;
    for (const point of points) {
      const at = [xaxis.d2p(point[0]), yaxis.d2p(point[1])];
      if (!last || Math.hypot(at[0] - last[0], at[1] - last[1]) >= LEAST_DISTANCE_PX) { kept.push(point); last = at; }
    }
    return kept;
  }

  async onMove(event) {
    const values = this.valuesAt(event);
    if (values) await this.told.moved(values);
  }

  // Values of the two columns under the cursor; null outside.
  valuesAt(event) {
    if (!this.flat || !this.gd?._fullLayout) return null;
    const { xaxis, yaxis } = this.gd._fullLayout;
    const box = this.place.getBoundingClientRect();
    const px = event.clientX - box.left - xaxis._offset;
    const py = event.clientY - box.top - yaxis._offset;
    if (px < 0 || py < 0 || px > xaxis._length || py > yaxis._length) return null;
    return { [this.axes.x.name]: xaxis.p2d(px), [this.axes.y.name]: yaxis.p2d(py) };
  }

  // What is seen, for the command that draws it.
  asked() {
    const { x, y, z, color } = this.axes;
    const seen = { x: x.name, y: y.name, z: z?.name, color: color?.name, palette: (this.palette || 'Viridis').toLowerCase() };
    if (this.flat) return { ...seen, window: this.window || undefined };
    const eye = this.gd._fullLayout.scene._scene?.getCamera().eye || { x: 1.25, y: 1.25, z: 1.25 };
    const degrees = (tangent) => Math.round((1800 * tangent) / Math.PI) / 10;
    return { ...seen, direction: [degrees(Math.atan2(eye.z, Math.hypot(eye.x, eye.y))), degrees(Math.atan2(eye.y, eye.x))] };
  }
}

function pairs(path) {
  const numbers = (path.match(NUMBER) || []).map(Number);
  const found = [];
  for (let k = 0; k + 1 < numbers.length; k += 2) found.push([numbers[k], numbers[k + 1]]);
  return found;
}

export const title_of = (column) => column.unit ? `${column.label} [${column.unit}]` : column.label;
const head_of = (column) => column.label;
const bar = (text, plain = false) => ({ title: { text, side: 'right' }, thickness: 11, outlinewidth: 0, len: 0.9, x: 1.01, ...(plain ? { showticklabels: false, ticks: '' } : {}) });
