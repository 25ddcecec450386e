// Choose, drop or paste files, and send them to the kernel in chunks.
// A kernel's connection is closed by a message over its limit (10 MiB by default), so a file is never one message.
const CHUNK = 1 << 20;
// Chunks under way at once, so that a slow connection is not waited for after each.
const WINDOW = 4;
const PATIENCE = 15000;

function words(bytes) {
  return bytes >= 1e6 ? `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB` : `${Math.ceil(bytes / 1e3)} kB`;
}

function make(tag, className, text) {
  const made = document.createElement(tag);
  made.className = className;
  if (text) made.textContent = text;
  return made;
}

// The files of a dropped folder, and those of the folders in it.
async function filesOf(entry) {
  if (entry.isFile) {
    const file = await new Promise((done) => entry.file(done, () => done(null)));
    return file ? [file] : [];
  }
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    const some = await new Promise((done) => reader.readEntries(done, () => done([])));
    if (!some.length) return found;
    for (const one of some) found.push(...(await filesOf(one)));
  }
}

function accepted(file, accept) {
  const name = file.name.toLowerCase();
  return accept.split(",").some((kind) => {
    const wanted = kind.trim().toLowerCase();
    if (wanted.startsWith(".")) return name.endsWith(wanted);
    return file.type.startsWith(wanted.replace("*", ""));
  });
}

