// A grid of buttons with pictures. Those pressed are the value: any number of them, or one.

function thumbnail(id, image, name, text, click) {
  const button = document.createElement("button");
  button.type = "button";
  button.title = name;
  const picture = document.createElement("img");
  picture.src = image;
  picture.alt = name;
  const label = document.createElement("span");
  label.textContent = text;
  label.setAttribute("aria-hidden", "true"); // the picture's name says it already
  button.append(picture, label);
  button.addEventListener("click", () => click(id));
  return button;
}

function render({ model, el }) {
  const title = document.createElement("div");
  const grid = document.createElement("div");
  grid.className = "unlearn-grid";
  grid.setAttribute("role", "group");

  const press = () => {
    const chosen = new Set(model.get("value"));
    const ids = model.get("ids");
    [...grid.children].forEach((button, i) => {
      button.setAttribute("aria-pressed", chosen.has(ids[i]));
    });
    const count = model.get("multiple") ? `: ${chosen.size} chosen` : "";
    title.textContent = model.get("description") + count;
    grid.setAttribute("aria-disabled", model.get("disabled"));
  };
  const after = (id) => {
    if (!model.get("multiple")) return [id];
    const before = model.get("value");
    return before.includes(id) ? before.filter((other) => other !== id) : [...before, id];
  };
  const click = (id) => {
    if (model.get("disabled")) return;
    model.set("value", after(id));
    model.save_changes();
    press();
  };
  const draw = () => {
    const images = model.get("images");
    const names = model.get("names");
    const labels = model.get("labels");
    grid.setAttribute("aria-label", model.get("description"));
    const buttons = model.get("ids").map((id, i) =>
      thumbnail(id, images[i], names[i], labels[i], click)
    );
    grid.replaceChildren(...buttons);
    press();
  };

  draw();
  model.on("change:images", draw);
  model.on("change:value", press);
  model.on("change:description", press);
  model.on("change:disabled", press);
  el.append(title, grid);
}

export default { render };
