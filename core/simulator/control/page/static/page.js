// Live updates: when the sandbox says that something changed, the page is fetched again and
// its live parts are put in place of the old ones. Without this script a reload does the same.
"use strict";

const atEnd = (el) => el.scrollHeight - el.scrollTop - el.clientHeight < 80;

function busy(el) {
  // Someone is typing in it, or choosing: leave it alone for now.
  return el.contains(document.activeElement) && document.activeElement.matches("input, textarea, select");
}

function swap(old, fresh) {
  if (old.innerHTML === fresh.innerHTML || busy(old)) return;
  const open = new Set([...old.querySelectorAll("details[open]")].map((d) => d.dataset.key));
  const playing = [...old.querySelectorAll("audio, video")].some((m) => !m.paused);
  if (playing) return;
  const end = atEnd(old);
  for (const d of fresh.querySelectorAll("details")) d.open = open.has(d.dataset.key);
  old.replaceChildren(...fresh.childNodes);
  if (old.hasAttribute("data-stick") && end) old.scrollTop = old.scrollHeight;
}

let running = false, again = false;
async function refresh() {
  if (running) { again = true; return; }
  running = true;
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const old of document.querySelectorAll("[data-live]")) {
      const fresh = page.getElementById(old.id);
      if (fresh) swap(old, fresh);
    }
  } catch { /* the sandbox is gone; the event source tries again */ }
  running = false;
  if (again) { again = false; refresh(); }
}

const events = new EventSource(document.body.dataset.events);
events.addEventListener("change", refresh);
addEventListener("pagehide", () => events.close());

for (const el of document.querySelectorAll("[data-stick]")) el.scrollTop = el.scrollHeight;

const text = document.querySelector(".composer textarea");
text?.addEventListener("keydown", (e) => {
  if (e.key === "Enter" && !e.shiftKey && !e.isComposing) { e.preventDefault(); text.form.requestSubmit(); }
});
document.querySelector(".attach input")?.addEventListener("change", (e) => {
  const file = e.target.files[0];
  e.target.parentElement.classList.toggle("full", Boolean(file));
  if (file) { text.placeholder = "Caption for " + file.name; text.focus(); }
});
document.addEventListener("click", (e) => { // one open menu at a time
  for (const menu of document.querySelectorAll(".menu[open]")) if (!menu.contains(e.target)) menu.open = false;
});
