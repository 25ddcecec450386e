// A picture to look at closely: zoom by buttons, keys, Ctrl and wheel, or two fingers; pan by dragging; parts of it,
// such as faces or seconds, are chosen by a click or by the keyboard.
const MOST = 16;
const STEP = 1.5;
// Pixels that a pointer may move and still click.
const STILL = 4;
// How often a person is told how the wheel zooms.
let hintsLeft = 3;

function make(tag, className, label) {
  const made = document.createElement(tag);
  made.className = className;
  if (label) {
    made.title = label;
    made.setAttribute("aria-label", label);
  }
  return made;
}

function render({ model, el }) {
  const viewer = make("div", "rdf-viewer");
  viewer.setAttribute("role", "group");
  const frame = make("div", "rdf-viewer-frame");
  const stage = make("div", "rdf-viewer-stage");
  const image = make("img", "rdf-viewer-image");
  image.draggable = false;
  const tools = make("div", "rdf-viewer-tools");
  const closer = make("button", "rdf-viewer-tool", "Zoom in (+)");
  closer.textContent = "+";
  const further = make("button", "rdf-viewer-tool", "Zoom out (-)");
  further.textContent = "\u2212";
  const whole = make("button", "rdf-viewer-tool", "Show the whole picture (0)");
  whole.textContent = "\u2922";
  const hint = make("div", "rdf-viewer-hint");
  hint.hidden = true;
  hint.textContent = "Ctrl and wheel zoom";
  tools.append(closer, further, whole);
  stage.append(image);
  frame.append(stage, hint);
  viewer.append(frame, tools);
  el.append(viewer);
  const stops = [];
  const listen = (name, listener) => {
    model.on(`change:${name}`, listener);
    stops.push(() => model.off(`change:${name}`, listener));
  };

  // ---- zoom and pan
  let scale = 1;
  let x = 0;
  let y = 0;
  const place = () => {
    const { clientWidth: width, clientHeight: height } = frame;
    scale = Math.min(Math.max(scale, 1), MOST);
    x = Math.min(Math.max(x, width * (1 - scale)), 0);
    y = Math.min(Math.max(y, height * (1 - scale)), 0);
    stage.style.transform = scale === 1 ? "" : `translate(${x}px, ${y}px) scale(${scale})`;
    stage.style.setProperty("--rdf-scale", scale);
    const zoomed = scale > 1;
    viewer.classList.toggle("rdf-zoomed", zoomed);
    further.disabled = whole.disabled = !zoomed;
    closer.disabled = scale >= MOST;
  };
  // (px, py): the point of the frame that stays where it is.
  const zoom = (factor, px = frame.clientWidth / 2, py = frame.clientHeight / 2) => {
    const before = scale;
    scale = Math.min(Math.max(scale * factor, 1), MOST);
    x = px - ((px - x) * scale) / before;
    y = py - ((py - y) * scale) / before;
    place();
  };
  const reset = () => {
    scale = 1;
    x = y = 0;
    place();
  };
  const at = (event) => {
    const area = frame.getBoundingClientRect();
    return [event.clientX - area.left, event.clientY - area.top];
  };
  closer.onclick = () => zoom(STEP);
  further.onclick = () => zoom(1 / STEP);
  whole.onclick = reset;
  let timer = null;
  frame.addEventListener(
    "wheel",
    (event) => {
      if (event.ctrlKey || event.metaKey || (scale > 1 && !event.shiftKey)) {
        event.preventDefault();
        event.stopPropagation();
        zoom(Math.exp(-event.deltaY * (event.ctrlKey && Math.abs(event.deltaY) < 50 ? 0.01 : 0.002)), ...at(event));
      } else if (hintsLeft > 0 && hint.hidden) {
        hintsLeft -= 1;
        hint.hidden = false;
        clearTimeout(timer);
        timer = setTimeout(() => (hint.hidden = true), 1200);
      }
    },
    { passive: false },
  );
  frame.addEventListener("dblclick", (event) => {
    event.preventDefault();
    reset();
  });
  const pointers = new Map();
  let moved = 0;
  frame.addEventListener("pointerdown", (event) => {
    if (event.pointerType === "mouse" && event.button !== 0) return;
    pointers.set(event.pointerId, [event.clientX, event.clientY]);
    if (pointers.size === 1) moved = 0;
  });
  const move = (event) => {
    const last = pointers.get(event.pointerId);
    if (!last) return;
    const [dx, dy] = [event.clientX - last[0], event.clientY - last[1]];
    moved += Math.hypot(dx, dy);
    if (pointers.size === 2) {
      const other = [...pointers].find(([id]) => id !== event.pointerId)[1];
      const before = Math.hypot(last[0] - other[0], last[1] - other[1]);
      const now = Math.hypot(event.clientX - other[0], event.clientY - other[1]);
      const area = frame.getBoundingClientRect();
      const middle = [(event.clientX + other[0]) / 2 - area.left, (event.clientY + other[1]) / 2 - area.top];
      if (before > 0) zoom(now / before, ...middle);
    } else if (scale > 1 && moved > STILL) {
      x += dx;
      y += dy;
      place();
    }
    pointers.set(event.pointerId, [event.clientX, event.clientY]);
  };
  const lift = (event) => pointers.delete(event.pointerId);
  for (const [name, listener] of [["pointermove", move], ["pointerup", lift], ["pointercancel", lift]]) {
    window.addEventListener(name, listener);
    stops.push(() => window.removeEventListener(name, listener));
  }
  // A drag that ends on a face does not choose it.
  frame.addEventListener(
    "click",
    (event) => {
      if (moved <= STILL || event.detail === 0) return;
      event.preventDefault();
      event.stopPropagation();
    },
    true,
  );
  viewer.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const pan = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] }[event.key];
    const face = event.target.closest(".rdf-viewer-region")?.getBoundingClientRect();
    const around = face ? at({ clientX: face.left + face.width / 2, clientY: face.top + face.height / 2 }) : [];
    if (event.key === "+" || event.key === "=") zoom(STEP, ...around);
    else if (event.key === "-") zoom(1 / STEP, ...around);
    else if (event.key === "0" || (event.key === "Escape" && scale > 1)) reset();
    else if (pan && event.shiftKey && scale > 1) {
      x += pan[0];
      y += pan[1];
      place();
    } else return;
    event.preventDefault();
    event.stopPropagation();
  });

  // ---- the picture
  let url = null;
  const draw = () => {
    const data = model.get("value");
    const old = url;
    url = data && data.byteLength ? URL.createObjectURL(new Blob([data], { type: "image/png" })) : null;
    if (url) image.src = url;
    else image.removeAttribute("src");
    if (old) URL.revokeObjectURL(old);
    if (!url) reset();
  };
  const name = () => {
    image.alt = model.get("label");
    viewer.setAttribute("aria-label", model.get("label"));
    frame.style.maxWidth = model.get("max_width") ? `${model.get("max_width")}px` : "";
    image.classList.toggle("rdf-sharp", model.get("sharp"));
  };

  // ---- what can be chosen
  const percent = (part) => `${(100 * part).toFixed(3)}%`;
  const put = (part, [left, top, right, bottom]) => {
    part.style.left = percent(left);
    part.style.top = percent(top);
    part.style.width = percent(right - left);
    part.style.height = percent(bottom - top);
  };
  let regions = [];
  const mark = () => regions.forEach((part, i) => part.setAttribute("aria-pressed", String(i === model.get("chosen"))));
  let boxes = [];
  const region = (i) => {
    const part = make("button", "rdf-viewer-region", "Part");
    part.onclick = (event) => {
      if (event.detail < 2) model.send({ region: i });
    };
    part.onfocus = () => {
      if (scale === 1 || !part.matches(":focus-visible")) return;
      const [left, top, right, bottom] = boxes[i];
      x = frame.clientWidth / 2 - ((left + right) / 2) * frame.clientWidth * scale;
      y = frame.clientHeight / 2 - ((top + bottom) / 2) * frame.clientHeight * scale;
      place();
    };
    stage.append(part);
    return part;
  };
  // The buttons of the picture before are used again, so that one that has the focus keeps it.
  const fill = () => {
    const found = model.get("regions");
    boxes = found.map(([, ...box]) => box);
    while (regions.length > found.length) regions.pop().remove();
    while (regions.length < found.length) regions.push(region(regions.length));
    found.forEach(([words, ...box], i) => {
      const part = regions[i];
      part.title = words;
      part.setAttribute("aria-label", words);
      put(part, box);
      // Small ones lie over large ones, whatever their order.
      part.style.zIndex = String(Math.round(1000 * (1 - (box[2] - box[0]) * (box[3] - box[1]))));
    });
    mark();
  };

  // ---- seconds of a plot over time
  const axis = make("div", "rdf-viewer-time");
  axis.setAttribute("role", "slider");
  axis.setAttribute("aria-label", "Time: a click shows the frame that was analysed there");
  axis.tabIndex = 0;
  const line = make("div", "rdf-viewer-line");
  const words = make("div", "rdf-viewer-seconds");
  line.append(words);
  axis.append(line);
  const seconds = (event) => {
    const area = axis.getBoundingClientRect();
    const [, , , , first, last] = model.get("time_axis");
    const share = Math.min(Math.max((event.clientX - area.left) / area.width, 0), 1);
    return [first + share * (last - first), share];
  };
  const clock = () => {
    const found = model.get("time_axis");
    if (!found.length) return axis.remove();
    put(axis, found);
    const now = model.get("time") ?? found[4];
    axis.setAttribute("aria-valuemin", found[4].toFixed(2));
    axis.setAttribute("aria-valuemax", found[5].toFixed(2));
    axis.setAttribute("aria-valuenow", now.toFixed(2));
    axis.setAttribute("aria-valuetext", `${now.toFixed(2)} s`);
    axis.title = "Click: show the frame that was analysed there. Arrow keys: the next or previous one";
    if (!axis.isConnected) stage.append(axis);
  };
  axis.onpointermove = (event) => {
    const [time, share] = seconds(event);
    line.style.left = percent(share);
    words.textContent = `${time.toFixed(2)} s`;
    words.classList.toggle("rdf-left-of-line", share > 0.8);
  };
  axis.onclick = (event) => model.send({ time: seconds(event)[0] });
  axis.addEventListener("keydown", (event) => {
    const [, , , , first, last] = model.get("time_axis");
    const by = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
    if (event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return;
    if (by) model.send({ step: by });
    else if (event.key === "Home") model.send({ time: first });
    else if (event.key === "End") model.send({ time: last });
    else return;
    event.preventDefault();
    event.stopPropagation();
  });

  listen("value", draw);
  listen("regions", fill);
  listen("chosen", mark);
  listen("time_axis", clock);
  listen("time", clock);
  for (const trait of ["label", "max_width", "sharp"]) listen(trait, name);
  name();
  draw();
  fill();
  clock();
  place();
  return () => {
    stops.forEach((end) => end());
    clearTimeout(timer);
    if (url) URL.revokeObjectURL(url);
  };
}
export default { render };
