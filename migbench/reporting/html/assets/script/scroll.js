// Tables that are wider than the page say so, until they are scrolled to their end.

function hint(box) {
  const line = el("p", { class: "more", "aria-hidden": "true" }, "more columns →");
  box.before(line);
  const tell = () => {
    const more = box.scrollWidth - box.clientWidth - box.scrollLeft > 1;
    line.hidden = !more;
    box.toggleAttribute("data-more", more);
  };
  box.addEventListener("scroll", tell, { passive: true });
  // Told anew when a view or a part of it is opened, and when the window is made narrower.
  new ResizeObserver(tell).observe(box);
  tell();
}

document.querySelectorAll(".scroll").forEach(hint);
