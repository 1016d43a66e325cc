// One target, large: an image of its set with its boxes, and everything that was said.

const focusView = document.getElementById("focus");

function showFocus() {
  const target = derived.byId.get(state.at);
  if (!state.full || !target || state.view !== "gallery") {
    if (focusView.open) focusView.close();
    return;
  }
  const runs = shownRuns();
  const count = data.sets[target.set].length;
  const image = Math.min(state.image, count - 1);
  const at = chosen.indexOf(target);
  const place = at < 0 ? "" : `${(at + 1).toLocaleString("en")} of ${chosen.length.toLocaleString("en")}`;
  const [header, text, , verdicts, others] = card(target, runs);
  header.querySelector(".tools").replaceChildren(
    el("span.place", null, place),
    el("button", { type: "button", "aria-label": "Previous target", title: "Previous (k)", onclick: () => step(-1) }, "←"),
    el("button", { type: "button", "aria-label": "Next target", title: "Next (j)", onclick: () => step(1) }, "→"),
    el("button", { type: "button", "aria-label": "Close", title: "Close (f)", onclick: leave }, "×"),
  );
  const small = el("div.thumbs", null, imagesOf(target).map((_, number) =>
    el("button", {
      type: "button", "aria-label": `Image ${number + 1}`, "aria-current": number === image ? "true" : null,
      onclick: () => go({ image: number }),
    }, figure(target, number, runs))));
  // What has the focus keeps it; at first nothing has that would show it.
  const focused = focusView.contains(document.activeElement) && document.activeElement.ariaLabel;
  const scrolled = focusView.dataset.target === target.id ? focusView.querySelector(".about").scrollTop : 0;
  focusView.dataset.target = target.id;
  focusView.replaceChildren(
    el("div.stage", null, figure(target, image, runs, { large: true }), count > 1 ? small : null),
    el("div.about", { tabindex: "0", "aria-label": "Answers" }, header, text, verdicts, others),
  );
  if (!focusView.open) focusView.showModal();
  const kept = [...focusView.querySelectorAll("[aria-label]")].find((each) => each.ariaLabel === focused);
  const about = focusView.querySelector(".about");
  (kept || about).focus({ preventScroll: true });
  about.scrollTop = scrolled;
}

function leave() {
  go({ full: false });
  showCurrent({ scroll: false });
}

focusView.addEventListener("cancel", (event) => {
  event.preventDefault();
  leave();
});
focusView.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-target]");
  if (!link) return;
  event.preventDefault();
  const sibling = derived.byId.get(link.dataset.target);
  if (!chosen.includes(sibling)) Object.assign(state, unfiltered());
  go({ at: sibling.id, image: sibling.image });
});

/** Another image of the set. */
function turn(by) {
  const count = data.sets[derived.byId.get(state.at).set].length;
  go({ image: (Math.min(state.image, count - 1) + by + count) % count });
}
