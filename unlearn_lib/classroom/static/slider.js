// The browser's own range input over a list of stops. Its value goes to Python at most eight times a second.

const PAUSE = 120; // milliseconds between two messages

function render({ model, el }) {
  const label = document.createElement("label");
  label.className = "unlearn-slider";
  const name = document.createElement("span");
  name.textContent = model.get("description");
  const input = document.createElement("input");
  input.type = "range";
  input.min = 0;
  const said = document.createElement("output");

  const chosen = () => model.get("stops")[input.value];
  const say = () => {
    said.textContent = Number(chosen().toPrecision(2));
    input.setAttribute("aria-valuetext", said.textContent);
  };
  const nearest = (stops, value) => {
    const far = (stop) => Math.abs(stop - value);
    return stops.reduce((best, stop, i) => far(stop) < far(stops[best]) ? i : best, 0);
  };
  const draw = () => {
    const stops = model.get("stops");
    input.max = stops.length - 1;
    input.value = nearest(stops, model.get("value"));
    input.disabled = model.get("disabled");
    say();
  };

  let waiting = null;
  const send = () => {
    waiting = null;
    model.set("value", chosen());
    model.save_changes();
  };
  input.addEventListener("input", () => {
    say();
    waiting ??= setTimeout(send, PAUSE);
  });
  model.on("change:value", () => {
    if (waiting === null) draw();
  });
  model.on("change:disabled", draw);

  label.append(name, input, said);
  el.append(label);
  draw();
}

export default { render };