function render({ model, el }) {
  const area = make("div", "rdf-drop");
  // JupyterLab ignores keys below an element with this attribute.
  area.setAttribute("data-lm-suppress-shortcuts", "true");
  area.setAttribute("role", "group");
  area.setAttribute("aria-label", `${model.get("label")}, or drop or paste here`);
  const buttons = make("div", "rdf-drop-buttons");
  const choose = make("button", "rdf-button", model.get("label"));
  choose.title = model.get("hint");
  const folder = make("button", "rdf-button", "A folder");
  folder.title = "Choose a folder of this computer; its files, and those of the folders in it, are read";
  const input = make("input", "rdf-hidden");
  Object.assign(input, { type: "file", multiple: model.get("multiple"), accept: model.get("accept"), tabIndex: -1 });
  const folderInput = make("input", "rdf-hidden");
  Object.assign(folderInput, { type: "file", webkitdirectory: true, tabIndex: -1 });
  input.setAttribute("aria-hidden", "true");
  folderInput.setAttribute("aria-hidden", "true");
  buttons.append(choose);
  if (model.get("multiple")) buttons.append(folder);
  const help = make("div", "rdf-drop-help");
  const bar = make("progress", "rdf-drop-bar");
  bar.setAttribute("aria-label", "Upload");
  const cancel = make("button", "rdf-button", "Cancel the upload");
  cancel.title = "Stop sending; nothing of it is analysed";
  const said = make("div", "rdf-drop-said");
  said.setAttribute("role", "status");
  area.append(buttons, help, bar, cancel, said, input, folderInput);
  el.append(area);

  let batch = null;
  // Whether it says that something has to end first.
  let waits = false;
  const panel = () => el.closest(".rdf") || el;
  // Whether something that happens at an element is this area's, and not that of another one in the panel.
  const mine = (target) => {
    const other = target?.closest?.(".rdf-drop");
    return other ? other === area : model.get("whole_panel") && panel().contains(target);
  };
  // Absent where people may not see the files of the kernel's machine.
  const pathBox = () => panel().querySelector(".rdf-path textarea, .rdf-path input");

  function say(sentences, offerPath) {
    waits = false;
    said.replaceChildren(...sentences.map((sentence) => make("div", "", sentence)));
    const path = pathBox();
    if (offerPath && path) {
      const go = make("button", "rdf-button", "Go to the path box");
      go.title = "Open a file by its path on the notebook's machine, whatever its size";
      go.onclick = () => {
        if (path.offsetParent === null) path.closest(".rdf-group")?.querySelector(".rdf-more")?.click();
        const until = Date.now() + 3000;
        const focus = () => (path.offsetParent === null && Date.now() < until ? setTimeout(focus, 50) : path.focus());
        focus();
      };
      said.append(go);
    }
  }

  function show() {
    const busy = batch !== null;
    const off = model.get("disabled") || busy;
    if (waits && !off) say([]);
    choose.disabled = folder.disabled = off;
    bar.hidden = cancel.hidden = !busy;
    area.classList.toggle("rdf-drop-off", off);
    const many = model.get("multiple");
    help.textContent =
      `or drop ${many ? "files or a folder" : "a file"} ${model.get("whole_panel") ? "into this panel" : "here"}, ` +
      `or paste with Ctrl+V. ` +
      `Up to ${words(model.get("max_bytes"))}${many ? ` and ${model.get("max_files")} files` : ""} at once.`;
  }

  function end(sentences, offerPath = false) {
    batch = null;
    show();
    say(sentences, offerPath);
  }

  async function take(found, fromFolder) {
    if (model.get("disabled") || batch) {
      say(["Wait until the work that is running is done, or cancel it."]);
      waits = true;
      return;
    }
    const limit = model.get("max_bytes");
    const most = model.get("multiple") ? model.get("max_files") : 1;
    const notes = [];
    let files = found;
    if (fromFolder) {
      files = found.filter((f) => accepted(f, model.get("accept")) && !f.name.startsWith("."));
      const left = found.length - files.length;
      if (left) notes.push(`${left} other ${left === 1 ? "file was" : "files were"} left out.`);
      files.sort((a, b) => (a.webkitRelativePath || a.name).localeCompare(b.webkitRelativePath || b.name));
    }
    if (files.length > most) {
      notes.push(`Only the first ${most === 1 ? "file is" : `${most} of ${files.length} files are`} read.`);
      files = files.slice(0, most);
    }
    let total = 0;
    let large = false;
    files = files.filter((file) => {
      if (total + file.size > limit) {
        notes.push(
          `${file.name} (${words(file.size)}) was not sent: uploads may have up to ${words(limit)} at once.` +
            (pathBox() ? " Open it by its path." : ""),
        );
        large = true;
        return false;
      }
      total += file.size;
      return true;
    });
    if (!files.length) {
      say(notes.length ? notes : ["There was no file to read."], large);
      return;
    }
    await send(files, total, notes, large);
  }

  async function send(files, total, notes, large) {
    const id = `${Date.now()}-${Math.random()}`;
    const mine = { id, under: 0, sent: 0, got: 0, wake: () => {}, failed: null };
    batch = mine;
    show();
    bar.max = Math.max(total, 1);
    bar.value = 0;
    const began = Date.now();
    const told = () => {
      const names = files.length === 1 ? files[0].name : `${files.length} files`;
      say([`Sending ${names}: ${words(mine.got)} of ${words(total)} …`, ...notes]);
    };
    told();
    const room = async (most) => {
      while (mine.under > most && !mine.failed && batch === mine) {
        const before = mine.got;
        let timer;
        await new Promise((done) => {
          mine.wake = done;
          timer = setTimeout(done, PATIENCE);
        });
        clearTimeout(timer);
        if (mine.got === before && mine.under > most && !mine.failed && batch === mine) {
          say(["The kernel does not answer: it is busy, or the connection is lost. The upload goes on when it answers."]);
        }
      }
      return batch === mine && !mine.failed;
    };
    mine.told = told;
    model.send({ type: "begin", batch: id, files: files.map((f) => ({ name: f.name, size: f.size })) });
    try {
      for (let i = 0; i < files.length; i++) {
        for (let offset = 0; offset < files[i].size; offset += CHUNK) {
          const part = await files[i].slice(offset, offset + CHUNK).arrayBuffer();
          if (!(await room(WINDOW - 1))) break;
          mine.under += 1;
          model.send({ type: "chunk", batch: id, file: i, offset }, undefined, [part]);
        }
        if (batch !== mine || mine.failed) break;
      }
    } catch (error) {
      mine.failed = `The file could not be read by the browser (${error.message || error}).`;
    }
    await room(0);
    if (batch !== mine) return;
    if (mine.failed) {
      model.send({ type: "drop", batch: id });
      end([mine.failed, ...notes], true);
      return;
    }
    model.send({ type: "end", batch: id });
    const seconds = (Date.now() - began) / 1000;
    end([`Sent ${words(total)} in ${seconds.toFixed(1)} s.`, ...notes], large);
  }

  function received(message) {
    if (message.type === "forget" && !batch) say([]);
    if (!batch || message.batch !== batch.id) return;
    if (message.type === "got") {
      batch.under -= 1;
      batch.got = message.total;
      bar.value = message.total;
      batch.told();
    } else if (message.type === "refused") {
      batch.failed = message.why;
    }
    batch.wake();
  }

  const listed = (from, fromFolder) => {
    const files = [...from.files];
    from.value = "";
    if (files.length) take(files, fromFolder);
  };
  choose.onclick = () => input.click();
  folder.onclick = () => folderInput.click();
  input.onchange = () => listed(input, false);
  folderInput.onchange = () => listed(folderInput, true);
  cancel.onclick = () => {
    if (!batch) return;
    model.send({ type: "drop", batch: batch.id });
    const { wake } = batch;
    end(["The upload was cancelled."]);
    wake();
  };

  const over = (event) => {
    if (!mine(event.target) || ![...(event.dataTransfer?.types || [])].includes("Files")) return;
    event.preventDefault();
    event.stopPropagation();
    area.classList.add("rdf-drop-over");
  };
  const leave = () => area.classList.remove("rdf-drop-over");
  const drop = async (event) => {
    leave();
    if (!mine(event.target) || ![...(event.dataTransfer?.types || [])].includes("Files")) return;
    event.preventDefault();
    event.stopPropagation();
    const items = [...event.dataTransfer.items].filter((item) => item.kind === "file");
    const entries = items.map((item) => item.webkitGetAsEntry?.() || null);
    const files = [...event.dataTransfer.files];
    if (!entries.some((entry) => entry?.isDirectory)) {
      take(files, false);
      return;
    }
    const found = [];
    for (const entry of entries) if (entry) found.push(...(await filesOf(entry)));
    take(found, true);
  };
  const paste = (event) => {
    const files = [...(event.clipboardData?.files || [])];
    if (!files.length || !mine(document.activeElement)) return;
    event.preventDefault();
    event.stopPropagation();
    take(
      files.map((f) => (f.name === "image.png" ? new File([f], "pasted.png", { type: f.type }) : f)),
      false,
    );
  };
  const listeners = [["dragover", over], ["dragleave", leave], ["drop", drop], ["paste", paste]];
  for (const [name, listener] of listeners) document.addEventListener(name, listener, true);
  model.on("msg:custom", received);
  model.on("change:disabled", show);
  model.on("change:max_bytes", show);
  show();
  return () => {
    for (const [name, listener] of listeners) document.removeEventListener(name, listener, true);
    model.off("msg:custom", received);
    model.off("change:disabled", show);
    model.off("change:max_bytes", show);
  };
}
export default { render };
