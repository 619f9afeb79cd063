// The column at the right: selections, histograms, particles, and what is made of them.

import { getJson, post, put, remove } from './api.js';
import { EMPTY } from './bench.js';
import { title_of } from './plot.js';
import { INK, SELECTED, guarded, h, later, options, say, whole } from './tools.js';

const SHOWN = 9;
const JOBS_MS = 1500;
const FIGURE = /\.(svg|png|pdf|gif)$/;
const fileOf = (job, name) => `jobs/${job.number}/${name.split('/').map(encodeURIComponent).join('/')}`;

export class Side {
  constructor(app, place) {
    this.app = app;
    this.first = 0;
    this.skipped = 0;
    this.build(place);
    this.refresh = later(guarded(() => this.update()), 30);
    this.again = later(() => this.refresh(), 2000);
    this.watch();
  }

  get bench() { return this.app.active; }

  build(place) {
    const button = (text, action, title) => h('button', { onclick: guarded(action), title }, text);
    this.size = h('div', { class: 'count', id: 'selected' });
    this.name = h('input', { id: 'name', placeholder: 'name', size: 14, 'aria-label': 'Name of the selection', onkeydown: (event) => { if (event.key === 'Enter') this.save(); } });
    this.save = guarded(() => this.keep());
    this.unconverged = h('input', { type: 'checkbox', onchange: guarded(() => { this.app.unconverged = this.unconverged.checked; return this.bench.select(this.bench.recipe, { record: false }); }) });
    this.where = h('input', { placeholder: 'cflexScore > 0.3', size: 24, 'aria-label': 'Condition on columns', onkeydown: guarded((event) => (event.key === 'Enter' && this.where.value.trim() ? this.bench.add({ how: this.bench.how, where: this.where.value.trim() }) : undefined)) });
    this.list = h('ul', { id: 'saved' });
    this.histograms = h('div', {});
    this.column = h('select', { 'aria-label': 'Third histogram', onchange: () => this.refresh() });
    this.gallery = h('div', { class: 'gallery', id: 'gallery' });
    this.page = h('span', {});
    this.maps = h('input', { type: 'checkbox' });
    this.slices = h('input', { type: 'number', min: 1, max: 100, value: 10, style: 'width: 4em', 'aria-label': 'Number of slices' });
    this.movie = h('select', { 'aria-label': 'Movie' });
    options(this.movie, [['none', 'no movie'], ['gif', 'GIF'], ['mp4', 'MP4']], 'none');
    this.command = h('pre', { id: 'command', tabindex: 0 }, 'What is made here is made by a command; it is shown in this place.');
    this.jobs = h('div', { id: 'jobs' });
    this.scipion = button('Create in Scipion', () => this.make('scipion', this.selectionAsked()), 'Launches the group protocol on the selection in the project that this result came from');
    this.ofParticles = h('div', {},
      h('section', {}, h('h2', {}, 'Selection'), this.size,
        h('div', { class: 'row' }, this.name, h('button', { id: 'save', onclick: this.save, title: 'Save (S)' }, 'Save'), button('Clear', () => this.bench.clear(), 'Select nothing (Esc)')),
        h('div', { class: 'row' }, this.where),
        h('label', { class: 'note' }, this.unconverged, ' with particles that did not converge'), this.list),
      h('section', {}, h('h2', {}, 'Histograms'), h('div', { class: 'note' }, 'Drag across one to select a range.'), this.histograms, h('label', {}, 'Third ', this.column)),
      h('section', {}, h('h2', {}, 'Particles'), h('div', { class: 'note' }, 'Left the image, right the model in its pose.'), this.gallery,
        h('div', { class: 'row' }, button('‹', () => this.turn(-1), 'Before'), this.page, button('›', () => this.turn(1), 'Next'))));
    this.ofSelection = h('div', { class: 'row' },
      h('button', { id: 'group', onclick: guarded(() => this.make('group', this.selectionAsked())), title: 'STAR subset, mean structure and table' }, 'Particles + structure'),
      h('label', {}, this.maps, ' + map'),
      button('All saved', () => this.make('group', { ...this.selectionAsked(), selections: this.names })),
      button('Slices', () => this.make('slices', { ...this.motionAsked(), slices: Number(this.slices.value), reconstruct: this.maps.checked, unconverged: this.app.unconverged }), 'Groups of equal size along the path that is shown'),
      this.slices,
      button('RELION', () => this.make('export', { ...this.selectionAsked(), program: 'star' })),
      button('Xmipp', () => this.make('export', { ...this.selectionAsked(), program: 'xmd' })), this.scipion);
    this.ofFigure = h('div', { class: 'row' }, 'Figure ', ...['SVG', 'PNG', 'PDF'].map((kind) => button(kind, () => this.figure(kind.toLowerCase()), 'The plot as it is seen: columns, window, selection, path')));
    place.replaceChildren(this.ofParticles,
      h('section', {}, h('h2', {}, 'Make'), this.ofSelection,
        h('div', { class: 'row' }, h('button', { id: 'animate', onclick: guarded(() => this.make('animate', this.motionAsked())), title: 'Structures along the path' }, 'Motion'), this.movie),
        this.ofFigure, this.command, button('Copy', () => navigator.clipboard.writeText(this.command.textContent), 'Copy the command')),
      h('section', {}, h('h2', {}, 'Made'), this.jobs));
  }

