// What a panel needs in the browser and ipywidgets does not do: names and tooltips of all controls, keys, a status
// that stays in the window, the focus kept, and whether the page is dark.
const LINGER = 6000;
const TYPING = "input:not([type=checkbox]), textarea, select, [role=slider], [contenteditable=true], .rdf-keys";
const STEPS = { j: 1, ArrowRight: 1, k: -1, ArrowLeft: -1 };

function dark(element) {
  for (let node = element; node; node = node.parentElement) {
    const [r, g, b, a = 1] = (getComputedStyle(node).backgroundColor.match(/[\d.]+/g) || []).map(Number);
    if (a > 0.5) return 0.299 * r + 0.587 * g + 0.114 * b < 128;
  }
  return matchMedia("(prefers-color-scheme: dark)").matches;
}

// Links to what was saved, where a Jupyter server offers it: files as they are, folders in its list of files.
function link(root) {
  const config = document.getElementById("jupyter-config-data");
  if (!config) return;
  const { serverRoot = "", baseUrl = "/", appName = "" } = JSON.parse(config.textContent);
  for (const anchor of serverRoot ? root.querySelectorAll(".rdf-saved-link:not([href])") : []) {
    const { path, home, folder } = anchor.dataset;
    const top = serverRoot.replace(/^~(?=\/|$)/, home).replace(/\/+$/, "");
    if (!`${path}/`.startsWith(`${top}/`)) continue;
    const list = appName === "JupyterLab" ? "lab/tree" : "tree";
    const inside = path.slice(top.length + 1).split("/").map(encodeURIComponent).join("/");
    anchor.href = `${baseUrl}${folder ? list : "files"}/${inside}`;
    anchor.target = "_blank";
    anchor.rel = "noopener";
  }
}

