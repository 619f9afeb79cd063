// One column of the page: a result, its scatter plot and its molecules. Two of them stand side by side.

import { postArrays } from './api.js';
import { Molecule } from './molecule.js';
import { Motion } from './motion.js';
import { Plot } from './plot.js';
import { modeTable } from './modes.js';
import { guarded, h, options, whole } from './tools.js';

export const EMPTY = { format: 1, steps: [] };
const HOWS = [['new', 'New'], ['add', 'Add'], ['keep', 'Keep'], ['remove', 'Remove']];
const DRAWING = [['lasso', 'Lasso'], ['box', 'Box'], ['path', 'Path'], ['move', 'Move']];

export class Bench {
  constructor(app, number) {
    this.app = app;
    this.how = 'new';
    this.drawing = 'lasso';
    this.element = h('div', { class: 'bench', onpointerdown: () => app.activate(this), onfocusin: () => app.activate(this) });
    this.number = number;
  }

  get data() { return this.app.datasets[this.number]; }
  get flexible() { return this.data.atoms > 0; }

  async open(number = this.number) {
    this.motion?.stop();
    this.number = number;
    this.note = null;
    this.plot = null;
    this.recipe = this.data.current || EMPTY;
    this.count = null;
    this.linkedText = '';
    this.build();
    if (this.data.kind === 'space') {
      await this.setAxes();
      if (this.recipe.steps.length) await this.select(this.recipe, { record: false });
    }
    this.app.changed(this);
    this.app.selected(this);
    if (this.flexible) await this.motion.begin();
  }

  build() {
    const { app, data } = this;
    const molPlace = h('div', { class: 'mol' }, h('div', { class: 'off' }, this.flexible ? 'Molecules are loading …' : 'This space has no structures; make it with --modes or --structure'));
    this.molecule = new Molecule(molPlace);
    this.motion = new Motion(this.number, data, this.molecule, {
      at: (point) => this.mark({ at: point }),
      path: (points) => this.mark({ path: points }),
      write: (asked) => app.side.make('structure', asked),
    });
    const molCard = h('div', { class: 'card' }, molPlace, this.flexible ? this.motion.element : null);
    const choose = h('select', { 'aria-label': 'Result', onchange: guarded(() => this.open(Number(choose.value))) });
    options(choose, this.app.datasets.map((other, k) => [String(k), other.name]), String(this.number));
    if (data.kind === 'modes') {
      this.table = modeTable(data, guarded((mode) => { this.motion.chosen = mode; return this.motion.swing(mode); }));
      this.element.replaceChildren(h('div', { class: 'tools' }, choose), h('div', { class: 'card' }, this.table), molCard);
      return;
    }
    const plotPlace = h('div', { class: 'plot' });
    this.note = h('div', { class: 'note' });
    this.plot = new Plot(plotPlace, this.number, {
      drawn: (kind, corners) => this.drawn(kind, corners),
      moved: (values) => (this.flexible ? this.motion.place(values) : undefined),
      picked: (values) => this.picked(values),
      changed: (text) => { this.drawnText = text; this.describe(); },
    });
    this.plot.palette = this.app.palette;
    this.plot.mode = this.drawing;
    this.plot.marks.basins = data.basins;
    const columns = data.columns.map((column) => [column.name, column.label]);
    const pick = (label, entries, chosen) => {
      const select = h('select', { 'aria-label': label, onchange: guarded(() => this.setAxes()) });
      options(select, entries, chosen);
      return [select, h('label', {}, `${label} `, select)];
    };
    const [x, xl] = pick('X', columns, data.axes[0]);
    const [y, yl] = pick('Y', columns, data.axes[1] || data.columns.find((c) => c.name !== data.axes[0])?.name || data.axes[0]);
    const [z, zl] = pick('Z', [['', '– (2D)'], ...columns], '');
    const [color, cl] = pick('Colour', [['', 'density'], ...columns], data.groups ? 'cflexGroup' : '');
    this.picks = { x, y, z, color };
    this.modes = this.switches(DRAWING, this.drawing, (mode) => this.setDrawing(mode), 'Drawing');
    this.hows = this.switches(HOWS, this.how, (how) => this.setHow(how), 'What the next outline does');
    this.follow = h('input', { type: 'checkbox', onchange: () => { this.plot.following = this.follow.checked; } });
    this.element.replaceChildren(
      h('div', { class: 'tools' }, this.app.datasets.length > 1 ? choose : null, xl, yl, zl, cl, this.modes.element, this.hows.element,
        this.flexible ? h('label', { title: 'The structure follows the cursor (F)' }, this.follow, ' follow cursor') : null),
      h('div', { class: 'card' }, h('div', { class: 'holder' }, plotPlace), this.note), molCard);
  }

  switches(entries, chosen, set, label) {
    const buttons = entries.map(([value, text]) => h('button', { 'data-value': value, 'aria-pressed': String(value === chosen), onclick: guarded(() => set(value)) }, text));
    return { element: h('span', { class: 'group', role: 'group', 'aria-label': label }, ...buttons), set: (value) => buttons.forEach((b) => b.setAttribute('aria-pressed', String(b.dataset.value === value))) };
  }

  setDrawing(mode) { this.drawing = mode; this.modes.set(mode); return this.plot.setMode(mode); }
  setHow(how) { this.how = how; this.hows.set(how); }

