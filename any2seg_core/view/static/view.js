/* Moves through a drive: the page shows the set of sensors at a time, by mouse, keys or touch. */
"use strict";
(() => {
  const drive = document.getElementById("drive");
  if (!drive) return;
  const byId = (id) => document.getElementById(id);
  const scrub = byId("scrub"), moment = byId("moment"), play = byId("play");
  const length = Number(drive.dataset.length), step = Number(drive.dataset.step);
  const base = `/drives/${drive.dataset.id}`;
  let at = Number(drive.dataset.at); // seconds that are asked for
  let shown = null; // dataset of the moment that is shown
  let isLoading = false, waits = false, plays = false;

  const clamped = (time) => Math.min(Math.max(time, 0), length);
  const parsed = (text) => new DOMParser().parseFromString(text, "text/html");

  function draw() { // cursors and slider at the time that is asked for
    scrub.value = at;
    scrub.setAttribute("aria-valuetext", `${at.toFixed(2)} seconds`);
    for (const track of document.querySelectorAll(".track")) {
      const left = Number(track.dataset.left), right = Number(track.dataset.right);
      const cursor = track.querySelector(".cursor");
      cursor.hidden = false;
      cursor.style.left = `${100 * (left + (right - left) * (length ? at / length : 0))}%`;
      if (track.offsetParent !== null) { // the slider lies under the axis of the drawing that is shown
        scrub.style.marginLeft = `calc(${100 * left}% - 8px)`;
        scrub.style.width = `calc(${100 * (right - left)}% + 16px)`;
      }
    }
  }

  async function show(answer) {
    const next = parsed(await answer.text());
    if (!answer.ok) { // a whole page that says why
      moment.replaceChildren(next.querySelector(".warning") || "This moment cannot be shown.");
      stop();
      return;
    }
    await Promise.all([...next.images].map((image) => { // all pictures change together
      const loaded = new Image();
      loaded.src = image.getAttribute("src");
      return loaded.decode().catch(() => {});
    }));
    const isLegendOpen = moment.querySelector("details.legend")?.open;
    moment.replaceChildren(...next.body.childNodes);
    const legend = moment.querySelector("details.legend");
    if (legend && isLegendOpen) legend.open = true;
    shown = moment.querySelector(".facts-line").dataset;
  }

  async function load() { // one request at a time; of what is asked for meanwhile only the newest counts
    if (isLoading) { waits = true; return; }
    isLoading = true;
    moment.setAttribute("aria-busy", "true");
    try {
      await show(await fetch(`${base}/moment?at=${at.toFixed(3)}`));
    } catch {
      moment.replaceChildren("The server does not answer.");
      stop();
    }
    isLoading = false;
    if (waits) { waits = false; load(); return; }
    moment.setAttribute("aria-busy", "false");
    history.replaceState(null, "", `${base}?at=${at.toFixed(3)}`);
    if (plays) after();
  }

  function go(time) { at = clamped(time); draw(); load(); }
  function beside(name, otherwise) { // the set beside the one that is shown, or one period on
    const isKnown = shown && !isLoading && shown[name] !== "";
    go(isKnown ? Number(shown[name]) : at + otherwise);
  }
  const before = () => beside("before", -step);
  function after() {
    if (at >= length || (plays && shown && shown.after === "")) { stop(); return; }
    beside("after", step);
  }
  function stop() { plays = false; play.setAttribute("aria-pressed", "false"); play.textContent = "Play"; }
  function toggle() {
    if (plays) { stop(); return; }
    plays = true;
    play.setAttribute("aria-pressed", "true");
    play.textContent = "Pause";
    after();
  }

  scrub.addEventListener("input", () => { stop(); go(Number(scrub.value)); });
  byId("before").addEventListener("click", () => { stop(); before(); });
  byId("after").addEventListener("click", () => { stop(); after(); });
  play.addEventListener("click", toggle);
  byId("from-here").addEventListener("click", () => { byId("from").value = at.toFixed(3); });
  byId("to-here").addEventListener("click", () => { byId("to").value = at.toFixed(3); });

  document.addEventListener("keydown", (event) => {
    const isTyping = event.target.matches("input:not(#scrub), select, textarea");
    if (isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
    const moves = {
      ArrowLeft: () => { stop(); if (event.shiftKey) go(at - 1); else before(); },
      ArrowRight: () => { stop(); if (event.shiftKey) go(at + 1); else after(); },
      Home: () => { stop(); go(0); },
      End: () => { stop(); go(length); },
      " ": event.target.matches("button, summary, a") ? null : toggle,
    };
    const move = moves[event.key];
    if (!move) return;
    event.preventDefault();
    move();
  });

  function seek(track, event) {
    const box = track.getBoundingClientRect();
    const left = Number(track.dataset.left), right = Number(track.dataset.right);
    stop();
    go(length * ((event.clientX - box.left) / box.width - left) / (right - left));
  }
  document.addEventListener("pointerdown", (event) => {
    const track = event.target.closest(".track");
    if (!track || event.button !== 0) return;
    seek(track, event);
    const follow = (moved) => seek(track, moved);
    const end = () => {
      document.removeEventListener("pointermove", follow);
      document.removeEventListener("pointerup", end);
      document.removeEventListener("pointercancel", end);
    };
    document.addEventListener("pointermove", follow);
    document.addEventListener("pointerup", end);
    document.addEventListener("pointercancel", end);
  });

  async function grow() { // while the recording is looked through
    if (byId("timeline").dataset.state !== "growing") return;
    try {
      const answer = await fetch(`${base}/timeline`);
      if (answer.ok) {
        byId("timeline").replaceWith(parsed(await answer.text()).getElementById("timeline"));
        draw();
      }
    } catch { return; }
    setTimeout(grow, 1500);
  }

  addEventListener("resize", draw);
  draw();
  load();
  setTimeout(grow, 700);
})();
