
/* The full-size view: two versions of one picture over or beside each other, with one pan and zoom for both. */

const ZOOM_MAX = 16;
const ZOOM_STEP = 1.5;

class View {
  /* `leave(index)` is told where the reader was when the view is closed. */
  constructor(dialog, pictures, looks, { sideBySide, leave }) {
    this.dialog = dialog;
    this.pictures = pictures;
    this.looks = looks;
    this.compare = dialog.querySelector(".compare");
    this.pointers = new Map();
    this.moved = false;
    this.reset();
    this.setSlider = wireSlider(this.compare, {
      may: (event) => !this.beside && (this.zoom === 1 || event.target.closest(".divider")) && this.pointers.size === 0,
      moved: (value) => (this.cut = value),
      tapped: (event, moveTo) => {
        if (!this.beside && this.zoom === 1 && !this.moved) moveTo(event.clientX);
      },
    });
    this.layOut(sideBySide);
    this.wirePointers();
    const on = (selector, act) => dialog.querySelector(selector).addEventListener("click", act);
    on(".close", () => dialog.close());
    on(".previous", () => this.step(-1));
    on(".next", () => this.step(1));
    on(".layout", () => this.layOut(!this.beside));
    on(".in", () => this.zoomTo(this.zoom * ZOOM_STEP));
    on(".out", () => this.zoomTo(this.zoom / ZOOM_STEP));
    on(".fit", () => this.zoomTo(1));
    dialog.querySelector(".stage").addEventListener("click", (event) => {
      if (event.target === event.currentTarget) dialog.close();
    });
    /* Of the document: what had the focus may just have been hidden. */
    document.addEventListener("keydown", (event) => dialog.open && this.key(event));
    /* Back to where the reader now is, which may be far from where the view was opened. */
    dialog.addEventListener("close", () => leave(this.index));
  }

  /* `order` has the indexes that the arrows walk through. */
  open(index, order, cut) {
    this.order = order;
    this.index = index;
    const picture = this.pictures[index];
    const { dialog, compare } = this;
    this.reset();
    dialog.classList.toggle("failed", Boolean(picture.reason));
    tell(dialog, picture);
    if (!picture.reason) {
      compare.style.setProperty("--ratio", picture.width / picture.height);
      compare.style.setProperty("--most", `${2 * picture.width}px`);
      setImages(compare, picture, picture.fullLeft ?? picture.left, picture.fullRight ?? picture.right);
      this.setSlider(cut);
    }
    this.transform();
    setName(dialog.querySelector("#view-name"), picture.name);
    dialog.querySelector(".position").textContent =
      `${(order.indexOf(index) + 1).toLocaleString("en")} / ${order.length.toLocaleString("en")}`;
    dialog.querySelector(".details").replaceChildren(...this.details(picture).map(([label, value]) => pair(label, value)));
    dialog.querySelector(".about").scrollTop = 0;
    for (const arrow of [".previous", ".next"]) dialog.querySelector(arrow).hidden = order.length < 2;
    const opening = !dialog.open;
    if (opening) dialog.showModal();
    /* A reader who works with the buttons stays on them; one who used the slider gets the slider. */
    if (opening || !document.activeElement?.matches("dialog button")) {
      (picture.reason || this.beside ? dialog.querySelector(".close") : compare.querySelector("input")).focus();
    }
  }

  details(picture) {
    const look = this.looks[picture.look ?? 0];
    const size = picture.reason ? [] : [["Size", `${picture.width} × ${picture.height} px`]];
    const run = this.looks.length > 1 ? [["Run", look.name]] : [];
    const style = look.styles.length ? [["Style", look.styles.join(", ")]] : [];
    return [...run, ...size, ...(picture.details ?? []), ...style, ...look.settings];
  }

  step(by) {
    const place = this.order.indexOf(this.index) + by;
    this.open(this.order[(place + this.order.length) % this.order.length], this.order, this.cut);
  }

  layOut(beside) {
    this.beside = beside;
    this.dialog.classList.toggle("beside", beside);
    const button = this.dialog.querySelector(".layout");
    button.setAttribute("aria-pressed", beside);
    if (this.dialog.open && document.activeElement?.matches(".stage input")) button.focus();
    this.transform();
  }

  /* --- pan and zoom: in shares of a pane, so that both panes show the same part ------------------------------------ */

  reset() {
    Object.assign(this, { zoom: 1, x: 0, y: 0 });
  }