function start(model, el, root) {
  const stops = [];
  const on = (target, name, listener, options) => {
    target.addEventListener(name, listener, options);
    stops.push(() => target.removeEventListener(name, listener, options));
  };
  const observe = (make) => {
    stops.push(() => make.disconnect());
    return make;
  };
  // JupyterLab ignores keys below an element with this attribute.
  root.setAttribute("data-lm-suppress-shortcuts", "true");
  root.tabIndex = -1;

  // ---- names and tooltips
  const describe = () => {
    for (const [name, [words, tip]] of Object.entries(model.get("hints"))) {
      for (const widget of root.querySelectorAll(`.${name}`)) {
        const inner = [...widget.querySelectorAll("input, select, textarea, button, [role=slider]")];
        for (const part of [widget, ...inner]) if (part.title !== tip) part.title = tip;
        for (const part of inner) {
          if (!part.matches("button") && part.getAttribute("aria-label") !== words) part.setAttribute("aria-label", words);
        }
      }
    }
    for (const image of root.querySelectorAll(".widget-image")) {
      if (!image.alt) image.alt = "A picture; the text beside it says the same in words";
    }
  };
  let due = false;
  const soon = () => {
    if (due) return;
    due = true;
    requestAnimationFrame(() => {
      due = false;
      describe();
      link(root);
    });
  };
  observe(new MutationObserver(soon)).observe(root, { childList: true, subtree: true });
  describe();

  // ---- keys and the focus
  on(root, "keydown", (event) => {
    const by = STEPS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!by || event.ctrlKey || event.metaKey || event.altKey || event.target.closest(TYPING)) return;
    event.preventDefault();
    event.stopPropagation();
    model.send({ step: by });
  });
  let last = null;
  on(root, "focusin", (event) => (last = event.target));
  observe(
    new MutationObserver(() => {
      const lost = document.activeElement === document.body || document.activeElement === last;
      if (last?.disabled && lost) {
        const other = last.parentElement?.querySelector("button:enabled");
        (other || root).focus({ preventScroll: true });
      }
    }),
  ).observe(root, { attributes: true, attributeFilter: ["disabled"], subtree: true });
  // What is hidden while a page is filled loses the focus, and gets it back when it is shown again.
  let held = null;
  observe(
    new MutationObserver((changes) => {
      for (const { target } of changes) {
        if (target.style.visibility === "hidden") {
          if (target.contains(document.activeElement)) {
            held = [document.activeElement, document.activeElement.closest(".rdf-viewer"), target];
          }
        } else if (held && target === held[2]) {
          const [before, viewer] = held;
          held = null;
          // A face may be gone with its picture.
          const now = before.isConnected ? before : viewer?.querySelector(".rdf-viewer-region") || root;
          if (document.activeElement === document.body) now.focus({ preventScroll: true });
        }
      }
    }),
  ).observe(root, { attributes: true, attributeFilter: ["style"], subtree: true });

  // ---- a status that stays in the window
  const float = document.createElement("div");
  float.className = "rdf-float";
  float.hidden = true;
  const words = document.createElement("div");
  const bar = document.createElement("progress");
  const stop = document.createElement("button");
  stop.className = "rdf-button";
  stop.textContent = "Cancel";
  float.append(words, bar, stop);
  // Outside the notebook's cells, which clip what is fixed in the window.
  document.body.append(float);
  stops.push(() => float.remove());
  const seen = new Map();
  let timer = null;
  let shown = null;
  const hide = () => {
    float.hidden = true;
    shown = null;
  };
  const working = (live) => [...live.querySelectorAll("button")].find((b) => b.offsetParent !== null && !b.disabled);
  const mirror = (live) => {
    const text = live.innerText.trim();
    if (seen.get(live) !== false || seen.get(root) === false || !text || root.offsetParent === null) {
      if (shown === live) hide();
      return;
    }
    shown = live;
    const filled = live.querySelector(".progress-bar");
    const busy = working(live);
    words.textContent = busy ? text.replace(/\s*Cancel.*$/, "") : text;
    bar.hidden = !filled || filled.offsetParent === null;
    if (!bar.hidden) bar.value = (parseFloat(filled.style.width) || 0) / 100;
    stop.hidden = !busy;
    stop.onclick = () => busy?.click();
    float.classList.toggle("rdf-float-error", Boolean(live.querySelector(".rdf-error")));
    float.hidden = false;
    clearTimeout(timer);
    timer = setTimeout(() => (working(live) ? mirror(live) : hide()), LINGER);
  };
  const views = observe(
    new IntersectionObserver((entries) => {
      for (const { target, isIntersecting } of entries) {
        seen.set(target, isIntersecting);
        // A panel on a tab that is not shown is not in the window at all.
        if ((isIntersecting && target === shown) || (!isIntersecting && target === root)) hide();
        if (!isIntersecting && target !== root && working(target)) mirror(target);
      }
    }),
  );
  views.observe(root);
  for (const live of root.querySelectorAll(".rdf-live")) {
    views.observe(live);
    const changes = { childList: true, characterData: true, attributes: true, subtree: true };
    // The view is told of a moved block only after a frame.
    observe(new MutationObserver(() => requestAnimationFrame(() => mirror(live)))).observe(live, changes);
  }

  // ---- light or dark
  const theme = () => {
    const found = dark(root);
    if (found !== model.get("dark")) {
      model.set("dark", found);
      model.save_changes();
    }
  };
  const later = () => setTimeout(theme, 300);
  for (const node of [document.documentElement, document.body]) {
    observe(new MutationObserver(later)).observe(node, { attributes: true });
  }
  later();
  return () => stops.forEach((end) => end());
}

function render({ model, el }) {
  el.style.display = "none";
  let end = () => {};
  let left = 200;
  // The element is put into the page after this function has returned.
  const timer = setInterval(() => {
    const root = el.closest(".rdf");
    left -= 1;
    if (root || left < 0) clearInterval(timer);
    if (root) end = start(model, el, root);
  }, 50);
  return () => {
    clearInterval(timer);
    end();
  };
}
export default { render };
