// Values under the pointer, curves that can be switched off, choices of heat maps. Without it every figure stands as it is, and all
// values are in the tables. Nothing is loaded. Data: the JSON that data.py writes; a curve's points: the attributes that pictures.py writes.
(() => {
"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const cells = data.cells, names = data.names;
const all = (root, selector) => Array.from(root.querySelectorAll(selector));
const made = (tag, kind, text) => Object.assign(document.createElement(tag), {className: kind, textContent: text || ""});

// What is said of a cell

const shown = v => v === null ? "–" : Math.abs(v) <= 1 ? v.toFixed(4) : String(+v.toPrecision(6));
const tip = made("div", "tip");
tip.setAttribute("role", "status");
tip.hidden = true;
document.body.append(tip);

function say(i, also) {
  const size = cells.size[i], parts = [made("b", "", names[cells.strategy[i]])];
  const line = text => parts.push(made("div", "", text));
  line(names[cells.network[i]] + ", " + (typeof size === "number" ? "r = " + size : size) + (cells.rank[i] ? " = κ" : ""));
  if (also) line(also);
  line((also ? "in all: " : "") + shown(cells.estimate[i]) + " [" + shown(cells.low[i]) + ", " + shown(cells.high[i]) + "], 95 % interval");
  line(cells.trials[i] + " trials" + (cells.proven[i] && cells.undecided[i] ? ", " + cells.undecided[i] + " undecided" : ""));
  parts.push(made("div", "q", names[cells.quantity[i]]));
  if (!/^(–|no limit)$/.test(names[cells.theory[i]])) parts.push(made("div", "q", "theory: " + names[cells.theory[i]]));
  parts.push(made("div", "q", "cell " + cells.cell[i]));
  tip.replaceChildren(...parts);
}

function place(svg, x, y) {
  const box = svg.getBoundingClientRect(), scale = box.width / svg.viewBox.baseVal.width;
  tip.hidden = false;
  const left = box.left + (x - svg.viewBox.baseVal.x) * scale, top = box.top + y * scale;
  const room = document.documentElement.clientWidth - tip.offsetWidth - 6;
  tip.style.left = Math.max(6, Math.min(room, left + 14)) + scrollX + "px";
  tip.style.top = (top - tip.offsetHeight - 12 > 0 ? top - tip.offsetHeight - 12 : top + 16) + scrollY + "px";
}

function hide(svg) {
  tip.hidden = true;
  all(svg, ".here").forEach(mark => mark.remove());
}

function mark(svg, tag, look) {
  all(svg, ".here").forEach(other => other.remove());
  const one = document.createElementNS(svg.namespaceURI, tag);
  Object.entries({...look, class: "here"}).forEach(([key, value]) => one.setAttribute(key, value));
  svg.append(one);
}

// A pointer and arrow keys on a figure. spot(x, y): which point is there, null for none; show(point); next(point, key): the one beside it.

function follow(svg, spot, show, next) {
  let now = null;
  const go = point => {
    now = point;
    if (point === null) hide(svg);
    else show(point);
  };
  const look = event => {
    const box = svg.getBoundingClientRect(), scale = svg.viewBox.baseVal.width / box.width;
    go(spot((event.clientX - box.left) * scale + svg.viewBox.baseVal.x, (event.clientY - box.top) * scale));
  };
  svg.addEventListener("pointermove", look);
  svg.addEventListener("pointerdown", look);
  svg.addEventListener("pointerleave", event => event.pointerType === "touch" || go(null));
  svg.addEventListener("blur", () => go(null));
  svg.tabIndex = 0;
  svg.setAttribute("aria-label", svg.getAttribute("aria-label") + "; arrow keys show values");
  svg.addEventListener("keydown", event => {
    if (event.key === "Escape") go(null);
    else if (event.key.startsWith("Arrow")) {
      event.preventDefault();
      go(next(now, event.key));
    }
  });
}

// Curves

const numbers = text => text.split(" ").map(Number);

function curves(figure) {
  const svg = figure.querySelector(".scroll svg"), buttons = all(figure, ".legend button");
  const groups = all(svg, "[data-k]").map(group => ({
    group, keys: group.dataset.k.split(" "), cell: numbers(group.dataset.i), x: numbers(group.dataset.x), y: numbers(group.dataset.y),
    also: group.dataset.t ? group.dataset.t.split("|") : [],
  }));
  const seen = () => groups.filter(one => !one.group.classList.contains("off"));
  buttons.forEach(button => button.addEventListener("click", () => {
    button.setAttribute("aria-pressed", button.getAttribute("aria-pressed") !== "true");
    const off = new Set(buttons.filter(b => b.getAttribute("aria-pressed") !== "true").map(b => b.dataset.k));
    groups.forEach(one => one.group.classList.toggle("off", one.keys.some(key => off.has(key))));
    hide(svg);
  }));
  follow(svg, (x, y) => {
    let best = null, least = 22 * 22;
    for (const one of seen()) one.x.forEach((px, k) => {
      const d = (px - x) ** 2 + (one.y[k] - y) ** 2;
      if (d <= least) [best, least] = [{one, k}, d];
    });
    return best;
  }, ({one, k}) => {
    say(one.cell[k], one.also[k]);
    mark(svg, "circle", {cx: one.x[k], cy: one.y[k], r: 8});
    place(svg, one.x[k], one.y[k]);
  }, (now, key) => {
    const there = seen();
    if (!there.length) return null;
    if (now === null || now.one.group.classList.contains("off")) return {one: there[0], k: 0};
    const turn = key === "ArrowUp" ? -1 : key === "ArrowDown" ? 1 : 0;
    const one = turn ? there[(there.indexOf(now.one) + turn + there.length) % there.length] : now.one;
    const k = now.k + (key === "ArrowRight") - (key === "ArrowLeft");
    return {one, k: Math.max(0, Math.min(one.x.length - 1, k))};
  });
}

// Heat maps

const rgb = text => [1, 3, 5].map(k => parseInt(text.slice(k, k + 2), 16));

function colour(share) {
  const at = Math.min(1, Math.max(0, share)) * (data.map.length - 1), k = Math.min(Math.floor(at), data.map.length - 2);
  const one = rgb(data.map[k]), two = rgb(data.map[k + 1]);
  return "rgb(" + one.map((a, j) => Math.round(a + (at - k) * (two[j] - a))) + ")";
}

function short(v, ends) {
  if (ends[0] !== 0 || ends[1] !== 1) return String(+v.toPrecision(3));
  const text = v.toFixed(2);
  return v === 0 ? "0" : v === 1 ? "1" : text === "1.00" ? "<1" : text === "0.00" ? ">0" : text.replace(/^0/, "");
}

function heat(figure) {
  const svg = figure.querySelector(".scroll svg"), told = data.heat[figure.dataset.heat], [low, high] = told.ends;
  const squares = all(svg, ".sq rect"), words = all(svg, ".num text"), choices = all(figure, "select");
  const wide = Number(figure.dataset.columns), empty = figure.dataset.empty;
  const key = () => choices.map(choice => choice.value).join(",");
  const now = () => told.squares[key()] || squares.map(() => -1);
  const middle = (square, side, of) => Number(square.getAttribute(side)) + Number(square.getAttribute(of)) / 2;
  choices.forEach(choice => choice.addEventListener("change", () => {
    hide(svg);
    const framed = now().some(i => i >= 0 && !cells.rank[i]);  // where all are at the required rank none is
    now().forEach((i, k) => {
      const none = i < 0 || cells.estimate[i] === null, share = none ? 0 : (cells.estimate[i] - low) / (high - low);
      squares[k].setAttribute("fill", none ? empty : colour(share));
      squares[k].setAttribute("rx", !none && cells.proven[i] ? 7 : 0);
      squares[k].classList.toggle("at", framed && !none && cells.rank[i] === 1);
      if (words[k]) {
        words[k].textContent = none ? "" : short(cells.estimate[i], told.ends);
        words[k].classList.toggle("pale", !none && share < 0.55);
      }
    });
  }));
  const inside = (square, x, y) => {
    const [left, top, w, h] = ["x", "y", "width", "height"].map(name => Number(square.getAttribute(name)));
    return x >= left && x < left + w + 1 && y >= top && y < top + h + 1;
  };
  follow(svg, (x, y) => {
    const k = squares.findIndex(square => inside(square, x, y));
    return k >= 0 && now()[k] >= 0 ? k : null;
  }, k => {
    const s = squares[k];
    say(now()[k]);
    mark(svg, "rect", Object.fromEntries(["x", "y", "width", "height"].map(name => [name, s.getAttribute(name)])));
    place(svg, middle(s, "x", "width"), middle(s, "y", "height"));
  }, (before, key) => {
    const grid = now(), step = {ArrowLeft: -1, ArrowRight: 1, ArrowUp: -wide, ArrowDown: wide}[key];
    if (before === null) return grid.findIndex(i => i >= 0) >= 0 ? grid.findIndex(i => i >= 0) : null;
    let k = before + step;
    while (k >= 0 && k < grid.length && grid[k] < 0) k += step;
    return k >= 0 && k < grid.length ? k : before;
  });
}

// A figure is made ready when it is first seen: a large study has hundreds.

const ready = {curves, heat};
const watch = new IntersectionObserver(entries => entries.forEach(entry => {
  if (entry.isIntersecting) {
    watch.unobserve(entry.target);
    ready[entry.target.dataset.ready](entry.target);
    entry.target.classList.add("ready");
  }
}), {rootMargin: "300px"});
all(document, "[data-ready]").forEach(figure => watch.observe(figure));

addEventListener("hashchange", () => {
  const there = document.getElementById(location.hash.slice(1));
  if (there && there.tagName === "DETAILS") there.open = true;
});

let closed = [];
addEventListener("beforeprint", () => {
  closed = all(document, "details:not([open])");
  closed.forEach(part => part.open = true);
});
addEventListener("afterprint", () => closed.forEach(part => part.open = false));
})();
