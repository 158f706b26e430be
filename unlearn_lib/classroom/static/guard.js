// Keeps JupyterLab's command keys away from the output that this invisible widget stands in, and tells
// screen readers which line of a panel is its status.

const keep = (event) => {
  if (!event.ctrlKey && !event.metaKey && !event.altKey) event.stopPropagation();
};

function render({ el }) {
  el.style.display = "none";
  const guard = () => {
    if (!el.isConnected) {
      requestAnimationFrame(guard);
      return;
    }
    const area = el.closest(".jp-OutputArea-output") ?? el.parentElement;
    area.addEventListener("keydown", keep);
    for (const line of area.querySelectorAll(".unlearn-status")) {
      line.setAttribute("role", "status");
    }
  };
  guard();
}

export default { render };
