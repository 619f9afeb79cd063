// The table of normal modes; a click moves the structure along a mode.

import { h } from './tools.js';

export function modeTable(data, chosen) {
  const pick = (row, mode) => {
    for (const other of body.rows) other.setAttribute('aria-selected', String(other === row));
    chosen(mode);
  };
  const body = h('tbody', {});
  const largest = Math.max(...data.modes.map((m) => m.collectivity), 1e-9);
  for (const { mode, eigenvalue, collectivity, score } of data.modes) {
    const row = h('tr', { tabindex: 0, onclick: () => pick(row, mode), onkeydown: (event) => { if (event.key === 'Enter') pick(row, mode); } },
      h('td', {}, String(mode)), h('td', {}, eigenvalue.toPrecision(4)), h('td', {}, collectivity.toFixed(3)),
      h('td', { style: 'text-align:left;width:30%' }, h('div', { style: `background:#0072b2;height:9px;width:${(100 * collectivity) / largest}%` })),
      h('td', {}, score.toFixed(3)));
    body.append(row);
  }
  const heads = ['mode', 'eigenvalue', 'collectivity', '', 'score'].map((text) => h('th', {}, text));
  return h('div', { class: 'scroll' }, h('table', {}, h('thead', {}, h('tr', {}, ...heads)), body),
    h('div', { class: 'note' }, 'Click a mode and the structure moves along it. Small eigenvalue: an easy motion. Collectivity near 1: all atoms take part; small score: both.'));
}
