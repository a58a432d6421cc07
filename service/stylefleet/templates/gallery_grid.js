"use strict";

/* The overview: rows of equal height over the whole width, of which only those near the screen are in the document. */

const CAPTION_PX = 40;
const RATIO_MIN = 0.45; /* Shapes beyond these are cropped in the overview, where they would be a sliver or a row. */
const RATIO_MAX = 3.2;
const TOLD_RATIO = 1.5; /* Of a card that has words and no picture. */

function overviewRatio(picture) {
  if (picture.reason) return TOLD_RATIO;
  return Math.min(RATIO_MAX, Math.max(RATIO_MIN, picture.width / picture.height));
}

/* Breaks pictures into full rows whose heights are as near to the ideal as can be: the best sum over all ways to break,
   found from the front. A greedy break leaves one row towering and a lone picture at the end. Returns a row for each
   break: from which picture to which, its top and its height. */
function breakRows(ratios, width, gap, ideal, tallest) {
  const best = [{ cost: 0 }];
  for (let end = 1; end <= ratios.length; end++) {
    let sum = 0;
    let found = null;
    for (let start = end - 1; start >= 0; start--) {
      sum += ratios[start];
      const height = (width - gap * (end - 1 - start)) / sum;
      if (height < ideal / 3 && start < end - 1) break;
      const cost = best[start].cost + Math.log(height / ideal) ** 2;
      if (!found || cost < found.cost) found = { cost, start, height };
    }
    best.push(found);
  }
  const rows = [];
  for (let end = ratios.length; end > 0; end = best[end].start) {
    rows.unshift({ start: best[end].start, end, height: Math.min(best[end].height, tallest) });
  }
  let top = 0;
  for (const row of rows) {
    row.top = top;
    top += row.height + CAPTION_PX + gap;
  }
  return rows;
}

/* `wireCard(element, index)` is called for each card once it is made; indexes are those of `pictures`. Nothing is shown
   before `show` says what. */
class Grid {
  constructor(element, template, pictures, wireCard) {
    this.element = element;
    this.template = template;
    this.pictures = pictures;
    this.wireCard = wireCard;
    this.ratios = pictures.map(overviewRatio);
    this.cards = new Map(); /* What is in the document, by index. */
    this.cuts = new Map(); /* Where sliders were left, by index. */
    this.rows = [];
    this.width = 0;
    this.shown = [];
    new ResizeObserver(() => {
      if (element.clientWidth !== this.width) this.lay();
    }).observe(element);
    addEventListener("scroll", () => this.draw(), { passive: true });
    addEventListener("resize", () => this.draw());
  }

  /* `indexes` of what is chosen, in order. */
  show(indexes) {
    this.shown = indexes;
    this.places = new Map(indexes.map((index, place) => [index, place]));
    for (const card of this.cards.values()) card.remove();
    this.cards.clear();
    this.lay();
  }

  lay() {
    const gap = parseFloat(getComputedStyle(this.element).columnGap) || 0;
    const ideal = Math.min(300, Math.max(210, innerWidth * 0.22));
    const few = this.shown.length < 4 ? innerHeight * 0.62 : 1.7 * ideal;
    this.width = this.element.clientWidth;
    this.gap = gap;
    this.rows = breakRows(this.shown.map((index) => this.ratios[index]), this.width, gap, ideal, Math.max(few, ideal));
    const last = this.rows.at(-1);
    this.element.style.height = last ? `${last.top + last.height + CAPTION_PX}px` : "0";
    for (const [index, card] of this.cards) this.put(card, index);
    this.element.classList.add("rows");
    this.draw();
  }

