// Where a viewer serves the page, it is renewed as soon as its runs have changed.

const INTERVAL = 2000;

async function renew() {
  const alive = document.getElementById("alive");
  try {
    const root = document.documentElement;
    const now = await (await fetch("state", { cache: "no-store" })).text();
    if (now !== root.dataset.live) {
      const text = await (await fetch(".", { cache: "no-store" })).text();
      const page = new DOMParser().parseFromString(text, "text/html");
      data = JSON.parse(page.getElementById("data").textContent);
      derived = derive();
      for (const name of ["summary", "compare"]) {
        const old = document.getElementById(name);
        const fresh = page.getElementById(name);
        if (old && fresh) old.replaceChildren(...fresh.childNodes);
      }
      root.dataset.live = page.documentElement.dataset.live;
      listed = "";
      show();
    }
    alive.textContent = "live";
  } catch {
    alive.textContent = "the viewer has ended";
  }
  setTimeout(renew, INTERVAL);
}

if (document.documentElement.dataset.live) setTimeout(renew, INTERVAL);
