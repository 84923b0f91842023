"use strict";
(() => {
  // A page that is kept up to date: it loads itself again, and is left as the reader had it. What has to last from one
  // load to the next is kept with the tab's own history, which needs no host and no storage.
  const live = document.getElementById("live");
  const every = Number(live.dataset.every) * 1000;
  const panel = document.getElementById("panel");
  const picture = document.getElementById("picture");
  const runs = document.getElementById("data") ? JSON.parse(document.getElementById("data").textContent).runs : [];
  const before = (history.state && history.state.bench) || {};
  const now = Date.now();
  const since = before.stamp === live.dataset.stamp ? before.since : now;
  const follow = document.getElementById("follow");

  // The reader's place: the lowest thing whose top is at or above the top of the window, and how far above.
  const places = () => [...document.querySelectorAll("section[id], .scroll > table[id]")];
  const place = () => {
    const above = places().filter((one) => one.id !== "live" && one.getBoundingClientRect().top <= 80);
    const last = above[above.length - 1];
    return last ? { id: last.id, top: last.getBoundingClientRect().top } : { id: "", top: -scrollY };
  };
  const tools = () => [...document.querySelectorAll(".tools")];
  const tableOf = (one) => document.getElementById(one.dataset.for);
  const heads = (table) => [...table.tHead.rows[0].cells];
  const shown = () => {
    const found = /^#run=([\d,]+)$/.exec(location.hash);
    return found ? found[1].split(",").map((number) => runs[Number(number)]).filter(Boolean).map((run) => run.id) : null;
  };

  const lookOf = (one) => {
    const table = tableOf(one);
    const sorted = heads(table).find((head) => head.hasAttribute("aria-sort"));
    const input = one.querySelector("input[type=search]");
    return {
      sort: sorted ? [sorted.textContent, sorted.getAttribute("aria-sort")] : null,
      filter: input.value,
      caret: document.activeElement === input ? [input.selectionStart, input.selectionEnd] : null,
      boxes: [...one.querySelectorAll("input[type=checkbox]")].map((box) => [box.className, box.checked]),
      left: table.parentNode.scrollLeft,
    };
  };
  const save = () => {
    const bench = {
      stamp: live.dataset.stamp,
      since,
      place: place(),
      tables: Object.fromEntries(tools().map((one) => [one.dataset.for, lookOf(one)])),
      runs: shown(),
      opened: panel ? [...panel.querySelectorAll("details")].map((one) => one.open) : [],
      panelTop: panel ? panel.scrollTop : 0,
      picture: picture && picture.open ? picture.querySelector("img").alt : null,
    };
    history.replaceState({ bench }, "");
  };

  const setLook = (one, look) => {
    const table = tableOf(one);
    const input = one.querySelector("input[type=search]");
    for (const [name, checked] of look.boxes) {
      const box = one.querySelector(`input.${name}`);
      if (box && box.checked !== checked) box.click();
    }
    const head = look.sort && heads(table).find((cell) => cell.textContent === look.sort[0]);
    // A first click sorts in the column's own direction, a second one in the other.
    for (let click = 0; head && head.getAttribute("aria-sort") !== look.sort[1] && click < 2; click += 1) {
      head.querySelector("button").click();
    }
    if (look.filter) {
      input.value = look.filter;
      input.dispatchEvent(new Event("input", { bubbles: true }));
    }
    if (look.caret) {
      input.focus({ preventScroll: true });
      input.setSelectionRange(...look.caret);
    }
    table.parentNode.scrollLeft = look.left;
  };
  const showPanel = () => {
    const wanted = (before.runs || []).map((id) => runs.findIndex((run) => run.id === id)).filter((index) => index >= 0);
    if (!wanted.length) return panel.open && location.hash.startsWith("#run=") ? panel.close() : undefined;
    const hash = `#run=${wanted.join(",")}`;
    const back = () => {
      [...panel.querySelectorAll("details")].forEach((one, index) => { one.open = Boolean(before.opened[index]); });
      panel.scrollTop = before.panelTop;
    };
    if (location.hash === hash) return back();
    // Runs are numbered anew where a grid has come in between.
    addEventListener("hashchange", back, { once: true });
    return location.replace(hash);
  };
  const restore = () => {
    for (const one of tools()) if (before.tables[one.dataset.for]) setLook(one, before.tables[one.dataset.for]);
    if (panel) showPanel();
    if (before.picture) {
      const found = [...document.querySelectorAll(".zoom")].find((one) => one.querySelector("img").alt === before.picture);
      if (found) found.click();
    }
    const there = before.place.id && document.getElementById(before.place.id);
    if (there) scrollBy(0, there.getBoundingClientRect().top - before.place.top);
    else if (!before.place.id) scrollTo(0, -before.place.top);
  };

  if ("scrollRestoration" in history) history.scrollRestoration = "manual";
  if (before.tables) restore();

  const silence = document.getElementById("silence");
  const tell = () => {
    const limit = Math.max(Number(live.dataset.patience) * 1000, 3 * every);
    if (Date.now() - since > limit) {
      silence.textContent = "Nothing newer has come for a while: does bench report --watch still run?";
      live.classList.add("silent");
    }
  };
  // Not while something is being marked, dragged or is out of sight.
  let held = false;
  addEventListener("pointerdown", () => { held = true; });
  addEventListener("pointerup", () => { held = false; });
  addEventListener("pointercancel", () => { held = false; });
  const busy = () => held || document.hidden || String(getSelection()) !== "" || !follow.checked;
  const again = () => {
    tell();
    if (busy()) {
      setTimeout(again, Math.min(every, 1000));
      return;
    }
    save();
    location.reload();
  };
  if (every) {
    tell();
    setTimeout(again, every);
  }
})();
