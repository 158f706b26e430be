// Lets the chart beside this invisible widget follow the width of the page.

function render({ el }) {
  el.style.display = "none";
  const watch = new ResizeObserver(() => globalThis.dispatchEvent(new Event("resize")));
  const begin = () => {
    if (el.isConnected) watch.observe(el.parentElement);
    else requestAnimationFrame(begin);
  };
  begin();
  return () => watch.disconnect();
}

export default { render };
