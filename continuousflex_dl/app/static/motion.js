// Under the molecules: the path and its player, the sliders of the modes, and the switch of the map.

import { post, postBytes, postText } from './api.js';
import { fixed, guarded, h, latest, options, say } from './tools.js';

const FRAME_MS = 90;

export class Motion {
  // told: { at(point), path(points), write(asked) }
  constructor(number, data, molecule, told) {
    Object.assign(this, { number, data, molecule, told, points: null, playing: false, direction: 1 });
    this.spheres = data.pseudoatoms;
    this.way = h('select', { 'aria-label': 'Path', onchange: guarded(() => this.loadPath()) });
    this.position = h('input', { type: 'range', min: 0, max: 0, value: 0, 'aria-label': 'Position on the path', oninput: guarded(() => this.go(Number(this.position.value))) });
    this.play = h('button', { class: 'play', title: 'Play (Space)', onclick: guarded(() => this.toggle()) }, 'Play');
    this.map = h('input', { type: 'checkbox', onchange: guarded(() => this.mapSwitched()) });
    this.readout = h('span', { class: 'readout' });
    this.write = h('button', { class: 'write', title: 'Write the structure that is shown, with its map where that is shown', onclick: guarded(() => { this.stop(); return this.told.write(this.asked()); }) }, 'Structure');
    this.sliders = this.makeSliders();
    this.bend = latest(() => this.bendNow());
    this.place = latest((values) => this.placeNow(values));
    const tools = data.kind === 'space' ? [h('label', {}, 'Path ', this.way)] : [];
    this.element = h('div', {},
      h('div', { class: 'row' }, ...tools, this.play, data.kind === 'space' ? this.position : null, this.readout, h('label', { title: 'Map of the structure, 3 Å or coarser' }, this.map, ' map'), this.write),
      data.sliders.length ? h('details', {}, h('summary', { class: 'note' }, 'Amplitudes of the modes'), h('div', { class: 'sliders' }, ...this.sliders.map((s) => s.row),
        h('div', { class: 'row' }, h('button', { onclick: guarded(() => this.reset()) }, 'All zero')))) : null);
    this.fillWays();
  }

  // What is shown, for the command that writes it: a place, amplitudes, or the mean of a selection.
  asked() {
    const shown = this.loaded && this.points ? { place: this.placeOf(this.points[Number(this.position.value)]) } : this.last;
    if (!shown) throw new Error('this structure was made by a command before; its files are listed there');
    return { ...shown, maps: this.map.checked };
  }

  placeOf(point) { return Object.fromEntries(point.map((value, k) => [this.data.axes[k], value])); }

  fillWays(drawn = null) {
    if (this.data.kind !== 'space') return;
    this.drawn = drawn || this.drawn;
    const ways = this.data.axes.map((_, k) => [`axis${k + 1}`, `axis ${k + 1}`]);
    if (this.data.minimum_path) ways.push(['minimum', 'least free energy']);
    if (this.drawn) ways.push(['path', 'drawn']);
    options(this.way, ways, drawn ? 'path' : this.way.value || 'axis1');
  }

  makeSliders() {
    return this.data.sliders.map(({ mode, low, high }) => {
      const output = h('output', {}, '0 Å');
      const input = h('input', { type: 'range', min: low, max: high, step: (high - low) / 200, value: 0, 'aria-label': `Amplitude of mode ${mode}, Å`, oninput: () => { output.textContent = `${fixed(Number(input.value))} Å`; this.stop(); this.bend(); } });
      return { mode, input, output, row: h('label', {}, `mode ${mode}`, input, output) };
    });
  }

  async begin() {
    if (this.data.kind === 'space') await this.loadPath();
    else await this.show({ amplitudes: { [this.data.sliders[0].mode]: 0 } });
  }

  async loadPath() {
    this.stop();
    const way = this.way.value;
    const found = await post(`${this.number}/trajectory`, { way, frames: 24, corners: way === 'path' ? this.drawn : undefined });
    this.found = found;
    this.points = found.points;
    this.position.max = found.points.length - 1;
    this.position.value = 0;
    await this.told.path(found.points);
    await this.molecule.show(found.cif, { frames: found.points.length, spheres: this.spheres });
    this.loaded = true;
    await this.go(0);
  }

