"use strict";
(() => {
  const root = document.documentElement;
  const $ = (selector, within = document) => within.querySelector(selector);
  const $$ = (selector, within = document) => [...within.querySelectorAll(selector)];
  const make = (tag, name, text) => {
    const element = document.createElement(tag);
    if (name) element.className = name;
    if (text !== undefined) element.textContent = text;
    return element;
  };

  // ---- theme: the wish in the address, then the saved one, then the system's
  const asked = /[?&#]theme=(dark|light)/.exec(location.search + location.hash);
  const saved = () => { try { return localStorage.getItem("affectus-theme"); } catch { return null; } };
  if (asked || saved()) root.dataset.theme = asked ? asked[1] : saved();
  const isDark = () => root.dataset.theme
    ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  $("#theme").addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    try { localStorage.setItem("affectus-theme", root.dataset.theme); } catch { /* private window */ }
    redraw();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => redraw());

  // ---- plot data: colour tokens come from the page's own style, arrays from the pool
  const colourOf = (token) => {
    const [name, band] = token.slice(1).split("/");
    const hex = getComputedStyle(root).getPropertyValue(`--${name}`).trim();
    if (!/^#[0-9a-f]{6}$/i.test(hex)) return token;
    const part = (at) => parseInt(hex.slice(at, at + 2), 16);
    return band ? `rgba(${part(1)},${part(3)},${part(5)},0.24)` : hex;
  };
  const numbers = (entry) => {
    if (entry.v) return entry.v;
    const bytes = Uint8Array.from(atob(entry.b), (c) => c.charCodeAt(0));
    const flat = new Float32Array(bytes.buffer);
    entry.v = flat;
    if (entry.w) {
      entry.v = [];
      for (let i = 0; i < flat.length; i += entry.w) entry.v.push([...flat.subarray(i, i + entry.w)]);
    }
    return entry.v;
  };
  const resolve = (value, pool) => {
    if (typeof value === "string") return value[0] === "@" ? colourOf(value) : value;
    if (Array.isArray(value)) return value.map((v) => resolve(v, pool));
    if (value && typeof value === "object") {
      if ("$" in value) return numbers(pool[value.$]);
      return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, resolve(v, pool)]));
    }
    return value;
  };

  let loading = null;
  const library = () => loading ??= (async () => {
    const packed = Uint8Array.from(atob($("#plotly").textContent), (c) => c.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    const script = make("script");
    script.textContent = await new Response(stream).text();
    document.head.append(script);
    return window.Plotly;
  })();

  const clock = (seconds, timed) => {
    if (!timed) return `no. ${Math.floor(seconds) + 1}`;
    const tenth = Math.round(Math.max(0, seconds) * 10);
    const s = Math.floor(tenth / 10), h = Math.floor(s / 3600), m = Math.floor(s / 60) % 60;
    const two = (n) => String(n).padStart(2, "0");
    return `${h ? `${h}:${two(m)}` : m}:${two(s % 60)}.${tenth % 10}`;
  };

  // ---- one file of the report
  class FileView {
    constructor(element) {
      this.element = element;
      const source = $('script[type="application/json"]', element);
      this.data = source ? JSON.parse(source.textContent) : null;
      this.lanes = $(".lanes", element);
      this.inspector = $(".inspector", element);
      this.media = $("video.media, audio.media", element);
      this.held = null;
      this.drawn = new Set();
      this.timed = this.data ? this.data.timed : true;
      if (this.lanes) this.setUpLanes();
      if (this.data) this.setUpPlots();
      element.addEventListener("click", (event) => {
        const button = event.target.closest("[data-seek]");
        if (button) this.hold(Number(button.dataset.seek) + 0.001, true);
      });
      this.media?.addEventListener("timeupdate", () => this.show(this.media.currentTime));
    }

    setUpLanes() {
      this.duration = Number(this.lanes.dataset.duration);
      this.timed = this.lanes.dataset.timed === "1";
      this.from = 0;
      this.to = this.duration;
      this.cursor = make("div", "cursor");
      this.cursor.append(make("span"));
      this.cursor.hidden = true;
      this.lanes.append(this.cursor);
      const timeAt = (event, strip) => {
        const box = strip.getBoundingClientRect();
        return this.from + (this.to - this.from) * Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
      };
      for (const strip of $$(".strip[tabindex]", this.lanes)) {
        strip.addEventListener("pointermove", (event) => this.show(timeAt(event, strip)));
        strip.addEventListener("click", (event) => this.hold(timeAt(event, strip), true));
        strip.addEventListener("keydown", (event) => this.key(event, strip));
      }
      this.lanes.addEventListener("pointerleave", () => {
        if (this.held === null) this.cursor.hidden = true; else this.show(this.held);
      });
      for (const button of $$("[data-zoom]", this.element)) {
        button.addEventListener("click", () => this.zoom(button.dataset.zoom));
      }
    }

    key(event, strip) {
      const starts = $$("i", strip).map((i) => Number(i.dataset.s.split(",")[0]));
      const now = this.held ?? -1;
      let next;
      if (event.key === "ArrowRight") next = starts.find((s) => s > now + 0.01);
      else if (event.key === "ArrowLeft") next = starts.filter((s) => s < now - 0.01).pop();
      else if (event.key === "Home") next = starts[0];
      else if (event.key === "End") next = starts[starts.length - 1];
      else return;
      event.preventDefault();
      if (next !== undefined) this.hold(next + 0.001, false);
    }

    zoom(kind) {
      const middle = this.held ?? (this.from + this.to) / 2;
      const width = kind === "all" ? this.duration
        : Math.min(this.duration, Math.max(0.5, (this.to - this.from) * (kind === "in" ? 0.5 : 2)));
      const from = Math.min(Math.max(0, middle - width / 2), this.duration - width);
      this.range(from, from + width, true);
    }

    range(from, to, plots) {
      this.from = from;
      this.to = to;
      const scale = this.duration / (to - from);
      for (const inner of $$(".inner", this.lanes)) {
        inner.style.width = `${100 * scale}%`;
        inner.style.left = `${-100 * from / (to - from)}%`;
      }
      this.ticks();
      if (this.held !== null) this.show(this.held);
      if (!plots) return;
      for (const plot of this.drawn) {
        if (plot.dataset.plot === "curves") {
          const edge = (t) => this.timed ? this.data.zero + t * 1000 : t + 0.5;
          Plotly.relayout(plot, { "xaxis.range": [edge(from), edge(to)] });
        }
      }
    }

    ticks() {
      const holder = $(".ticks", this.lanes);
      const room = $(".axis .strip", this.lanes).clientWidth / 72;
      const steps = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400];
      const step = steps.find((s) => (s >= 1 || this.timed) && (this.to - this.from) / s <= room) ?? 14400;
      holder.replaceChildren();
      for (let i = Math.ceil(this.from / step - 1e-9); i * step < this.to - step * 0.2; i++) {
        const tick = make("span", "", step < 1 || !this.timed ? clock(i * step, this.timed)
          : clock(i * step, true).replace(/\.\d$/, ""));
        tick.style.left = `${100 * i * step / this.duration}%`;
        holder.append(tick);
      }
    }

    hold(time, seek) {
      this.held = time;
      this.show(time);
      for (const strip of $$(".strip[tabindex]", this.element)) {
        strip.setAttribute("aria-valuenow", time.toFixed(2));
        const label = this.pieceAt(strip, time)?.textContent ?? "nothing";
        strip.setAttribute("aria-valuetext", `${clock(time, this.timed)} ${label}`);
      }
      if (seek && this.media && this.timed) this.media.currentTime = time;
      const now = $(".turn.now", this.element);
      if (now) now.parentElement.scrollTop = now.offsetTop - 80;
    }

    show(time) {
      if (!this.lanes) return;
      if (time < this.from || time > this.to) {
        const width = this.to - this.from;
        const from = Math.min(Math.max(0, time - width / 2), this.duration - width);
        if (width < this.duration) return this.range(from, from + width, true);
      }
      const strip = $(".strip[tabindex]", this.lanes).getBoundingClientRect();
      const box = this.lanes.getBoundingClientRect();
      const share = (time - this.from) / (this.to - this.from);
      this.cursor.hidden = false;
      this.cursor.style.left = `${strip.left - box.left + share * strip.width}px`;
      this.cursor.firstChild.textContent = clock(time, this.timed);
      for (const turn of $$(".turn", this.element)) {
        turn.classList.toggle("now", time >= Number(turn.dataset.s) && time < Number(turn.dataset.e));
      }
      this.inspect(time);
      for (const plot of this.drawn) this.line(plot, time);
    }

    line(plot, time) {
      if (plot.dataset.plot !== "curves" || plot.closest("[hidden]")) return;
      const x = this.timed ? this.data.zero + time * 1000 : Math.floor(time) + 1;
      const shape = { type: "line", xref: "x", yref: "paper", x0: x, x1: x, y0: 0, y1: 1,
        line: { width: 1.2, color: colourOf("@text") } };
      clearTimeout(plot.waiting);
      plot.waiting = setTimeout(() => Plotly.relayout(plot, { shapes: [shape] }), 30);
    }

    pieceAt(strip, time) {
      return $$("i", strip).find((i) => {
        const [start, end] = i.dataset.s.split(",");
        return time >= Number(start) && time < Number(end);
      });
    }

    inspect(time) {
      const blocks = [];
      for (const [number, person] of $$(".person:not(.axis)", this.lanes).entries()) {
        const block = make("div");
        const lines = [];
        for (const strip of $$(".strip", person)) {
          const piece = this.pieceAt(strip, time);
          if (!piece) continue;
          const [, , score, low, high] = piece.dataset.s.split(",").map((v) => v === "" ? NaN : Number(v));
          const clash = piece.classList.contains("clash");
          const percent = (v) => `${Math.round(v * 100)}%`;
          const sure = clash ? `(${score.toFixed(2)} bit)` : Number.isNaN(score) ? "" : percent(score);
          const bounds = Number.isNaN(low) || clash ? "" : ` (${percent(low)}–${percent(high)})`;
          const line = make("p");
          const dot = make("span", `dot ${[...piece.classList].filter((c) => c.startsWith("e-")).join(" ")}`);
          if (!clash) line.append(dot);
          const label = piece.textContent.replace(/\?$/, "");
          const hedge = piece.classList.contains("u") ? "uncertain, closest " : "";
          line.append(`${strip.dataset.source}: ${hedge}${label} ${sure}${bounds}`);
          lines.push(line);
        }
        if (!lines.length) continue;
        block.append(make("b", "", person.getAttribute("aria-label")), ...lines);
        const index = this.data ? this.data.people.indexOf(person.getAttribute("aria-label")) : number;
        const cues = (this.data?.evidence ?? []).filter(([s, e, who]) =>
          (who === index || who === -1) && time >= s && time < Math.max(e, s + 0.2)).slice(0, 6);
        for (const [, , , source, text, row] of cues) {
          const line = make("p", "cue", `↳ ${source}: ${text} `);
          line.append(make("small", "", `row ${row}`));
          block.append(line);
        }
        blocks.push(block);
      }
      const said = $$(".turn.now p", this.element).map((p) => `“${p.textContent}”`).join(" ");
      const columns = make("div", "cols");
      columns.append(...blocks);
      this.inspector.hidden = false;
      this.inspector.replaceChildren(make("p", "at", `${clock(time, this.timed)} ${said}`), columns);
    }

    setUpPlots() {
      const tabs = $$("[role=tab]", this.element);
      const choose = (tab) => {
        for (const other of tabs) {
          const chosen = other === tab;
          other.setAttribute("aria-selected", String(chosen));
          other.tabIndex = chosen ? 0 : -1;
          document.getElementById(other.getAttribute("aria-controls")).hidden = !chosen;
        }
        this.draw();
      };
      tabs.forEach((tab, at) => {
        tab.addEventListener("click", () => choose(tab));
        tab.addEventListener("keydown", (event) => {
          const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
          if (!step) return;
          const next = tabs[(at + step + tabs.length) % tabs.length];
          next.focus();
          choose(next);
        });
      });
      const seen = new IntersectionObserver((entries) => {
        if (entries.some((entry) => entry.isIntersecting)) { seen.disconnect(); this.draw(); }
      }, { rootMargin: "800px" });
      const first = $(".plot", this.element);
      if (first) seen.observe(first);
      this.element.addEventListener("toggle", () => { if (this.element.open) this.draw(); });
    }

    async draw() {
      let plotly;
      try { plotly = await library(); } catch {
        for (const plot of $$(".plot", this.element)) {
          plot.replaceChildren(make("p", "failed", "This browser cannot unpack the plots; strips and tables hold the same."));
        }
        return;
      }
      for (const plot of $$(".panel:not([hidden]) .plot", this.element)) {
        if (plot.clientWidth === 0) continue;
        const person = this.data.plots[Number(plot.closest(".panel").dataset.person)];
        const spec = resolve(person[plot.dataset.plot], this.data.pool);
        await plotly.react(plot, spec.data, spec.layout, { responsive: true, displayModeBar: false, doubleClick: false });
        if (this.drawn.has(plot)) continue;
        this.drawn.add(plot);
        if (plot.dataset.plot === "curves") this.follow(plot);
      }
      if (this.held !== null) this.show(this.held);
    }

    follow(plot) {
      const seconds = (x) => ((typeof x === "number" ? x : Date.parse(`${x.replace(" ", "T")}Z`)) - this.data.zero) / 1000;
      plot.on("plotly_click", (event) => {
        const x = event.points[0].x;
        this.hold(this.timed ? seconds(x) : Math.max(0, x - 1), true);
      });
      plot.on("plotly_doubleclick", () => { this.range(0, this.duration, true); return false; });
      plot.on("plotly_relayout", (change) => {
        const from = change["xaxis.range[0]"], to = change["xaxis.range[1]"];
        if (!this.timed || !this.lanes || from === undefined || to === undefined) return;
        this.range(Math.max(0, seconds(from)), Math.min(this.duration, seconds(to)), false);
      });
    }
  }

  const shown = $$(".file").map((element) => new FileView(element));
  const redraw = () => shown.forEach((file) => { if (file.drawn.size) file.draw(); });
  const refresh = () => shown.forEach((file) => { if (file.lanes?.clientWidth) file.ticks(); });
  addEventListener("resize", refresh);
  // Paper is white: plots are drawn again in the light colours for it.
  let theme;
  addEventListener("beforeprint", () => { theme = root.dataset.theme; root.dataset.theme = "light"; redraw(); });
  addEventListener("afterprint", () => {
    if (theme) root.dataset.theme = theme; else delete root.dataset.theme;
    redraw();
  });
  $$("details.file").forEach((element) => element.addEventListener("toggle", refresh));
  refresh();

  // A link to something inside a closed section opens it.
  const reveal = () => {
    const target = /^#f\d/.test(location.hash) && document.getElementById(location.hash.slice(1));
    for (let at = target; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
    if (target) target.scrollIntoView();
  };
  addEventListener("hashchange", reveal);
  reveal();
})();
