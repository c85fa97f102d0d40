"use strict";
// The page is whole without this script but for its charts; here they are drawn, tables sorted, filtered and taken along.
(() => {
  const root = document.documentElement, all = (what, where = document) => [...where.querySelectorAll(what)];
  const page = JSON.parse(document.getElementById("page").textContent);
  root.classList.add("scripted");

  // Packed texts: base64 of gzip.
  const unpack = async packed => {
    const bytes = Uint8Array.from(atob(packed), letter => letter.charCodeAt(0));
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
  };
  let library;
  const plotly = () => library ??= unpack(document.getElementById("plotly").textContent.trim()).then(text => {
    const script = document.createElement("script");
    script.textContent = text;
    document.head.append(script);
    return window.Plotly;
  });

  // Dark: the browser's choice until the reader takes another.
  const system = matchMedia("(prefers-color-scheme: dark)"), theme = document.getElementById("theme");
  let dark = system.matches;
  const DARK = {"#222222": "#e6e6e6", "#e4e4e4": "#3a3d42", "#555555": "#a9adb4", "#000000": "#ffffff", "#ffffff": "#16181c",
    "#FFFFFF": "#16181c", "rgba(255,255,255,0.8)": "rgba(22,24,28,0.8)", "rgba(0,0,0,0.18)": "rgba(255,255,255,0.22)"};
  const toned = (text, night) => night ? text.replace(/"(#[0-9a-fA-F]{6}|rgba\([\d,.]+\))"/g, (whole, colour) =>
    DARK[colour] ? `"${DARK[colour]}"` : whole) : text;
  const show = night => {
    dark = night;
    theme.setAttribute("aria-pressed", String(night));
    root.style.colorScheme = night ? "dark" : "light";
    root.classList.toggle("dark", night);
    redraw();
  };

  // Charts.
  const hidden = new Set(); // agents that the reader took out, by their places
  let view = "score", axis = "log";
  const faint = colour => `rgba(${[1, 3, 5].map(at => parseInt(colour.slice(at, at + 2), 16)).join(",")},0.18)`;
  const merged = (one, other) => {
    const both = {...one};
    for (const [key, value] of Object.entries(other))
      both[key] = value && both[key] && typeof value === "object" && !Array.isArray(value) ? merged(both[key], value) : value;
    return both;
  };
  const escaped = text => text.replace(/[&<>"]/g, letter => ({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"}[letter]));
  const curves = found => {
    const {floor, layout} = found.views[view] ?? Object.values(found.views)[0];
    const place = distances => distances.map(each => floor === null ? 1 - each : Math.max(each, floor));
    const shown = found.curves.filter(curve => !hidden.has(curve.agent));
    const bands = [], lines = [];
    for (const curve of shown) {
      const agent = page.agents[curve.agent], name = escaped(agent.name), x = curve.at.map(at => found.grid[at]);
      const band = {x, mode: "lines", type: "scatter", legendgroup: name, showlegend: false, hoverinfo: "skip",
        line: {width: 0, shape: "hv", color: agent.colour}};
      if (curve.low)
        bands.push({...band, y: place(curve.low)}, {...band, y: place(curve.high), fill: "tonexty", fillcolor: faint(agent.colour)});
      lines.push({x, y: place(curve.line), customdata: curve.line.map(each => 1 - each), name, legendgroup: name,
        mode: "lines", type: "scatter", line: {color: agent.colour, dash: agent.dash, width: 2, shape: "hv"},
        hovertemplate: "%{x:.4~g}: score %{customdata:.5f}"});
    }
    const small = found.small ? {showlegend: false, font: {size: 11}} : {};
    const straight = axis === "linear" ? {xaxis: {type: "linear", range: null, autorange: true, dtick: null}} : {};
    return {data: [...bands, ...lines], layout: [layout, small, straight].reduce(merged, page.layout)};
  };
  // Two panels side by side stand one above the other where there is no room for their titles.
  const stacked = layout => {
    const titles = (layout.annotations ?? []).map(note => note.xref === "paper" && note.yref === "paper" && note.y === 1);
    const seconds = titles.map((title, place) => title && titles.indexOf(true) < place);
    return {...layout, xaxis: {...layout.xaxis, domain: [0, 1]}, xaxis2: {...layout.xaxis2, domain: [0, 1]},
      yaxis: {...layout.yaxis, domain: [.58, 1]}, yaxis2: {...layout.yaxis2, domain: [0, .42], showticklabels: true},
      legend: {...layout.legend, y: -.1},
      annotations: layout.annotations?.map((note, place) => titles[place] ? {...note, x: .5, y: seconds[place] ? .42 : 1} : note)};
  };
  const figures = new WeakMap(), drawn = new Set();
  const figure = (chart, night) => {
    const text = figures.get(chart);
    const made = chart.dataset.kind === "curves" ? JSON.stringify(curves(JSON.parse(text))) : text;
    const {data, layout} = JSON.parse(toned(made, night));
    const height = Number(chart.dataset.height ??= parseInt(chart.style.height));
    const narrow = chart.offsetWidth > 0 && chart.offsetWidth < 560 && layout.xaxis2 ? stacked(layout) : layout;
    const tall = narrow === layout ? height : 1.7 * height;
    chart.style.height = `${tall}px`;
    return {data, layout: {...narrow, width: undefined, height: tall, autosize: true}};
  };
  const draw = chart => {
    const {data, layout} = figure(chart, dark);
    window.Plotly.react(chart, data, layout, {displaylogo: false, responsive: true, displayModeBar: false});
  };
  const opened = async chart => {
    if (drawn.has(chart)) return;
    drawn.add(chart);
    const [text] = await Promise.all([unpack(chart.dataset.figure), plotly()]);
    figures.set(chart, text);
    draw(chart);
  };
  const redraw = (which = () => true) => {
    for (const chart of drawn) if (figures.has(chart) && which(chart)) draw(chart);
  };
  const isCurves = chart => chart.dataset.kind === "curves";
  const seen = new IntersectionObserver(entries => {
    for (const entry of entries) if (entry.isIntersecting) opened(entry.target);
  }, {rootMargin: "600px"});
  const charts = all(".chart");
  for (const chart of charts) seen.observe(chart);
  // Paper shows what is open, by day and no wider than it is.
  const ready = () => Promise.all(charts.filter(chart => chart.offsetParent).map(opened));
  let before;
  window.addEventListener("beforeprint", () => {
    before = dark;
    dark = false;
    redraw();
    for (const chart of drawn)
      if (figures.has(chart)) window.Plotly.relayout(chart, {width: Math.min(chart.offsetWidth, chart.closest(".pair, .inside") ? 340 : 690)});
  });
  window.addEventListener("afterprint", () => { dark = before; redraw(); });

  // What the reader takes along.
  const take = (name, address) => {
    const link = document.createElement("a");
    link.href = address;
    link.download = name;
    link.click();
  };
  const save = (name, type, parts) => {
    const address = URL.createObjectURL(new Blob(parts, {type}));
    take(name, address);
    setTimeout(() => URL.revokeObjectURL(address), 1000);
  };
  const button = (text, label, act) => {
    const found = document.createElement("button");
    found.type = "button";
    found.textContent = text;
    found.setAttribute("aria-label", label);
    found.addEventListener("click", act);
    return found;
  };
  const tools = (after, ...buttons) => {
    const bar = document.createElement("div");
    bar.className = "tools";
    bar.append(...buttons);
    after.after(bar);
  };
  const image = async (chart, format) => {
    await opened(chart);
    const {data, layout} = figure(chart, false), width = chart.offsetWidth || 700, height = layout.height;
    take(`${chart.id}.${format}`, await window.Plotly.toImage({data, layout: {...layout, paper_bgcolor: "#ffffff"}},
      {format, width, height, scale: format === "png" ? 2 : 1}));
  };
  for (const chart of charts)
    tools(chart, ...["svg", "png"].map(format => button(format.toUpperCase(), `Save as ${format.toUpperCase()}: ${chart.ariaLabel.slice(0, 80)}`, () => image(chart, format))));
  const cellText = cell => {
    const copy = cell.cloneNode(true), extra = all("small", copy).map(each => (each.remove(), each.textContent.trim()));
    for (const end of all("br", copy)) end.replaceWith(" ");
    const text = copy.textContent.replace(/\s+/g, " ").trim();
    return extra.length ? `${text} (${extra.join("; ")})` : text;
  };
  const rows = table => all("tr", table).filter(row => !row.hidden && getComputedStyle(row).display !== "none").map(row =>
    [...row.cells].filter(cell => !cell.dataset.picture && getComputedStyle(cell).display !== "none").map(cellText));
  const csv = table => rows(table).map(row => row.map(text => /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text).join(",")).join("\r\n") + "\r\n";
  const LATEX = {"\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "−": "$-$", "µ": "\\textmu{}", "≤": "$\\le$"};
  const tex = text => text.replace(/[\\&%$#_{}~^−µ≤]/g, letter => LATEX[letter] ?? `\\${letter}`);
  const latex = table => {
    const [head, ...body] = rows(table), kinds = [...table.rows[0].cells].filter(cell => !cell.dataset.picture && getComputedStyle(cell).display !== "none").map(cell => cell.classList.contains("n") ? "r" : "l").join("");
    const line = row => `${row.map(tex).join(" & ")} \\\\`;
    return ["% needs \\usepackage{booktabs}", `\\begin{tabular}{${kinds}}`, "\\toprule", line(head), "\\midrule", ...body.map(line), "\\bottomrule", "\\end{tabular}", ""].join("\n");
  };
  const tables = all("table");
  for (const [place, table] of tables.entries()) {
    const about = table.caption?.textContent ?? table.getAttribute("aria-label") ?? `table ${place + 1}`;
    const name = table.dataset.name ?? `table-${place + 1}`;
    tools(table.closest(".scroll") ?? table,
      button("CSV", `Save as CSV: ${about}`, () => save(`${name}.csv`, "text/csv", ["\ufeff", csv(table)])),
      button("LaTeX", `Save as LaTeX: ${about}`, () => save(`${name}.tex`, "text/x-tex", [latex(table)])));
  }

  // Tables sort by any column: numbers by value, the lines of `all` stay last.
  const value = cell => {
    const text = cell?.dataset.value ?? cell?.textContent.trim() ?? "";
    return {text, number: parseFloat(text.replace("−", "-").replaceAll(",", ""))};
  };
  const sort = (table, place, direction) => {
    const body = table.tBodies[0], lines = [...body.rows].filter(row => !row.classList.contains("all"));
    const keys = new Map(lines.map(row => [row, value(row.cells[place])]));
    lines.sort((one, other) => {
      const [a, b] = [keys.get(one), keys.get(other)];
      if (Number.isNaN(a.number) !== Number.isNaN(b.number)) return Number.isNaN(a.number) ? 1 : -1;
      const order = Number.isNaN(a.number) ? a.text.localeCompare(b.text, "en", {numeric: true}) : a.number - b.number;
      return direction === "ascending" ? order : -order;
    });
    body.prepend(...lines);
  };
  for (const table of tables) {
    if (!table.tHead || table.tBodies[0].rows.length < 3) continue;
    for (const [place, head] of [...table.tHead.rows[0].cells].entries()) {
      if (!head.textContent.trim() || head.dataset.picture) continue;
      const press = document.createElement("button");
      press.type = "button";
      press.className = "sort";
      press.append(...head.childNodes);
      head.append(press);
      press.addEventListener("click", () => {
        const last = head.getAttribute("aria-sort"), first = head.classList.contains("n") && !head.classList.contains("up") ? "descending" : "ascending";
        const direction = last === null ? first : last === "ascending" ? "descending" : "ascending";
        for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", direction);
        sort(table, place, direction);
      });
    }
  }

  // Regions that scroll take the keyboard.
  const scrolls = new ResizeObserver(entries => {
    for (const {target} of entries)
      if (target.scrollWidth > target.clientWidth || target.scrollHeight > target.clientHeight) target.tabIndex = 0;
      else target.removeAttribute("tabindex");
  });
  for (const region of all(".scroll")) scrolls.observe(region);

  // Filters: agents everywhere, instances by words. The address keeps both: #anchor?without=agent&without=agent&find=words.
  const rules = document.head.appendChild(document.createElement("style"));
  const boxes = all("input[data-agent]"), words = document.getElementById("find"), count = document.getElementById("found");
  const split = () => {
    const [anchor, query = ""] = location.hash.slice(1).split("?");
    return {anchor, query: new URLSearchParams(query)};
  };
  const keep = anchor => {
    const query = new URLSearchParams();
    for (const place of hidden) query.append("without", page.agents[place].name);
    if (words?.value) query.set("find", words.value);
    const text = query.toString();
    history.replaceState(null, "", `#${anchor}${text ? `?${text}` : ""}`);
  };
  const filter = () => {
    rules.textContent = [...hidden].map(place => `[data-a="${place}"]{display:none}`).join("");
    const asked = (words?.value ?? "").toLowerCase().split(/\s+/).filter(Boolean);
    let found = 0;
    for (const each of all("[data-instance]")) {
      each.hidden = !asked.every(word => each.dataset.instance.toLowerCase().includes(word));
      if (each.tagName === "DETAILS") found += !each.hidden;
    }
    if (count) count.textContent = asked.length ? `${found} of ${all("details.instance").length} instances` : "";
    redraw(isCurves);
  };
  for (const box of boxes)
    box.addEventListener("change", () => {
      box.checked ? hidden.delete(Number(box.dataset.agent)) : hidden.add(Number(box.dataset.agent));
      keep(split().anchor);
      filter();
    });
  document.getElementById("everyone")?.addEventListener("click", () => {
    hidden.clear();
    for (const box of boxes) box.checked = true;
    keep(split().anchor);
    filter();
  });
  words?.addEventListener("input", () => { keep(split().anchor); filter(); });

  // Deep links open what they name.
  const go = () => {
    const {anchor, query} = split();
    if (query.size) { // a link inside the page names no filters: those that are there stay
      const without = new Set(query.getAll("without"));
      hidden.clear();
      for (const box of boxes) {
        box.checked = !without.has(page.agents[box.dataset.agent].name);
        if (!box.checked) hidden.add(Number(box.dataset.agent));
      }
      if (words) words.value = query.get("find") ?? "";
      filter();
    } else if (anchor) keep(anchor);
    const target = document.getElementById(decodeURIComponent(anchor));
    if (!target) return;
    for (let each = target; each; each = each.parentElement) if (each.tagName === "DETAILS") each.open = true;
    target.hidden = false;
    target.scrollIntoView();
    if (target.tagName === "DETAILS") target.querySelector("summary").focus({preventScroll: true});
  };
  window.addEventListener("hashchange", go);
  for (const details of all("details.instance"))
    details.querySelector("summary").addEventListener("click", () => { if (!details.open) keep(details.id); });
  for (const press of all("button[data-open]"))
    press.addEventListener("click", () => {
      for (const details of all("details.instance")) if (!details.hidden) details.open = press.dataset.open === "yes";
    });

  const choose = (key, act) => {
    for (const press of all(`button[data-${key}]`))
      press.addEventListener("click", () => {
        for (const other of all(`button[data-${key}]`)) other.setAttribute("aria-pressed", String(other.dataset[key] === press.dataset[key]));
        act(press.dataset[key]);
        redraw(isCurves);
      });
  };
  choose("view", chosen => { view = chosen; });
  choose("axis", chosen => { axis = chosen; });

  theme.addEventListener("click", () => show(!dark));
  system.addEventListener("change", () => show(system.matches));
  root.classList.toggle("dark", dark);
  theme.setAttribute("aria-pressed", String(dark));
  go();
  window.dsegymPage = {ready, csv, latex, tables};
})();
