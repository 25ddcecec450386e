// Thumbnails to choose a picture by, each with its verdict.
function render({ model, el }) {
  const strip = document.createElement("div");
  strip.className = "rdf-strip";
  strip.setAttribute("role", "listbox");
  strip.setAttribute("aria-label", model.get("label"));
  strip.setAttribute("aria-orientation", "horizontal");
  el.append(strip);
  let urls = [];

  const mark = () => {
    const chosen = model.get("value");
    const held = strip.contains(document.activeElement);
    [...strip.children].forEach((item, i) => {
      item.setAttribute("aria-selected", String(i === chosen));
      item.tabIndex = i === chosen || (chosen === null && i === 0) ? 0 : -1;
    });
    const item = strip.children[chosen ?? -1];
    if (!item) return;
    if (held) item.focus({ preventScroll: true });
    strip.scrollLeft = item.offsetLeft - (strip.clientWidth - item.clientWidth) / 2;
  };
  const fill = () => {
    urls.forEach((url) => URL.revokeObjectURL(url));
    const thumbnails = model.get("thumbnails");
    urls = thumbnails.map((png) => URL.createObjectURL(new Blob([png], { type: "image/jpeg" })));
    const items = model.get("items").map(([name, verdict], i) => {
      const item = document.createElement("button");
      item.className = "rdf-strip-item";
      item.setAttribute("role", "option");
      item.title = `${i + 1}: ${name}. ${verdict.replace("\n", "; ")}`;
      const image = document.createElement("img");
      if (urls[i]) image.src = urls[i];
      image.alt = "";
      const words = document.createElement("span");
      words.textContent = verdict;
      const file = document.createElement("span");
      file.className = "rdf-strip-name";
      file.textContent = `${i + 1}. ${name}`;
      item.append(image, words, file);
      item.onclick = () => {
        model.set("value", i);
        model.save_changes();
      };
      return item;
    });
    strip.replaceChildren(...items);
    mark();
  };
  model.on("change:value", mark);
  model.on("change:items", fill);
  fill();
  return () => {
    urls.forEach((url) => URL.revokeObjectURL(url));
    model.off("change:value", mark);
    model.off("change:items", fill);
  };
}
export default { render };