  rowOf(place) {
    let low = 0;
    let high = this.rows.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.rows[middle].end > place) high = middle;
      else low = middle + 1;
    }
    return this.rows[low];
  }

  put(card, index) {
    const place = this.places.get(index);
    const row = this.rowOf(place);
    let left = 0;
    for (let before = row.start; before < place; before++) left += this.ratios[this.shown[before]] * row.height + this.gap;
    card.style.top = `${row.top}px`;
    card.style.left = `${left}px`;
    card.style.width = `${this.ratios[index] * row.height}px`;
    card.style.setProperty("--height", `${row.height}px`);
  }

  /* Has in the document what is on the screen, a screen above and one below, and what has the focus. */
  draw() {
    const top = -this.element.getBoundingClientRect().top;
    const from = top - innerHeight;
    const to = top + 2 * innerHeight;
    const wanted = new Set();
    for (const row of this.rows) {
      if (row.top > to) break;
      if (row.top + row.height + CAPTION_PX < from) continue;
      for (let place = row.start; place < row.end; place++) wanted.add(this.shown[place]);
    }
    for (const [index, card] of this.cards) {
      if (wanted.has(index)) continue;
      if (card.contains(document.activeElement)) wanted.add(index);
      else {
        card.remove();
        this.cards.delete(index);
      }
    }
    /* In their order, for the Tab key; what is there already is never moved, or it would lose the focus. */
    let next = this.element.firstElementChild;
    for (const index of [...wanted].sort((a, b) => this.places.get(a) - this.places.get(b))) {
      const card = this.cards.get(index);
      if (card && card === next) next = next.nextElementSibling;
      else if (!card) this.element.insertBefore(this.make(index), next);
    }
  }

  make(index) {
    const picture = this.pictures[index];
    const card = this.template.content.firstElementChild.cloneNode(true);
    card.id = `p${index + 1}`;
    card.setAttribute("aria-posinset", this.places.get(index) + 1);
    card.setAttribute("aria-setsize", this.shown.length);
    setName(card.querySelector(".name"), picture.name);
    card.querySelector(".open").title = picture.name;
    if (picture.reason) {
      card.classList.add("failed");
      card.querySelector(".compare").remove();
      tell(card, picture);
    } else {
      card.querySelector(".told").remove();
      const size = `${picture.width} × ${picture.height}`;
      card.querySelector(".size").textContent = DATA.looks.length > 1 ? DATA.looks[picture.look ?? 0].name : size;
      setImages(card, picture, picture.left, picture.right);
    }
    this.cards.set(index, card);
    this.put(card, index);
    this.wireCard(card, index);
    return card;
  }

  /* Scrolls to a picture and gives it the focus; nothing where it is not among those shown. */
  focus(index) {
    if (!this.places.has(index)) return;
    const row = this.rowOf(this.places.get(index));
    const top = this.element.getBoundingClientRect().top + row.top;
    if (top < 80 || top + row.height + CAPTION_PX > innerHeight) {
      scrollBy({ top: top - Math.max(80, (innerHeight - row.height - CAPTION_PX) / 2), behavior: "instant" });
    }
    this.draw();
    this.cards.get(index).querySelector(".open").focus({ preventScroll: true });
  }

  /* The neighbour of a picture in the direction of an arrow key, or the picture itself at an edge. */
  neighbour(index, key) {
    const place = this.places.get(index);
    const step = { ArrowLeft: -1, ArrowRight: 1 }[key];
    if (step) return this.shown[place + step] ?? index;
    const row = this.rowOf(place);
    const other = this.rows[this.rows.indexOf(row) + (key === "ArrowUp" ? -1 : 1)];
    if (!other) return index;
    const middle = (from, until) => this.shown.slice(from, until).reduce((sum, i) => sum + this.ratios[i], 0);
    const across = (middle(row.start, place) + this.ratios[index] / 2) * row.height;
    let nearest = other.start;
    for (let candidate = other.start; candidate < other.end; candidate++) {
      const distance = (at) => Math.abs((middle(other.start, at) + this.ratios[this.shown[at]] / 2) * other.height - across);
      if (distance(candidate) < distance(nearest)) nearest = candidate;
    }
    return this.shown[nearest];
  }
}

/* All that comes from a run is set as text or as an address, never as markup. */
function setName(element, name) {
  const folder = document.createElement("span");
  const file = document.createElement("span");
  const cut = name.lastIndexOf("/") + 1;
  folder.className = "folder";
  folder.textContent = name.slice(0, cut);
  file.textContent = name.slice(cut);
  element.replaceChildren(...(cut ? [folder] : []), file);
}

function tell(scope, picture) {
  scope.querySelector(".reason").textContent = picture.reason ?? "";
  scope.querySelector(".message").textContent = picture.message ?? "";
}

function setImages(scope, picture, left, right) {
  const [leftSide, rightSide] = DATA.sides.map((side) => side.toLowerCase());
  for (const [selector, source, side] of [[".left", left, leftSide], [".right", right, rightSide]]) {
    const image = scope.querySelector(selector);
    image.alt = `${picture.name}, ${side}`;
    image.width = picture.width;
    image.height = picture.height;
    image.src = source;
  }
  scope.querySelector("input").setAttribute("aria-label", `Compare ${leftSide} and ${rightSide}: ${picture.name}`);
}

/* A slider between two pictures. Pointers are followed here, not by the range input: some touch browsers let only its
   thumb be dragged. `dragged(event)` may say no to a drag, `moved(value)` hears of each move, and `tapped(event)` of a
   click that was no drag. Returns a function that sets the slider. */
function wireSlider(compare, { may = () => true, moved = () => {}, tapped }) {
  const range = compare.querySelector("input");
  let startX = null;
  let dragging = false;
  let wasDragged = false;

  const show = () => {
    compare.style.setProperty("--cut", `${range.value}%`);
    range.setAttribute("aria-valuetext", `${Math.round(range.value)}% ${DATA.sides[0].toLowerCase()}`);
    moved(Number(range.value));
  };
  const set = (value) => {
    range.value = value;
    show();
  };
  const moveTo = (x) => {
    const box = compare.getBoundingClientRect();
    set((100 * (x - box.left)) / box.width);
  };
  range.addEventListener("input", show);
  compare.addEventListener("pointerdown", (event) => {
    wasDragged = false;
    if (!event.isPrimary || event.button !== 0 || !may(event)) return;
    startX = event.clientX;
    dragging = false;
    compare.setPointerCapture(event.pointerId);
  });
  compare.addEventListener("pointermove", (event) => {
    if (startX === null || !event.isPrimary) return;
    dragging ||= Math.abs(event.clientX - startX) > 4;
    if (dragging) moveTo(event.clientX);
  });
  for (const end of ["pointerup", "pointercancel"]) {
    compare.addEventListener(end, () => {
      wasDragged = dragging;
      startX = null;
      dragging = false;
    });
  }
  compare.addEventListener("click", (event) => {
    if (!wasDragged) tapped(event, moveTo);
    wasDragged = false;
  });
  return set;
}
