"""Style and script of the report, inlined into the page so that one file is all there is."""

CSS = """
:root { --ink: #1d2530; --soft: #5b6470; --line: #dde1e6; --blue: #0072b2; --orange: #d55e00; --paper: #fff;
  --wash: #f5f7f9; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--wash); color: var(--ink);
  font: 15px/1.5 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 24px 20px 60px; }
h1 { font-size: 25px; margin: 0 0 2px; line-height: 1.25; }
h2 { font-size: 18px; margin: 0 0 4px; }
p { margin: 4px 0 10px; max-width: 76ch; }
.soft, figcaption { color: var(--soft); font-size: 13.5px; }
section { background: var(--paper); border: 1px solid var(--line); border-radius: 8px; padding: 18px 20px;
  margin-top: 18px; }
.tiles { display: flex; flex-wrap: wrap; gap: 10px; margin: 18px 0 0; padding: 0; list-style: none; }
.tiles li { background: var(--paper); border: 1px solid var(--line); border-radius: 8px; padding: 8px 14px 9px;
  min-width: 118px; flex: 1; }
.tiles b { display: block; font-size: 21px; font-weight: 650; line-height: 1.25; font-variant-numeric: tabular-nums; }
.tiles span { color: var(--soft); font-size: 12.5px; }
.pair { display: flex; flex-wrap: wrap; gap: 22px; align-items: flex-start; }
.pair > * { flex: 1 1 440px; min-width: 0; }
figure { margin: 10px 0 0; }
img { max-width: 100%; height: auto; display: block; }
.plot { position: relative; display: inline-block; max-width: 100%; }
.marker { position: absolute; width: 17px; height: 17px; margin: -8.5px 0 0 -8.5px;
  border: 3px solid var(--orange); border-radius: 50%; background: rgba(255,255,255,.55); pointer-events: none;
  }
canvas { width: 100%; height: 420px; display: block; border: 1px solid var(--line); border-radius: 6px;
  background: #fff; cursor: grab; touch-action: none; }
canvas:active { cursor: grabbing; }
.controls { display: flex; gap: 10px; align-items: center; margin-top: 8px; }
.controls input { flex: 1; accent-color: var(--orange); }
button { font: inherit; font-size: 14px; padding: 3px 14px; border: 1px solid #b7bec7; border-radius: 6px;
  background: #fff; color: var(--ink); cursor: pointer; min-width: 76px; }
button:hover { border-color: var(--blue); }
output { font-variant-numeric: tabular-nums; font-size: 13.5px; min-width: 110px; text-align: right; }
.scale { display: flex; align-items: center; gap: 8px; font-size: 12.5px; color: var(--soft); margin-top: 6px; }
.scale i { width: 130px; height: 9px; border-radius: 3px;
  background: linear-gradient(90deg, #78828f, #0072b2, #0a346e); }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 14px; }
th, td { text-align: right; padding: 3px 14px 3px 0; border-bottom: 1px solid var(--line); white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
th { font-weight: 600; color: var(--soft); font-size: 13px; }
ul.notes { margin: 8px 0 0; padding-left: 20px; font-size: 13.5px; color: var(--soft); }
code { background: var(--wash); border: 1px solid var(--line); border-radius: 4px; padding: 0 5px; font-size: 13px; }
pre { background: var(--wash); border: 1px solid var(--line); border-radius: 6px; padding: 9px 12px;
  font-size: 13px; overflow-x: auto; }
@media print {
  body { background: #fff; font-size: 11pt; } main { max-width: none; padding: 0; }
  section { border: 0; padding: 8px 0; break-inside: avoid; } .controls { display: none; } canvas { height: 300px; }
}
"""