  // A mode back and forth, made of the same requests as the sliders.
  async swing(mode) {
    this.stop();
    const slider = this.sliders.find((s) => s.mode === mode);
    for (const other of this.sliders) if (other !== slider) { other.input.value = 0; other.output.textContent = '0 Å'; }
    this.swinging = { slider, phase: 0 };
    this.playing = true;
    this.play.textContent = 'Pause';
    this.tick();
  }

  async go(frame) {
    if (!this.points) return;
    if (!this.loaded) {
      await this.molecule.show(this.found.cif, { frames: this.points.length, spheres: this.spheres });
      this.loaded = true;
    }
    this.position.value = frame;
    this.placed = true;
    const energy = this.found.energy?.[frame];
    this.readout.textContent = `${frame + 1}/${this.points.length} · RMSD ${this.found.rmsd[frame].toFixed(1)} Å${energy == null ? '' : ` · ${energy.toFixed(1)} kT`}`;
    await Promise.all([this.molecule.setFrame(frame), this.told.at(this.points[frame])]);
    if (this.map.checked) await this.mapOf({ place: this.placeOf(this.points[frame]) });
  }

  async toggle() {
    if (this.playing) { this.stop(); return; }
    if (this.data.kind === 'modes') { await this.swing(this.chosen || this.data.sliders[0].mode); return; }
    if (!this.points) await this.loadPath();
    this.playing = true;
    this.play.textContent = 'Pause';
    this.tick();
  }

  stop() { this.playing = false; this.swinging = null; this.play.textContent = 'Play'; }

  async tick() {
    const begin = performance.now();
    try {
      if (!this.playing) return;
      if (this.swinging) {
        const { slider } = this.swinging;
        this.swinging.phase += Math.PI / 10;
        const reach = Math.min(-Number(slider.input.min), Number(slider.input.max)) * 0.6;
        slider.input.value = reach * Math.sin(this.swinging.phase);
        slider.output.textContent = `${fixed(Number(slider.input.value))} Å`;
        await this.bendNow();
      } else {
        const last = this.points.length - 1;
        const now = Number(this.position.value);
        if (now >= last) this.direction = -1;
        if (now <= 0) this.direction = 1;
        await this.go(now + this.direction);
      }
    } catch (error) { this.stop(); say(error.message, true); return; }
    setTimeout(() => this.tick(), Math.max(15, FRAME_MS - (performance.now() - begin)));
  }

  step(by) { this.stop(); return this.go(Math.max(0, Math.min(Number(this.position.max), Number(this.position.value) + by))); }

  async bendNow() {
    const amplitudes = Object.fromEntries(this.sliders.map((s) => [s.mode, Number(s.input.value)]));
    await this.show({ amplitudes });
    if (this.map.checked) await this.mapOf({ amplitudes });
  }

  async placeNow(values) {
    this.stop();
    await this.show({ place: values });
    if (this.map.checked) await this.mapOf({ place: values });
  }

  async show(ask) {
    this.forget();
    this.last = ask;
    if (!ask.place && this.placed) await this.told.at(null);
    this.placed = Boolean(ask.place);
    await this.molecule.show(await postText(`${this.number}/structure`, ask), { spheres: this.spheres });
  }

  // Something else is shown.
  forget() {
    this.loaded = false;
    this.last = null;
    this.readout.textContent = '';
  }

  async mapOf(ask) { await this.molecule.showMap(await postBytes(`${this.number}/structure`, { ...ask, map: true })); }

  async mapSwitched() {
    if (!this.map.checked) { await this.molecule.hideMap(); return; }
    if (this.points && this.loaded) await this.go(Number(this.position.value));
    else if (this.last) await this.mapOf(this.last);
    else throw new Error('the map of a structure that was made before is made by its command');
  }

  async reset() {
    for (const { input, output } of this.sliders) { input.value = 0; output.textContent = '0 Å'; }
    await this.bendNow();
  }
}
