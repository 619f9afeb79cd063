// The molecule view: Mol* as the Python package dash-molstar ships it, driven through its plugin object.

import { h } from './tools.js';

let library = null;
function loadLibrary() {
  library ??= new Promise((resolve, reject) => {
    const script = h('script', { src: 'assets/molstar.js', onload: resolve, onerror: () => reject(new Error('Mol* cannot be loaded')) });
    document.head.append(script);
  });
  return library;
}

const SETTINGS = {
  layoutIsExpanded: false, layoutShowControls: false, layoutShowSequence: false, layoutShowLog: false,
  layoutShowStructureSourceControls: false, layoutShowMeasurementsControls: false, showImportControls: false,
  showExportControls: false, showSessionControls: false, showStructureSourceControls: false,
  showMeasurementsControls: false, showStrucmotifSubmitControls: false, showSuperpositionControls: false,
  showValidationReportControls: false, showMembraneOrientationPreset: false, backgroundColor: 0xffffff,
};
const VIRIDIS = [0x440154, 0x3b528b, 0x21918c, 0x5ec962, 0xfde725];

export class Molecule {
  constructor(place) {
    this.place = place;
    this.parts = null;   // references of the steps from text to picture
    this.map = null;
    this.frames = 1;
    this.frame = 0;
    this.turn = Promise.resolve();  // Mol* takes one change at a time
  }

  // Changes one after the other, whoever asks for them.
  then(task) {
    const done = this.turn.then(task);
    this.turn = done.catch(() => {});
    return done;
  }

  async start() {
    if (this.plugin) return;
    await loadLibrary();
    const inside = h('div', { style: 'position:absolute;inset:0' });
    this.place.replaceChildren(inside);
    this.viewer = new window.rcsbMolstar.Viewer(inside, SETTINGS);
    this.plugin = this.viewer.plugin;
    for (let wait = 0; wait < 200 && !this.plugin.canvas3d; wait++) await new Promise((done) => setTimeout(done, 25));
    if (!this.plugin.canvas3d) { this.plugin = null; throw new Error('this browser has no WebGL: no molecules'); }
  }

  // Structures as mmCIF, one model per frame.
  show(text, { frames = 1, spheres = false } = {}) {
    return this.then(async () => {
      await this.start();
      const { builders, state } = this.plugin;
      this.frames = frames;
      this.frame = 0;
      if (!this.parts) {
        const data = await builders.data.rawData({ data: text, label: 'structure' });
        const trajectory = await builders.structure.parseTrajectory(data, 'mmcif');
        const model = await builders.structure.createModel(trajectory);
        const structure = await builders.structure.createStructure(model);
        const polymer = spheres ? null : await builders.structure.tryCreateComponentStatic(structure, 'polymer');
        const shown = polymer || await builders.structure.tryCreateComponentStatic(structure, 'all');
        const look = polymer
          ? { type: 'cartoon', color: 'sequence-id', colorParams: { list: { kind: 'interpolate', colors: VIRIDIS } } }
          : { type: 'spacefill', typeParams: { sizeFactor: 1.2 }, color: 'uniform', colorParams: { value: 0x0072b2 } };
        await builders.structure.representation.addRepresentation(shown, look);
        this.parts = { data, model };
        this.viewer.resetCamera?.();
      } else {
        const change = state.data.build();
        change.to(this.parts.data).update((old) => ({ ...old, data: text }));
        change.to(this.parts.model).update((old) => ({ ...old, modelIndex: 0 }));
        await change.commit();
      }
      this.place.dataset.shown = Number(this.place.dataset.shown || 0) + 1;
    });
  }

  setFrame(frame) {
    return this.then(async () => {
      if (!this.parts || frame === this.frame) return;
      this.frame = frame;
      await this.plugin.state.data.build().to(this.parts.model).update((old) => ({ ...old, modelIndex: frame })).commit();
      this.place.dataset.frame = frame;
    });
  }

  // A map (MRC); a second one takes the place of the first.
  showMap(bytes) {
    return this.then(async () => {
      await this.start();
      const { builders, dataFormats, state } = this.plugin;
      if (this.map) {
        await state.data.build().to(this.map.data).update((old) => ({ ...old, data: bytes })).commit();
      } else {
        const data = await builders.data.rawData({ data: bytes, label: 'map' });
        const format = dataFormats.get('ccp4');
        const parsed = await format.parse(this.plugin, data);
        const made = await format.visuals(this.plugin, parsed);
        for (const look of made || []) {
          await state.data.build().to(look).update((old) => ({
            ...old,
            type: { ...old.type, params: { ...old.type.params, alpha: 0.35, isoValue: { kind: 'relative', relativeValue: 2 } } },
          })).commit();
        }
        this.map = { data };
        if (!this.parts) this.viewer.resetCamera?.();
      }
      this.place.dataset.maps = Number(this.place.dataset.maps || 0) + 1;
    });
  }

  hideMap() {
    return this.then(async () => {
      if (!this.map) return;
      await this.plugin.state.data.build().delete(this.map.data).commit();
      this.map = null;
      this.viewer.resetCamera?.();
    });
  }

  resize() { this.viewer?.handleResize(); this.viewer?.resetCamera?.(); }
}
