// Where a viewer serves the page, it is renewed as soon as its runs have changed.

const INTERVAL = 2000;

async function renew() {
  const alive = document.getElementById("alive");
  try {
    const root = document.documentElement;
    if ((await served("state")) !== root.dataset.live) {
      const text = await served(".");
      const page = new DOMParser().parseFromString(text, "text/html");
      data = JSON.parse(page.getElementById("data").textContent);
      derived = derive();
      for (const name of ["summary", "compare"]) {
        const old = document.getElementById(name);
        const fresh = page.getElementById(name);
        if (old && fresh) old.replaceChildren(...fresh.childNodes);
      }
      root.dataset.live = page.documentElement.dataset.live;
      show();
    }
    alive.textContent = "live";
  } catch (error) {
    const gone = error instanceof TypeError; // What fetch throws where nobody listens.
    alive.textContent = gone ? "the viewer has ended" : error.message.slice(0, 200);
  }
  setTimeout(renew, INTERVAL);
}

async function served(path) {
  const answer = await fetch(path, { cache: "no-store" });
  const text = await answer.text();
  if (!answer.ok) throw new Error(text);
  return text;
}

if (document.documentElement.dataset.live) setTimeout(renew, INTERVAL);
