// Ask the kernel for a file, receive it in parts, and hand it to the browser as a download.
function render({ model, el }) {
  const area = document.createElement("div");
  area.className = "rdf-download";
  const button = document.createElement("button");
  button.className = "rdf-button";
  const said = document.createElement("span");
  said.className = "rdf-download-said";
  said.setAttribute("role", "status");
  area.append(button, said);
  el.append(area);
  let parts = null;

  const show = () => {
    button.textContent = model.get("label");
    button.title = model.get("hint");
    button.disabled = model.get("disabled") || parts !== null;
  };
  const end = (words) => {
    parts = null;
    said.textContent = words;
    show();
  };
  const received = (message, buffers) => {
    if (message.type === "failed") end("");
    if (message.type === "forget" && parts === null) said.textContent = "";
    if (message.type === "file") {
      parts = [];
      show();
      model.send({ type: "next", offset: 0 });
    }
    if (message.type !== "part" || parts === null) return;
    parts.push(new Uint8Array(buffers[0].buffer ?? buffers[0], buffers[0].byteOffset ?? 0, buffers[0].byteLength));
    const got = parts.reduce((sum, part) => sum + part.byteLength, 0);
    if (got < message.size) {
      said.textContent = ` ${Math.round((100 * got) / message.size)} %`;
      // Slower than the rate at which a Jupyter server drops messages (1 MB a second).
      setTimeout(() => model.send({ type: "next", offset: got }), message.pause);
      return;
    }
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob(parts, { type: message.kind }));
    link.download = message.name;
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    end(` ${message.name}`);
  };
  button.onclick = () => {
    parts = [];
    show();
    said.textContent = " …";
    model.send({ type: "press" });
  };
  model.on("msg:custom", received);
  model.on("change:disabled", show);
  show();
  return () => {
    model.off("msg:custom", received);
    model.off("change:disabled", show);
  };
}
export default { render };