  selectionAsked() {
    const name = this.name.value.trim();
    return { name: name || undefined, selections: this.names.includes(name) ? [name] : [], reconstruct: this.maps.checked, unconverged: this.app.unconverged };
  }

  motionAsked() {
    const { motion, data } = this.bench;
    if (data.kind === 'modes') return { way: `mode${motion.chosen || data.sliders[0].mode}`, frames: 24, movie: this.movie.value };
    const way = motion.way.value;
    return { way, corners: way === 'path' ? motion.drawn : undefined, frames: 24, movie: this.movie.value };
  }

  async keep() {
    const { bench } = this;
    const used = new Set(this.names);
    let name = this.name.value.trim();
    for (let k = 1; !name; k++) if (!used.has(`selection_${k}`)) name = `selection_${k}`;
    const recipe = bench.recipe;
    const path = `${bench.number}/selections/${encodeURIComponent(name)}`;
    const old = used.has(name) ? this.saved.find((s) => s.name === name)?.recipe : null;
    const keep = (what) => async () => { await (what ? put(path, { recipe: what }) : remove(path)); this.refresh(); };
    await keep(recipe)();
    this.app.history.push(keep(old), keep(recipe));
    this.name.value = name;
    say(`saved as ${name}`);
  }

  async forget(name, recipe) {
    const path = `${this.bench.number}/selections/${encodeURIComponent(name)}`;
    const gone = async () => { await remove(path); this.refresh(); };
    await gone();
    this.app.history.push(async () => { await put(path, { recipe }); this.refresh(); }, gone);
  }

  axesChanged(bench) { if (bench === this.bench) this.refresh(); }

  async update() {
    const { bench } = this;
    const { data } = bench;
    const space = data.kind === 'space';
    this.ofParticles.hidden = !space;
    this.ofSelection.hidden = !space;
    this.ofFigure.hidden = !space;
    if (!space) return;
    this.names = this.names || [];
    this.size.textContent = bench.recipe.steps.length ? `${whole(bench.count ?? 0)} of ${whole(data.count)}` : `none of ${whole(data.count)}`;
    this.scipion.disabled = !this.app.scipion[bench.number];
    if (this.columnsOf !== bench.number) {
      this.columnsOf = bench.number;
      const third = data.columns.find((c) => c.name === 'cflexScore') || data.columns[2] || data.columns[0];
      options(this.column, data.columns.map((c) => [c.name, c.label]), third.name);
    }
    const { selections } = await getJson(`${bench.number}/selections`);
    this.saved = selections;
    this.names = selections.map((s) => s.name);
    this.list.replaceChildren(...selections.map(({ name, count, recipe, error }) => h('li', { 'data-name': name },
      h('span', {}, name), h('span', { class: error ? 'error' : '' }, error || whole(count)),
      h('button', { onclick: guarded(() => { this.name.value = name; return bench.select(recipe); }), disabled: Boolean(error) }, 'Show'),
      h('button', { onclick: guarded(() => this.mean(name, recipe)), disabled: Boolean(error) || !bench.flexible, title: 'Mean structure of the selection' }, 'Structure'),
      h('button', { onclick: guarded(() => this.forget(name, recipe)), 'aria-label': `Remove ${name}` }, '✕'))));
    await Promise.all([this.drawHistograms(), this.drawGallery()]);
  }