# Draws the trace on a plain canvas: rotation by mouse, near parts darker and thicker, colour by how far a part moves.
SCRIPT = """
(() => {
  const store = document.getElementById('motion');
  if (!store) return;
  const data = JSON.parse(store.textContent);
  const canvas = document.getElementById('stage'), slider = document.getElementById('position');
  const button = document.getElementById('play'), readout = document.getElementById('where');
  const marker = document.getElementById('marker');
  const frames = data.frames, last = frames.length - 1, count = frames[0].length / 3;
  const begins = new Uint8Array(count);
  data.starts.forEach(i => { begins[i] = 1; });
  const dots = data.starts.length === 0;
  const most = Math.max(...data.moved, 1e-9);
  let reach = 1, wide = 1, tall = 1;
  for (const frame of frames) for (let i = 0; i < count; i++) {
    reach = Math.max(reach, Math.hypot(frame[3 * i], frame[3 * i + 1], frame[3 * i + 2]));
    wide = Math.max(wide, Math.abs(frame[3 * i]));
    tall = Math.max(tall, Math.abs(frame[3 * i + 1]));
  }
  let turn = [1, 0, 0, 0, 1, 0, 0, 0, 1], zoom = 1, grabbed = null, playing = false, clock = 0;
  const now = new Float64Array(3 * count), ghost = new Float64Array(3 * count);

  const ramp = t => {  // grey (still) to dark blue (moves most)
    const stops = [[120, 130, 143], [0, 114, 178], [10, 52, 110]];
    const k = Math.min(1, Math.floor(t * 2)), f = t * 2 - k;
    return stops[k].map((v, i) => v + f * (stops[k + 1][i] - v));
  };
  const colours = data.moved.map(m => ramp(m / most));

  const project = (source, target, mix, other) => {
    for (let i = 0; i < count; i++) {
      const a = 3 * i;
      const x = source[a] + mix * (other[a] - source[a]);
      const y = source[a + 1] + mix * (other[a + 1] - source[a + 1]);
      const z = source[a + 2] + mix * (other[a + 2] - source[a + 2]);
      for (let r = 0; r < 3; r++) target[a + r] = turn[3 * r] * x + turn[3 * r + 1] * y + turn[3 * r + 2] * z;
    }
  };

  const draw = () => {
    const ratio = window.devicePixelRatio || 1, width = canvas.clientWidth, height = canvas.clientHeight;
    if (canvas.width !== Math.round(width * ratio)) canvas.width = Math.round(width * ratio);
    if (canvas.height !== Math.round(height * ratio)) canvas.height = Math.round(height * ratio);
    const pen = canvas.getContext('2d');
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    const place = Number(slider.value) / Number(slider.max) * last;
    const low = Math.min(Math.floor(place), Math.max(last - 1, 0));
    project(frames[low], now, place - low, frames[Math.min(low + 1, last)]);
    project(frames[0], ghost, 0, frames[0]);
    const always = 0.46 * Math.min(width, height) / reach;  // fits however it is turned
    const scale = zoom * Math.min(1.3 * always, 0.46 * width / wide, 0.44 * height / tall);
    const cx = width / 2, cy = height / 2;
    pen.lineCap = 'round';
    if (!dots) {
      pen.strokeStyle = 'rgba(213,94,0,0.42)'; pen.lineWidth = 1.2; pen.beginPath();
      for (let i = 0; i < count; i++) {
        const x = cx + scale * ghost[3 * i], y = cy - scale * ghost[3 * i + 1];
        if (begins[i]) pen.moveTo(x, y); else pen.lineTo(x, y);
      }
      pen.stroke();
    }
    const order = Array.from({ length: count }, (_, i) => i).sort((a, b) => now[3 * a + 2] - now[3 * b + 2]);
    for (const i of order) {
      if (!dots && begins[i]) continue;
      const near = 0.5 + 0.5 * Math.max(-1, Math.min(1, now[3 * i + 2] / (0.8 * reach)));
      const fade = 0.5 * (1 - near), c = colours[i];
      pen.strokeStyle = pen.fillStyle = 'rgb(' + c.map(v => Math.round(v + fade * (255 - v))).join(',') + ')';
      const x = cx + scale * now[3 * i], y = cy - scale * now[3 * i + 1];
      pen.beginPath();
      if (dots) { pen.arc(x, y, 1.2 + 2 * near, 0, 7); pen.fill(); continue; }
      pen.lineWidth = 1.6 + 3.2 * near;
      pen.moveTo(cx + scale * now[3 * i - 3], cy - scale * now[3 * i - 2]);
      pen.lineTo(x, y); pen.stroke();
    }
    const angst = 20, bar = angst / data.unit * scale;
    pen.strokeStyle = pen.fillStyle = '#1d2530'; pen.lineWidth = 2;
    pen.beginPath(); pen.moveTo(14, height - 14); pen.lineTo(14 + bar, height - 14); pen.stroke();
    pen.font = '12px system-ui, sans-serif'; pen.fillText(angst + ' \\u00c5', 14, height - 20);
    const pc = data.positions[low] + (place - low) * (data.positions[Math.min(low + 1, last)] - data.positions[low]);
    readout.textContent = data.name + ' 1 = ' +
      (data.coordinateUnit ? pc.toFixed(1) + ' ' + data.coordinateUnit : pc.toFixed(2));
    if (marker && data.markers) {
      const a = data.markers[low], b = data.markers[Math.min(low + 1, last)], f = place - low;
      marker.style.left = 100 * (a[0] + f * (b[0] - a[0])) + '%';
      marker.style.top = 100 * (a[1] + f * (b[1] - a[1])) + '%';
    }
  };

  const rotate = (dx, dy) => {
    const cy = Math.cos(dx), sy = Math.sin(dx), cx = Math.cos(dy), sx = Math.sin(dy);
    const m = [cy, 0, sy, sx * sy, cx, -sx * cy, -cx * sy, sx, cx * cy], out = new Array(9);
    for (let r = 0; r < 3; r++) for (let c = 0; c < 3; c++)
      out[3 * r + c] = m[3 * r] * turn[c] + m[3 * r + 1] * turn[3 + c] + m[3 * r + 2] * turn[6 + c];
    turn = out;
  };
  canvas.addEventListener('pointerdown', e => { grabbed = [e.clientX, e.clientY];
  canvas.setPointerCapture(e.pointerId); });;
  canvas.addEventListener('pointerup', () => { grabbed = null; });
  canvas.addEventListener('pointermove', e => {
    if (!grabbed) return;
    rotate((e.clientX - grabbed[0]) * 0.01, (e.clientY - grabbed[1]) * 0.01);
    grabbed = [e.clientX, e.clientY]; draw();
  });
  canvas.addEventListener('keydown', e => {
    const step = { ArrowLeft: [-0.12, 0], ArrowRight: [0.12, 0], ArrowUp: [0, -0.12], ArrowDown: [0, 0.12] }[e.key];
    if (step) { rotate(...step); e.preventDefault(); draw(); }
    if (e.key === '+' || e.key === '-') { zoom *= e.key === '+' ? 1.15 : 1 / 1.15; draw(); }
  });
  canvas.addEventListener('wheel', e => {
    if (!e.ctrlKey && !e.shiftKey) return;  // plain wheel scrolls the page
    zoom *= (e.deltaY || e.deltaX) < 0 ? 1.1 : 1 / 1.1; e.preventDefault(); draw();
  }, { passive: false });
  slider.addEventListener('input', () => { stop(); draw(); });
  const stop = () => { playing = false; button.textContent = 'Play'; };
  const step = time => {
    if (!playing) return;
    const phase = ((time - clock) / 5000) % 1;  // there and back in five seconds
    slider.value = Number(slider.max) * (0.5 - 0.5 * Math.cos(2 * Math.PI * phase));
    draw(); requestAnimationFrame(step);
  };
  const start = () => {
    playing = true; button.textContent = 'Pause';
    const share = Number(slider.value) / Number(slider.max);
    clock = performance.now() - 5000 * Math.acos(1 - 2 * share) / (2 * Math.PI);
    requestAnimationFrame(step);
  };
  button.addEventListener('click', () => { if (playing) stop(); else start(); });
  window.addEventListener('resize', draw);
  draw();
  if (!window.matchMedia('(prefers-reduced-motion: reduce)').matches && !window.matchMedia('print').matches) start();
})();
"""
