// Small helpers of the page.

export const INK = '#1b1f24';
export const SELECTED = '#d55e00';
// Okabe and Ito's colours, told apart by colour-blind eyes too; grey is for particles in no group.
export const GROUPS = ['#b0b0b0', '#0072b2', '#e69f00', '#009e73', '#cc79a7', '#56b4e9', '#d55e00', '#f0e442', '#000000'];

export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (name === 'class') element.className = value;
    else if (typeof value === 'boolean') element[name] = value;
    else if (value !== undefined && value !== null) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export function options(select, entries, chosen) {
  select.replaceChildren(...entries.map(([value, label]) => h('option', { value, selected: value === chosen }, label)));
  if (chosen !== undefined) select.value = chosen;
}

let timer = 0;
export function say(text, bad = false) {
  const place = document.getElementById('message');
  place.textContent = text;
  place.className = `shown${bad ? ' bad' : ''}`;
  clearTimeout(timer);
  timer = setTimeout(() => { place.className = ''; }, bad ? 9000 : 4000);
}

// Runs what a control does, and says what went wrong.
export const guarded = (task) => async (...values) => {
  try { return await task(...values); } catch (error) { say(error.message, true); return undefined; }
};

// One call at a time; of those asked for meanwhile only the last is made.
export function latest(task) {
  let running = false;
  let next = null;
  return async function ask(...values) {
    if (running) { next = values; return; }
    running = true;
    try { await task(...values); } catch (error) { say(error.message, true); }
    running = false;
    if (next) { const again = next; next = null; ask(...again); }
  };
}

export function later(task, wait) {
  let timer = 0;
  return (...values) => { clearTimeout(timer); timer = setTimeout(() => task(...values), wait); };
}

export const whole = (number) => number.toLocaleString('en');
export const fixed = (number) => Number(number.toPrecision(4)).toString();

export class History {
  constructor(changed) { this.done = []; this.undone = []; this.changed = changed; }
  push(undo, redo) { this.done.push({ undo, redo }); this.undone = []; this.changed(); }
  async undo() { await this.move(this.done, this.undone, 'undo'); }
  async redo() { await this.move(this.undone, this.done, 'redo'); }
  async move(from, to, what) {
    const step = from.pop();
    if (!step) return;
    await step[what]();
    to.push(step);
    this.changed();
  }
}
