"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const live = document.getElementById("logs");  // of runs at work, where the page is kept up to date
  const logs = live ? JSON.parse(live.textContent) : {};

  const element = (tag, text, className) => {
    const made = document.createElement(tag);
    if (text !== undefined && text !== null) made.textContent = text;
    if (className) made.className = className;
    return made;
  };
  const stateBadge = (state) => element("span", state, "state " + state.replaceAll(" ", "-"));
  const seconds = (run) => (run.costs || []).filter((cost) => !cost.reused).reduce((sum, cost) => sum + cost.wall_s, 0);

  // Sorting: numbers as numbers, texts by locale, cells without a value last in both directions.
  const compare = (one, other, sign) => {
    if (one === "" || other === "") return (one === "") - (other === "");
    const [a, b] = [Number(one), Number(other)];
    if (!Number.isNaN(a) && !Number.isNaN(b)) return sign * (a - b);
    return sign * one.localeCompare(other, undefined, { numeric: true });
  };
  const sortBy = (table, head) => {
    const index = [...head.parentNode.children].indexOf(head);
    const before = head.getAttribute("aria-sort");
    const first = head.dataset.first === "down" ? "descending" : "ascending";
    const other = first === "descending" ? "ascending" : "descending";
    const order = before === first ? other : first;
    for (const cell of head.parentNode.children) cell.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", order);
    const sign = order === "ascending" ? 1 : -1;
    const key = (row) => row.children[index].dataset.sort;
    const body = table.tBodies[0];
    const place = (row) => Number(row.classList.contains("published"));  // below the measured rows in both directions
    body.append(...[...body.rows].sort((a, b) => place(a) - place(b) || compare(key(a), key(b), sign)));
  };

  // Filtering: every word must occur in the visible text of the row.
  const filter = (table, tools) => {
    const words = tools.querySelector("input[type=search]").value.toLowerCase().split(/\s+/).filter(Boolean);
    const labels = tools.querySelector("input.labels");
    const published = tools.querySelector("input.published");
    const hides = (box, row, name) => box !== null && !box.checked && row.classList.contains(name);
    let shown = 0;
    for (const row of table.tBodies[0].rows) {
      const text = row.textContent.toLowerCase();
      const wanted = words.every((word) => text.includes(word));
      row.hidden = !wanted || hides(labels, row, "unranked") || hides(published, row, "published");
      shown += !row.hidden;
    }
    const all = table.tBodies[0].rows.length;
    tools.querySelector(".count").textContent = shown === all ? `${all} rows` : `${shown} of ${all} rows`;
  };

  // Of one seed, so without a spread; null where the run has no score under this protocol.
  const miou = (run, protocol) => (run.scores.find((scores) => scores.protocol === protocol) || { miou: null }).miou;
  const percent = (value) => (value === null ? "–" : value.toFixed(1));
  const fillRuns = () => {
    const body = document.getElementById("table-runs").tBodies[0];
    data.runs.forEach((run, number) => {
      const row = element("tr");
      const host = run.environment === undefined ? "" : data.environments[run.environment].host || "";
      const wall = run.costs ? seconds(run) : null;
      const scores = data.protocols.map((name) => miou(run, name));
      const cells = [run.id, run.title, run.state, run.started || "", host, run.seed, ...scores, wall];
      cells.forEach((value, index) => {
        const cell = element("td", null, index > 4 ? "number" : "");
        cell.dataset.sort = value === null ? "" : String(value);
        const shown = value === null ? "–" : index > 5 ? value.toFixed(1) : value;
        if (index === 0) {
          const link = element("a", shown, "id");
          link.href = `#run=${number}`;
          cell.append(link);
        } else if (index === 2) {
          cell.append(stateBadge(shown));
          if (run.changed.length) cell.append(" ", stateBadge("stale"));
        }
        else cell.textContent = shown;
        row.append(cell);
      });
      body.append(row);
    });
  };

  const table = (heads, rows) => {
    const made = element("table");
    const head = made.createTHead().insertRow();
    heads.forEach((text, index) => head.append(element("th", text, index ? "number" : "")));
    const body = made.createTBody();
    for (const values of rows) {
      const row = body.insertRow();
      values.forEach((text, index) => row.append(element("td", text, index ? "number" : "")));
    }
    return made;
  };
  const megabytes = (bytes) => (bytes === null ? "–" : (bytes / 1e6).toFixed(0));
  const costTable = (costs) =>
    table(
      ["stage", "wall (s)", "CPU (s)", "RSS (MB)", "device (MB)", "energy (J)"],
      costs.map((cost) => [
        cost.stage + (cost.reused ? " (reused)" : ""),
        cost.wall_s.toFixed(2),
        cost.cpu_s.toFixed(2),
        megabytes(cost.peak_rss),
        megabytes(cost.peak_device),
        cost.energy_j === null ? "–" : cost.energy_j.toFixed(1),
      ]),
    );
  const healthTable = (checks) =>
    table(
      ["check", "value", "limit", "passed"],
      checks.map((check) => [check.name, check.value ?? "not finite", check.limit ?? "–", check.passed ? "yes" : "no"]),
    );
  const measures = [
    ["mIoU (%)", "miou"], ["accuracy (%)", "accuracy"], ["mean accuracy (%)", "mean_accuracy"], ["ARI (%)", "ari"], ["NMI (%)", "nmi"],
  ];
  const scoreTable = (run) =>
    table(
      ["protocol", ...run.scores.map((scores) => scores.protocol)],
      [
        ["matching", ...run.scores.map((scores) => scores.matching)],
        ...measures.map(([label, key]) => [label, ...run.scores.map((scores) => percent(scores[key]))]),
        ["clusters in use", ...run.scores.map((scores) => scores.clusters_in_use)],
      ],
    );
  // The runs behind a number side by side, seed by seed.
  const seedTable = (runs) => {
    const protocols = data.protocols.filter((name) => runs.some((run) => miou(run, name) !== null));
    const suffix = (name) => (protocols.length > 1 ? `, ${name}` : "");
    return table(
      ["configuration", "seed", ...protocols.map((name) => `mIoU${suffix(name)} (%)`), "state"],
      runs.map((run) => [run.title, run.seed, ...protocols.map((name) => percent(miou(run, name))), run.state]),
    );
  };
  const gridText = (run) =>
    [run.id, run.id.slice(run.id.lastIndexOf("-") + 1), String(run.seed)].reduce(
      (text, value, index) => text.replaceAll(data.places[index], () => value),
      data.grids[run.grid],
    );
  const block = (parent, title, content) => parent.append(element("h3", title), content);
  const json = (value) => element("pre", JSON.stringify(value, null, 1));

  const describeRecord = (parent, record, title) => {
    if (record.failure) {
      block(parent, `${title}: ${record.failure.kind}`, element("pre", `${record.failure.message}\n\n${record.failure.traceback}`));
    }
    if (record.costs && record.costs.length) block(parent, `${title}: costs`, costTable(record.costs));
    if (record.health && record.health.length) block(parent, `${title}: health`, healthTable(record.health));
    if (record.warnings && record.warnings.length) block(parent, `${title}: warnings`, element("pre", record.warnings.join("\n")));
  };
  const describe = (run, open) => {
    const made = element("details");
    made.open = open;
    const summary = element("summary", `${run.title}, seed ${run.seed}`);
    summary.append(stateBadge(run.state));
    made.append(summary, element("div", run.id, "id"));
    if (run.reason) made.append(element("p", run.reason));
    if (run.scores.length) block(made, "scores of this seed", scoreTable(run));
    if (run.changed.length) block(made, "stale: code changed since", element("pre", run.changed.join("\n")));
    describeRecord(made, run, "fit");
    for (const evaluation of run.evaluations) {
      describeRecord(made, evaluation, `evaluation ${evaluation.protocol}, ${evaluation.images} images`);
      block(made, `view ${evaluation.view_id}`, json(evaluation.view));
    }
    if (run.grid !== undefined) block(made, "grid that asks for this run again", element("pre", gridText(run)));
    if (run.spec !== undefined) block(made, "specification", json({ ...data.specs[run.spec], seed: run.seed }));
    if (run.execution) block(made, "execution", json(run.execution));
    if (run.environment !== undefined) block(made, "environment", json(data.environments[run.environment]));
    const log = logs[run.id] || run.log;
    if (log) block(made, "end of the log", element("pre", log));
    return made;
  };

  const panel = document.getElementById("panel");
  const showRuns = () => {
    const found = /^#run=([\d,]+)$/.exec(location.hash);
    if (!found) return panel.open ? panel.close() : undefined;
    const runs = found[1].split(",").map((number) => data.runs[Number(number)]).filter(Boolean);
    const details = document.getElementById("details");
    details.replaceChildren(element("h2", runs.length === 1 ? "One run" : `${runs.length} runs`));
    if (runs.length > 1) details.append(seedTable(runs));
    details.append(...runs.map((run) => describe(run, runs.length === 1)));
    if (!panel.open) panel.showModal();
    panel.scrollTop = 0;
  };
  panel.addEventListener("close", () => {
    if (location.hash.startsWith("#run=")) history.replaceState(null, "", location.pathname + location.search);
  });
  panel.addEventListener("click", (event) => event.target === panel && panel.close());
  addEventListener("hashchange", showRuns);

  // A figure, enlarged.
  const picture = document.getElementById("picture");
  for (const button of document.querySelectorAll(".zoom")) {
    button.addEventListener("click", () => {
      const [shown, large] = [button.querySelector("img"), picture.querySelector("img")];
      large.src = shown.src;
      large.alt = shown.alt;
      picture.querySelector(".caption").textContent = shown.alt;
      picture.showModal();
    });
  }
  picture.addEventListener("click", (event) => event.target === picture && picture.close());

  fillRuns();
  for (const tools of document.querySelectorAll(".tools")) {
    const made = document.getElementById(tools.dataset.for);
    for (const head of made.tHead.rows[0].cells) head.querySelector("button").addEventListener("click", () => sortBy(made, head));
    tools.addEventListener("input", () => filter(made, tools));
    const extras = tools.querySelector("input.extras");
    if (extras) extras.addEventListener("change", () => made.classList.toggle("wide", extras.checked));
    filter(made, tools);
  }
  showRuns();
})();