  columnOf(name) { return this.data.columns.find((column) => column.name === name); }

  async setAxes() {
    const chosen = Object.fromEntries(Object.entries(this.picks).map(([axis, select]) => [axis, this.columnOf(select.value)]));
    this.axesChosen = chosen;
    await this.plot.setAxes(chosen);
    if (this.recipe.steps.length) await this.showSelection();
    await this.showLinked(this.app.beside(this));
    if (this.motion.points) await this.mark({ path: this.motion.points, at: null });
    this.app.axesChanged(this);
  }

  // Marks are places of the space; they are shown where its axes are.
  async mark(marks) {
    if (!this.plot?.scene) return;
    const place = [this.picks.x, this.picks.y, this.picks.z].map((select) => this.data.axes.indexOf(select.value));
    const shown = place[0] >= 0 && place[1] >= 0 && (this.picks.z.value === '' || place[2] >= 0);
    const wanted = this.picks.z.value === '' ? place.slice(0, 2) : place;
    const turn = (point) => wanted.map((axis) => point[axis]);
    const first = this.picks.x.value === this.data.axes[0] && this.picks.y.value === this.data.axes[1];
    const turned = { basins: first ? this.data.basins : null };
    if ('path' in marks) turned.path = shown && marks.path ? marks.path.map(turn) : null;
    if ('at' in marks) turned.at = shown && marks.at ? turn(marks.at) : null;
    await this.plot.setMarks(turned);
  }

  // A click: the structure of this place, which stays.
  async picked(values) {
    if (!this.flexible) return;
    await this.plot.setMarks({ at: [values[this.picks.x.value], values[this.picks.y.value]] });
    await this.motion.place(values);
  }

  async drawn(kind, corners) {
    if (kind === 'outline') {
      const step = { how: this.how, columns: [this.picks.x.value, this.picks.y.value], outline: corners };
      this.plot.marks.outline = corners;
      await this.add(step);
      return;
    }
    const [first, second] = [this.picks.x.value, this.picks.y.value].map((name) => this.data.axes.indexOf(name));
    if (first !== 0 || second !== 1) throw new Error('paths are drawn in the first two axes of the space; choose them as X and Y');
    this.motion.fillWays(corners);
    await this.motion.loadPath();
  }

  async add(step) {
    const steps = step.how === 'new' ? [step] : [...this.recipe.steps, step];
    await this.select({ format: 1, steps });
  }

  async clear() { this.plot.marks.outline = null; await this.select(EMPTY); }

  async select(recipe, { record = true } = {}) {
    const before = this.recipe;
    this.recipe = recipe;
    if (record) {
      const back = (to) => () => this.select(to, { record: false });
      this.app.history.push(back(before), back(recipe));
    }
    const last = recipe.steps.at(-1);
    const same = last?.outline && last.columns[0] === this.picks.x.value && last.columns[1] === this.picks.y.value;
    this.plot.marks.outline = same ? last.outline : null;
    await this.showSelection();
    this.app.changed(this);
  }

  async showSelection() {
    const begin = performance.now();
    const { x, y, z } = this.axesChosen;
    const { head, arrays } = await postArrays(`${this.number}/select`, { recipe: this.recipe, unconverged: this.app.unconverged, x: x.name, y: y.name, z: z?.name });
    this.count = head.count;
    this.marked = arrays[0].length;
    await this.plot.setSelection(head.count ? arrays : null);
    this.element.dataset.selected = head.count;
    this.element.dataset.lassoMs = Math.round(performance.now() - begin);
    this.describe();
    this.app.selected(this);
  }

  // Marks by crosses the particles that are selected in another bench.
  async showLinked(other) {
    const steps = other?.data.kind === 'space' && this.data.kind === 'space' && this.plot?.scene ? other.recipe.steps : [];
    let points = null;
    this.linkedText = '';
    if (steps.length) {
      const { x, y, z } = this.axesChosen;
      const { head, arrays } = await postArrays(`${this.number}/linked`, { from: other.number, recipe: other.recipe, unconverged: this.app.unconverged, x: x.name, y: y.name, z: z?.name });
      if (head.waiting) {
        this.linkedText = 'the particle files are being read';
        setTimeout(guarded(() => (this.element.isConnected ? this.showLinked(this.app.beside(this)) : undefined)), 2000);
      } else if (!head.shared) {
        this.linkedText = 'this result and the one beside share no particles';
      } else {
        points = head.count ? arrays : null;
        this.linkedText = `${whole(head.count)} of the ${whole(other.count)} selected beside are here${head.count ? `, ${head.count > arrays[0].length ? `${whole(arrays[0].length)} of them ` : ''}marked by crosses` : ''}`;
      }
      this.element.dataset.linked = head.count ?? '';
    } else delete this.element.dataset.linked;
    if (this.plot?.scene) await this.plot.setLinked(points);
    this.describe();
  }

  describe() {
    if (!this.note) return;
    const parts = [this.drawnText];
    if (this.recipe.steps.length && this.count !== null) parts.unshift(`${whole(this.count)} of ${whole(this.data.count)} particles selected${this.marked < this.count ? `, ${whole(this.marked)} of these marked` : ''}`);
    if (this.linkedText) parts.splice(-1, 0, this.linkedText);
    this.note.textContent = parts.join(' · ');
  }
}