  mean(name, recipe) { this.bench.motion.stop(); return this.bench.motion.show({ recipe, selections: [name], unconverged: this.app.unconverged }); }

  async drawHistograms() {
    const { bench } = this;
    const names = [...new Set([bench.picks.x.value, bench.picks.y.value, this.column.value])];
    const found = await post(`${bench.number}/histogram`, { columns: names, recipe: bench.recipe, unconverged: this.app.unconverged });
    if (bench !== this.bench) return;
    while (this.histograms.children.length > names.length) this.histograms.lastChild.remove();
    for (const [k, name] of names.entries()) {
      let place = this.histograms.children[k];
      if (!place) { place = h('div', { class: 'hist' }); this.histograms.append(place); }
      if (found[name].waiting) { place.textContent = `${name}: the particle file is being read …`; this.again(); continue; }
      if (!place.classList.contains('js-plotly-plot')) place.textContent = '';
      const { edges, all, chosen } = found[name];
      const x = all.map((_, i) => (edges[i] + edges[i + 1]) / 2);
      const column = bench.columnOf(name);
      const bars = (y, color, label) => ({ type: 'bar', x, y, marker: { color }, name: label, hovertemplate: `%{y} ${label}<extra></extra>`, width: edges[1] - edges[0] });
      const layout = {
        margin: { l: 44, r: 4, t: 4, b: 30 }, barmode: 'overlay', showlegend: false, font: { size: 10, color: INK }, dragmode: 'select', selectdirection: 'h',
        xaxis: { title: { text: title_of(column), standoff: 2 }, zeroline: false }, yaxis: { title: { text: 'particles' }, fixedrange: true, gridcolor: '#e7ebef' }, bargap: 0,
      };
      await window.Plotly.react(place, [bars(all, '#9fb3c4', 'particles'), bars(chosen, SELECTED, 'selected')], layout, { displayModeBar: false, responsive: true });
      place.removeAllListeners('plotly_selected');
      place.on('plotly_selected', guarded((event) => {
        const range = event?.range?.x;
        if (!range) return undefined;
        const [low, high] = range.map((value) => Number(value.toPrecision(6)));
        window.Plotly.restyle(place, { selectedpoints: [null] });
        window.Plotly.relayout(place, { selections: [] });
        return this.bench.add({ how: this.bench.how, where: `${name} >= ${low} and ${name} <= ${high}` });
      }));
    }
  }

  async drawGallery() {
    const { bench } = this;
    if (!bench.data.has_particles) { this.gallery.textContent = 'There is no particle file beside this space.'; return; }
    const { rows, score, of, waiting } = await post(`${bench.number}/sample`, { recipe: bench.recipe, first: this.first, count: SHOWN, unconverged: this.app.unconverged });
    if (waiting) { this.gallery.textContent = 'The particle file is being read …'; this.again(); return undefined; }
    if (this.first && !rows.length) { this.first = 0; return this.drawGallery(); }
    this.page.textContent = of ? `${whole(this.first + 1)}–${whole(this.first + rows.length)} of ${whole(of)}` : 'none';
    const picture = (what, row) => h('img', { src: `api/${bench.number}/${what}/${row}.png`, loading: 'lazy', alt: what === 'image' ? `particle ${row + 1}` : `model of particle ${row + 1}`, onerror: (event) => { event.target.style.visibility = 'hidden'; } });
    this.gallery.replaceChildren(...rows.map((row, k) => h('figure', {}, picture('image', row), bench.flexible ? picture('projection', row) : null,
      h('figcaption', {}, `${whole(row + 1)}${score ? ` · ${score[k].toFixed(2)}` : ''}`))));
  }

  turn(by) { this.first = Math.max(0, this.first + by * SHOWN); return this.drawGallery(); }