  transform() {
    const least = 1 - this.zoom;
    this.x = Math.min(0, Math.max(least, this.x));
    this.y = Math.min(0, Math.max(least, this.y));
    for (const image of this.compare.querySelectorAll("img")) {
      image.style.transform = `translate(${100 * this.x}%, ${100 * this.y}%) scale(${this.zoom})`;
    }
    this.compare.classList.toggle("zoomed", this.zoom > 1);
    this.dialog.querySelector(".factor").textContent = `${this.zoom.toFixed(this.zoom % 1 && this.zoom < 10 ? 1 : 0)}×`;
  }

  /* The pane below a point, and where in it the point is, 0 to 1. */
  inPane(clientX, clientY) {
    const panes = [...this.compare.querySelectorAll(".before, .after")].map((pane) => pane.getBoundingClientRect());
    const box = panes.find((pane) => clientX >= pane.left && clientX <= pane.right) ?? panes[0];
    return { box, x: (clientX - box.left) / box.width, y: (clientY - box.top) / box.height };
  }

  /* What lies at (x, y) of the pane stays there. */
  zoomTo(zoom, x = 0.5, y = 0.5) {
    const next = Math.min(ZOOM_MAX, Math.max(1, zoom));
    const factor = next / this.zoom;
    this.x = x - (x - this.x) * factor;
    this.y = y - (y - this.y) * factor;
    this.zoom = next < 1.001 ? 1 : next;
    this.transform();
  }

  pan(x, y) {
    this.x += x;
    this.y += y;
    this.transform();
  }

  wirePointers() {
    const { compare, pointers } = this;
    const middle = () => {
      const all = [...pointers.values()];
      const mean = (name) => all.reduce((sum, at) => sum + at[name], 0) / all.length;
      const spread = all.length > 1 ? Math.hypot(all[0].x - all[1].x, all[0].y - all[1].y) : 0;
      return { x: mean("x"), y: mean("y"), spread };
    };
    compare.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      if (pointers.size === 0) this.moved = false;
      /* The divider's own drag is the slider's, unless a second finger makes it a pinch. */
      if (pointers.size === 0 && !this.beside && event.target.closest(".divider")) return;
      pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
      compare.setPointerCapture(event.pointerId);
    });
    compare.addEventListener("pointermove", (event) => {
      if (!pointers.has(event.pointerId)) return;
      const before = middle();
      pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
      const after = middle();
      const { box, x, y } = this.inPane(after.x, after.y);
      if (this.zoom > 1 || pointers.size > 1) {
        this.moved ||= Math.hypot(after.x - before.x, after.y - before.y) > 1 || after.spread !== before.spread;
        this.pan((after.x - before.x) / box.width, (after.y - before.y) / box.height);
      }
      if (before.spread && after.spread) this.zoomTo((this.zoom * after.spread) / before.spread, x, y);
    });
    for (const end of ["pointerup", "pointercancel"]) {
      compare.addEventListener(end, (event) => pointers.delete(event.pointerId));
    }
    compare.addEventListener(
      "wheel",
      (event) => {
        event.preventDefault();
        const { x, y } = this.inPane(event.clientX, event.clientY);
        this.zoomTo(this.zoom * Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.002)), x, y);
      },
      { passive: false },
    );
    compare.addEventListener("dblclick", (event) => {
      const { x, y } = this.inPane(event.clientX, event.clientY);
      this.zoomTo(this.zoom > 1 ? 1 : 3, x, y);
    });
  }

  key(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const by = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    const acts = {
      "+": () => this.zoomTo(this.zoom * ZOOM_STEP),
      "=": () => this.zoomTo(this.zoom * ZOOM_STEP),
      "-": () => this.zoomTo(this.zoom / ZOOM_STEP),
      0: () => this.zoomTo(1),
      s: () => this.layOut(!this.beside),
      S: () => this.layOut(!this.beside),
    };
    if (by && event.shiftKey) this.pan(-0.15 * by[0], -0.15 * by[1]);
    else if (by?.[0]) this.step(by[0]); /* Else the slider moves too; up and down are its keys here. */
    else if (!by && acts[event.key]) acts[event.key]();
    else return;
    event.preventDefault();
  }
}

function pair(label, value) {
  const box = document.createElement("div");
  const term = document.createElement("dt");
  const text = document.createElement("dd");
  term.textContent = label;
  text.textContent = value;
  text.dir = "auto";
  box.append(term, text);
  return box;
}
