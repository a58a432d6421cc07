
"use strict";
(() => {
  const cards = [...document.querySelectorAll(".card")];
  const dialog = document.querySelector("dialog");
  const inDialog = (selector) => dialog.querySelector(selector);
  let current = 0;

  /* Pointers are followed here, not by the range input: some touch browsers let only its thumb be dragged. */
  function wire(compare, tapped) {
    const range = compare.querySelector("input");
    let startX = null;
    let dragged = false;

    const show = () => {
      compare.style.setProperty("--cut", `${range.value}%`);
      range.setAttribute("aria-valuetext", `${Math.round(range.value)}% before`);
    };
    const moveTo = (x) => {
      const box = compare.getBoundingClientRect();
      range.value = (100 * (x - box.left)) / box.width;
      show();
    };
    range.addEventListener("input", show);
    compare.addEventListener("pointerdown", (event) => {
      if (!event.isPrimary || event.button !== 0) return;
      startX = event.clientX;
      dragged = false;
      compare.setPointerCapture(event.pointerId);
    });
    compare.addEventListener("pointermove", (event) => {
      if (startX === null || !event.isPrimary) return;
      dragged ||= Math.abs(event.clientX - startX) > 4;
      if (dragged) moveTo(event.clientX);
    });
    for (const end of ["pointerup", "pointercancel"]) compare.addEventListener(end, () => (startX = null));
    compare.addEventListener("click", (event) => {
      if (!dragged) tapped(event, moveTo);
      dragged = false;
    });
    show();
  }

  /* Breaks the pictures into full rows whose heights are as near to the ideal as can be: the best sum over all ways to
     break, found from the front. A greedy break leaves one row towering and a lone picture at the end. */
  function layRows(grid) {
    const gap = parseFloat(getComputedStyle(grid).columnGap);
    const ideal = Math.min(300, Math.max(210, window.innerWidth * 0.22));
    const ratios = cards.map((card) => parseFloat(getComputedStyle(card).getPropertyValue("--ratio")));
    const best = [{ cost: 0 }];
    for (let end = 1; end <= cards.length; end++) {
      let sum = 0;
      for (let start = end - 1; start >= 0; start--) {
        sum += ratios[start];
        const height = (grid.clientWidth - gap * (end - 1 - start)) / sum;
        if (height < ideal / 3 && start < end - 1) break;
        const cost = best[start].cost + Math.log(height / ideal) ** 2;
        if (!(cost >= best[end]?.cost)) best[end] = { cost, start, height };
      }
    }
    for (let end = cards.length; end > 0; end = best[end].start) {
      for (let i = best[end].start; i < end; i++) {
        /* Rounded down: half a pixel too much would move the row's last picture to the next one. */
        cards[i].style.setProperty("--width", `${Math.floor(100 * ratios[i] * best[end].height) / 100 - 0.01}px`);
      }
    }
    grid.classList.add("rows");
  }

  function open(index) {
    current = (index + cards.length) % cards.length;
    const card = cards[current];
    const compare = card.querySelector(".compare").cloneNode(true);
    const image = compare.querySelector("img");
    const width = Number(image.getAttribute("width"));
    compare.style.setProperty("--ratio", width / Number(image.getAttribute("height")));
    compare.style.setProperty("--most", `${2 * width}px`);
    compare.querySelector("input").value = card.querySelector("input").value;
    for (const each of compare.querySelectorAll("img")) each.loading = "eager";

    const details = card.querySelector(".details").cloneNode(true);
    details.hidden = false;
    inDialog("#view-name").textContent = card.querySelector(".name").textContent;
    inDialog(".position").textContent = `${current + 1} / ${cards.length}`;
    inDialog(".stage").replaceChildren(compare);
    inDialog(".about").replaceChildren(details);
    for (const arrow of [".previous", ".next"]) inDialog(arrow).hidden = cards.length < 2;
    wire(compare, (event, moveTo) => moveTo(event.clientX));
    const opening = !dialog.open;
    if (opening) dialog.showModal();
    /* A reader who works with the arrow buttons stays on them; one who used the slider gets the new slider. */
    if (opening || !document.activeElement?.matches("dialog button")) compare.querySelector("input").focus();
  }

  const grid = document.querySelector(".grid");
  if (cards.length > 1) new ResizeObserver(() => layRows(grid)).observe(grid);
  cards.forEach((card, index) => {
    wire(card.querySelector(".compare"), () => open(index));
    card.querySelector("input").addEventListener("keydown", (event) => {
      if (event.key === "Enter") open(index);
    });
    card.querySelector(".open").addEventListener("click", () => open(index));
  });
  inDialog(".close").addEventListener("click", () => dialog.close());
  inDialog(".previous").addEventListener("click", () => open(current - 1));
  inDialog(".next").addEventListener("click", () => open(current + 1));
  inDialog(".stage").addEventListener("click", (event) => {
    if (event.target === event.currentTarget) dialog.close();
  });
  dialog.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step === undefined) return;
    event.preventDefault(); /* Else the slider moves too; up and down are its keys here. */
    open(current + step);
  });
  /* Back to where the reader now is, which may be far from where the view was opened. */
  dialog.addEventListener("close", () => cards[current].querySelector(".open").focus());
})();