  // Runs a command, shows it, and gives the number of its job.
  async make(what, asked) {
    const { number } = this.bench;
    // of two benches, that of this one is meant
    const current = asked.selected || (asked.selections && !asked.selections.length);
    if (current) await this.bench.showSelection();
    const { command, job } = await post(`${number}/command/${what}`, { ...asked, run: true });
    this.command.textContent = command;
    this.refresh();
    await this.drawJobs();
    return job;
  }

  // The figure is drawn by a command; when it is there the browser takes it.
  async figure(format) {
    const { bench } = this;
    const { marks, axes: { x, y, z } } = bench.plot;
    const { way, corners } = this.motionAsked();
    const other = this.app.beside(bench);
    const asked = {
      ...bench.plot.asked(), format, selected: bench.recipe.steps.length > 0, unconverged: this.app.unconverged,
      ...(bench.plot.linked ? { beside: { number: other.number, recipe: other.recipe } } : {}), ...(marks.path ? { way, corners } : {}), ...(marks.at ? { at: Object.fromEntries([x, y, z].filter(Boolean).map(({ name }, k) => [name, marks.at[k]])) } : {}),
    };
    this.wanted = await this.make('plot', asked);
    say('the figure is being drawn');
  }

  take(jobs) {
    const job = jobs.find(({ number }) => number === this.wanted);
    const file = job?.state === 'done' && job.files.find((name) => FIGURE.test(name));
    if (!file) return;
    this.wanted = null;
    h('a', { href: `api/${fileOf(job, file)}`, download: `${this.bench.data.name.replace(/\W+/g, '_')}_${file}` }).click();
  }

  async watch() {
    let wait = JOBS_MS;
    try { await this.drawJobs(); } catch (error) { say(error.message, true); wait = 10 * JOBS_MS; }
    setTimeout(() => this.watch(), wait);
  }

  async drawJobs() {
    if (document.hidden && ++this.skipped % 20) return;  // a page in the background still says that it is there
    const { jobs } = await getJson('jobs');
    const text = JSON.stringify(jobs);
    if (text === this.jobsText) return;
    this.jobsText = text;
    this.take(jobs);
    const open = new Set([...this.jobs.querySelectorAll('details[open]')].map((d) => d.dataset.number));
    this.jobs.replaceChildren(...jobs.map((job) => this.jobElement(job, open.has(String(job.number)) || job.state === 'failed')));
  }

  jobElement(job, open) {
    const files = job.files.map((name) => {
      const place = fileOf(job, name);
      return h('li', {}, h('span', {}, h('a', { href: `api/${place}`, download: '' }, name)),
        FIGURE.test(name) ? h('a', { href: `api/${place}?shown=1`, target: '_blank' }, 'Show') : null,
        /\.(mrc)$/.test(name) ? h('button', { onclick: guarded(() => this.showMap(place)) }, 'Show') : null,
        /\.(cif)$/.test(name) ? h('button', { onclick: guarded(() => this.showStructure(place)) }, 'Show') : null);
    });
    return h('details', { class: 'job', 'data-number': job.number, 'data-state': job.state, open },
      h('summary', {}, `${job.number} ${job.title} `, h('span', { class: `state-${job.state}` }, job.state)),
      h('pre', {}, job.command), job.log ? h('pre', {}, job.log) : null,
      job.state === 'running' || job.state === 'waiting' ? h('button', { onclick: guarded(() => remove(`jobs/${job.number}`)) }, 'Stop') : null,
      job.output ? h('div', { class: 'note' }, job.output) : null, h('ul', {}, ...files));
  }

  async showMap(place) {
    const bytes = new Uint8Array(await (await fetch(`api/${place}?shown=1`)).arrayBuffer());
    this.bench.motion.stop();
    await this.bench.molecule.showMap(bytes);
  }

  async showStructure(place) {
    const text = await (await fetch(`api/${place}?shown=1`)).text();
    this.bench.motion.stop();
    this.bench.motion.forget();
    await this.bench.molecule.show(text, { spheres: this.bench.motion.spheres });
  }
}

export { EMPTY };
