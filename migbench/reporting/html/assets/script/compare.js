// Two runs against each other: which pair is shown, and a dot for every target.

const REACH = 16; // Pixels within which a click finds a dot.

function showCompare() {
  const pick = document.getElementById("pair");
  if (pick) pick.value = state.pair;
  for (const pair of document.querySelectorAll(".pair")) {
    pair.hidden = pair.dataset.pair !== state.pair;
    const canvas = pair.querySelector("canvas");
    if (!pair.hidden && canvas) scatter(canvas);
  }
}

function dots(pair) {
  const [first, second] = pair.split("-").map(Number);
  return data.targets
    .filter((target) => target.results[first] && target.results[second])
    .map((target) => ({ target, x: target.results[first].iou, y: target.results[second].iou }));
}

function scatter(canvas) {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  const context = canvas.getContext("2d");
  const { width, height } = canvas;
  const margin = 14;
  const place = (value, length) => margin + value * (length - 2 * margin);
  context.clearRect(0, 0, width, height);
  context.strokeStyle = colour("--line");
  context.lineWidth = 2;
  context.strokeRect(margin, margin, width - 2 * margin, height - 2 * margin);
  context.setLineDash([6, 6]);
  context.beginPath();
  context.moveTo(place(0.5, width), margin);
  context.lineTo(place(0.5, width), height - margin);
  context.moveTo(margin, place(0.5, height));
  context.lineTo(width - margin, place(0.5, height));
  context.stroke();
  context.setLineDash([]);
  const [first, second] = canvas.dataset.pair.split("-").map((run) => colour(`--run-${Number(run) % 5}`));
  const colours = { both: colour("--hit"), wins: second, losses: first, neither: colour("--miss") };
  context.globalAlpha = document.documentElement.dataset.theme === "dark" ? 0.8 : 0.55;
  for (const dot of dots(canvas.dataset.pair)) {
    context.fillStyle = colours[cellOf(canvas.dataset.pair, dot.target)] || colour("--muted");
    context.beginPath();
    context.arc(place(dot.x, width), height - place(dot.y, height), 4, 0, 2 * Math.PI);
    context.fill();
  }
  context.globalAlpha = 1;
  canvas.onclick = (event) => {
    const shown = canvas.getBoundingClientRect();
    const scale = width / shown.width;
    const [x, y] = [(event.clientX - shown.left) * scale, (event.clientY - shown.top) * scale];
    let nearest = null;
    let distance = REACH * scale;
    for (const dot of dots(canvas.dataset.pair)) {
      const found = Math.hypot(place(dot.x, width) - x, height - place(dot.y, height) - y);
      if (found < distance) [nearest, distance] = [dot.target, found];
    }
    if (nearest) {
      const changes = { view: "gallery", at: nearest.id, full: true, image: nearest.image };
      go({ ...unfiltered(), ...changes }, { step: true });
      showCurrent();
    }
  };
}

document.getElementById("main").addEventListener("change", (event) => {
  if (event.target.id === "pair") go({ pair: event.target.value, cell: "" }, { step: true });
});
