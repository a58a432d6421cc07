
const DATA = JSON.parse(document.querySelector("#data").textContent);

if (DATA.pictures.length) {
  const { pictures, looks } = DATA;
  const names = pictures.map((picture) => picture.name.toLocaleLowerCase());
  const search = document.querySelector("#search");
  const style = document.querySelector("#style");
  const form = document.querySelector(".tools");

  const view = new View(document.querySelector("dialog"), pictures, looks, {
    sideBySide: DATA.sideBySide,
    leave: (index) => grid.focus(index),
  });
  const open = (index) => view.open(index, grid.shown, grid.cuts.get(index) ?? 50);

  const grid = new Grid(
    document.querySelector(".grid"),
    document.querySelector("#card"),
    pictures,
    (card, index) => {
      const button = card.querySelector(".open");
      button.addEventListener("click", () => open(index));
      button.addEventListener("keydown", (event) => {
        if (!["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"].includes(event.key)) return;
        event.preventDefault();
        grid.focus(grid.neighbour(index, event.key));
      });
      const compare = card.querySelector(".compare");
      if (!compare) {
        card.querySelector(".told").addEventListener("click", () => open(index));
        return;
      }
      const set = wireSlider(compare, {
        moved: (value) => grid.cuts.set(index, value),
        tapped: () => open(index),
      });
      set(grid.cuts.get(index) ?? 50);
      compare.querySelector("input").addEventListener("keydown", (event) => {
        if (event.key === "Enter") open(index);
      });
    },
  );

  const choose = () => {
    const words = search.value.toLocaleLowerCase().split(/\s+/).filter(Boolean);
    const outcome = form.elements.outcome?.value ?? "";
    const wanted = style?.selectedOptions[0];
    const chosen = [];
    pictures.forEach((picture, index) => {
      if (outcome && (outcome === "failed") !== Boolean(picture.reason)) return;
      const look = picture.look ?? 0;
      if (wanted?.dataset.kind === "look" && look !== Number(wanted.value)) return;
      if (wanted?.dataset.kind === "style" && !looks[look].styles.includes(wanted.value)) return;
      if (words.every((word) => names[index].includes(word))) chosen.push(index);
    });
    grid.show(chosen);
    const count = (number) => number.toLocaleString("en");
    document.querySelector("#shown").textContent =
      chosen.length === pictures.length ? "" : `${count(chosen.length)} of ${count(pictures.length)}`;
    document.querySelector("#nothing").hidden = chosen.length > 0;
  };
  const reset = () => {
    form.reset();
    choose();
    search.focus();
  };
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", choose);
  document.querySelector("#reset").addEventListener("click", reset);
  search.addEventListener("keydown", (event) => {
    if (event.key === "Escape") reset();
  });
  addEventListener("keydown", (event) => {
    const typing = event.target.matches?.("input:not([type=range]):not([type=radio]), select");
    if (event.key !== "/" || typing || document.querySelector("dialog").open) return;
    event.preventDefault();
    search.focus();
    search.select();
  });
  choose();
}
