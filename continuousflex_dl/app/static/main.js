// The page: its results, one bench or two, the side column, undo and the keys.

import { getJson } from './api.js';
import { Bench } from './bench.js';
import { Side } from './side.js';
import { History, guarded, say } from './tools.js';

const byId = (id) => document.getElementById(id);

class App {
  constructor({ datasets, scipion }) {
    this.datasets = datasets;
    this.scipion = scipion;
    this.unconverged = false;
    this.palette = 'Viridis';
    this.history = new History(() => {
      byId('undo').disabled = !this.history.done.length;
      byId('redo').disabled = !this.history.undone.length;
    });
    this.benches = [new Bench(this, 0)];
    [this.active] = this.benches;
    byId('title').textContent = datasets.map((data) => data.path).join('   ·   ');
    document.title = `${datasets[0].name} – cflex view`;
  }

  async start() {
    byId('benches').append(this.benches[0].element);
    this.side = new Side(this, byId('side'));
    await this.benches[0].open();
    if (this.datasets.length > 1) await this.compare();
  }

  activate(bench) {
    if (bench === this.active) return;
    this.active = bench;
    this.mark();
    this.side?.refresh();
  }

  mark() { for (const bench of this.benches) bench.element.classList.toggle('active', this.benches.length > 1 && bench === this.active); }

  changed(bench) {
    bench.data.current = bench.recipe;
    if (bench === this.active) this.side?.refresh();
  }

  beside(bench) { return this.benches.find((other) => other !== bench); }

  // What is selected in one bench is marked in the other.
  selected(bench) {
    const other = this.beside(bench);
    if (other) guarded(() => other.showLinked(bench))();
  }

  axesChanged(bench) { this.side?.axesChanged(bench); }

  async compare() {
    const place = byId('benches');
    if (this.benches.length > 1) {
      const [first, second] = this.benches;
      second.motion?.stop();
      second.element.remove();
      this.benches = [first];
      this.active = first;
      await first.showLinked(null);
    } else {
      const bench = new Bench(this, this.datasets.length > 1 ? 1 : 0);
      this.benches.push(bench);
      place.append(bench.element);
    }
    place.classList.toggle('compared', this.benches.length > 1);
    byId('compare').setAttribute('aria-pressed', String(this.benches.length > 1));
    this.mark();
    if (this.benches[1]) await this.benches[1].open();
    for (const bench of this.benches) bench.molecule?.resize();
    this.side.refresh();
  }

  async setPalette(palette) {
    this.palette = palette;
    for (const bench of this.benches) await bench.plot?.setPalette(palette);
  }

  async key(event) {
    if (event.target.closest('input:not([type=range]):not([type=checkbox]), select, textarea, dialog[open]')) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (event.ctrlKey || event.metaKey) {
      if (key !== 'z') return;
      event.preventDefault();
      await (event.shiftKey ? this.history.redo() : this.history.undo());
      return;
    }
    const { active } = this;
    const space = active.data.kind === 'space';
    const drawing = { l: 'lasso', b: 'box', p: 'path', m: 'move' }[key];
    const how = ['new', 'add', 'keep', 'remove'][Number(key) - 1];
    if (key === '?') byId('keys').showModal();
    else if (key === 'c') await this.compare();
    else if (key === ' ' && event.target.tagName !== 'BUTTON') { event.preventDefault(); await active.motion.toggle(); }
    else if (!space) return;
    else if (drawing) await active.setDrawing(drawing);
    else if (how && /^[1-4]$/.test(key)) active.setHow(how);
    else if (key === 'Escape') await active.clear();
    else if (key === 's') await this.side.save();
    else if (key === 'f' && active.flexible) active.follow.click();
    else if ((key === 'ArrowLeft' || key === 'ArrowRight') && event.target.type !== 'range') await active.motion.step(key === 'ArrowLeft' ? -1 : 1);
  }
}

const begin = guarded(async () => {
  const app = new App(await getJson('datasets'));
  window.cflex = app;
  byId('undo').onclick = guarded(() => app.history.undo());
  byId('redo').onclick = guarded(() => app.history.redo());
  byId('compare').onclick = guarded(() => app.compare());
  byId('palette').onchange = guarded((event) => app.setPalette(event.target.value));
  byId('help').onclick = () => byId('keys').showModal();
  document.addEventListener('keydown', guarded((event) => app.key(event)));
  await app.start();
  document.body.dataset.ready = 'true';
});

if (window.Plotly) begin();
else say('plotly.min.js could not be loaded', true);
