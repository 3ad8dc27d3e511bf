// Draws the charts of a page with uPlot, from what their figures carry, and says what was at the moment that the pointer or the
// arrow keys are at, of all charts of the page at once. Without this script the figures show the server's SVG.
"use strict";
(() => {
  if (!window.uPlot || !window.ResizeObserver) return;
  const charts = new Map();
  let keys = null; // Which chart the keys move in, and the moment they are at.

  const rate = (n) =>
    n <= 0 ? "0" : n < 10 ? n.toFixed(1) : n < 1e4 ? n.toFixed(0) : n < 1e6 ? `${(n / 1e3).toFixed(1)} k` : `${(n / 1e6).toFixed(1)} M`;
  const clock = (at, from, to) => new Date(at * 1000).toISOString().slice(from, to);
  // The next round number whose half is one too.
  const round = (n) => {
    const unit = 10 ** Math.floor(Math.log10(Math.max(n, 1)));
    return unit * [1, 1.2, 1.6, 2, 2.4, 3, 4, 5, 6, 8, 10].find((by) => n <= unit * by * 1.0001);
  };
  const element = (name, classes, text) => {
    const made = document.createElement(name);
    made.className = classes;
    made.textContent = text;
    made.dataset.own = "";
    return made;
  };

  const axes = (chart, size, colour) => {
    const quiet = { stroke: colour("muted"), font: `${size}px ${getComputedStyle(chart.host).fontFamily}`, ticks: { show: false } };
    const tick = (n) => (n % 1 ? rate(n) : rate(n).replace(".0", ""));
    return [
      { ...quiet, size: size * 2, gap: size * .8, space: () => size * (chart.range < 120 ? 6.5 : 5), incrs: [10, 15, 30, 60, 120, 300, 600],
        grid: { show: false },
        // One that would not fit is left out.
        filter: (u, all) => all.map((at) => (u.valToPos(at, "x") < size * 2 ? null : at)),
        values: (u, all) => all.map((at) => at && clock(at, 11, chart.range < 120 ? 19 : 16)) },
      { ...quiet, side: 1, gap: size * .7, size: (u, all) => size * (.8 + .65 * Math.max(3, ...(all ?? []).map((said) => said.length))),
        grid: { stroke: colour("line"), width: 1, dash: [2, 4] },
        splits: (u) => [0, u.scales.y.max / 2, u.scales.y.max], values: (u, all) => all.map(tick) },
    ];
  };

  const options = (chart) => {
    const { host, names, order } = chart;
    const colour = (name) => () => getComputedStyle(host).getPropertyValue(`--${name}`).trim();
    const size = parseFloat(getComputedStyle(host).fontSize);
    const lines = order.map((n) => ({
      stroke: colour(names[n].kind), width: 1.25, points: { show: false }, fill: names[n].kind === "second" ? colour("area") : undefined,
    }));
    return {
      width: host.clientWidth, height: host.clientHeight, padding: [size, 0, 0, 0],
      legend: { show: false },
      cursor: {
        y: false, drag: { x: false, y: false }, sync: { key: "charts" },
        points: { size: 8, width: 2, stroke: colour("surface"), fill: (u, n) => lines[n - 1].stroke() },
        // The line is at a moment that is known of.
        move: (u, left, top) => {
          const at = left < 0 ? undefined : u.data[0][u.posToIdx(left)];
          return [at === undefined ? left : u.valToPos(at, "x"), top];
        },
      },
      scales: { x: { time: false, range: () => chart.window() }, y: { range: (u, min, max) => [0, round(max || 1)] } },
      axes: axes(chart, size, colour),
      series: [{}, ...lines],
      hooks: { setCursor: [() => chart.tell()] },
    };
  };

  class Chart {
    constructor(figure) {
      this.figure = figure;
      this.names = Array.from(figure.querySelectorAll(".key"), (key) => ({ word: key.textContent, kind: key.classList[1] }));
      // What is filled lies below.
      this.order = this.names.map((_, n) => n).sort((a, b) => (this.names[b].kind === "second") - (this.names[a].kind === "second"));
      this.host = element("div", "plot", "");
      this.host.tabIndex = 0;
      this.host.setAttribute("role", "slider");
      this.host.setAttribute("aria-roledescription", "chart");
      this.said = element("span", "reading", "");
      figure.querySelector("figcaption").append(this.said);
      figure.prepend(this.host);
      this.read();
      this.build();
      this.sizes = new ResizeObserver(() => this.fit());
      this.sizes.observe(this.host);
      this.host.addEventListener("keydown", (event) => this.key(event));
      this.host.addEventListener("focus", () => this.speak());
      this.host.addEventListener("blur", () => keys && this.go(null));
      this.speak();
    }

    // What the figure carries; a line of nothing but zeros is not drawn where it would tell of failures.
    read() {
      const { range, from, points } = this.figure.dataset;
      const [times, ...values] = JSON.parse(points);
      this.carried = from + points;
      this.range = Number(range);
      this.data = [times.map((ms) => (Number(from) + ms) / 1000), ...values];
      this.drawn = [this.data[0], ...this.order.map((n) => {
        const column = this.data[n + 1];
        return this.names[n].kind === "third" && !column.some((value) => value > 0) ? column.map(() => null) : column;
      })];
      this.host.setAttribute("aria-label", this.figure.querySelector("svg").getAttribute("aria-label"));
    }

    build() {
      this.type = getComputedStyle(this.host).fontSize;
      this.plot = new uPlot(options(this), this.drawn, this.host);
    }

    // Into the room there is; where letters have another size now, anew.
    fit() {
      const [width, height] = [this.host.clientWidth, this.host.clientHeight];
      if (!width) return;
      if (this.type === getComputedStyle(this.host).fontSize) return this.plot.setSize({ width, height });
      this.plot.destroy();
      this.build();
    }

    window() {
      const now = this.data[0].at(-1) ?? Date.now() / 1000;
      return [now - this.range, now];
    }

    renew() {
      const { from, points } = this.figure.dataset;
      if (this.carried === from + points) return;
      this.read();
      // At once, not in a moment: where the cursor is depends on it.
      this.plot.batch(() => this.plot.setData(this.drawn));
      this.tell();
    }

    // To the point of this number, or to none.
    go(n) {
      keys = n === null ? null : { chart: this, at: this.data[0][n] };
      this.plot.setCursor({ left: n === null ? -10 : this.plot.valToPos(keys.at, "x"), top: 0 }, true, true);
      this.speak();
    }

    key(event) {
      const last = this.data[0].length - 1;
      const at = this.plot.cursor.idx;
      const to = { ArrowLeft: (at ?? last + 1) - 1, ArrowRight: (at ?? last) + 1, PageUp: (at ?? last) - 10, PageDown: (at ?? last) + 10,
        Home: 0, End: last, Escape: null }[event.key];
      if (to === undefined || last < 0 || event.altKey || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      this.go(to === null ? null : Math.min(Math.max(to, 0), last));
    }

    // What is said of a moment: its time, and each value by its name.
    parts(n) {
      return [`${clock(this.data[0][n], 11, 19)} UTC`, ...this.names.map(({ word }, of) => `${word} ${rate(this.data[of + 1][n])}/s`)];
    }

    tell() {
      const n = this.plot && this.plot.cursor.idx;
      const parts = n === null || n === undefined ? [] : this.parts(n);
      if (this.said.textContent === parts.join(" ")) return;
      this.said.replaceChildren(...parts.flatMap((part, of) => [of ? " " : "", element("span", of ? `key ${this.names[of - 1].kind}` : "at", part)]));
    }

    // For who hears it: only what they moved to, not what comes every second.
    speak() {
      const last = this.data[0].length - 1;
      const n = this.plot.cursor.idx ?? last;
      const now = { min: 0, max: Math.max(last, 0), now: Math.max(n, 0), text: last < 0 ? "nothing yet" : this.parts(n).join(" ") };
      for (const [name, value] of Object.entries(now)) this.host.setAttribute(`aria-value${name}`, value);
    }

    end() {
      if (keys && keys.chart === this) keys = null;
      this.sizes.disconnect();
      this.plot.destroy();
    }
  }

  const draw = () => {
    for (const [figure, chart] of charts) {
      if (!figure.isConnected) {
        chart.end();
        charts.delete(figure);
      }
    }
    for (const figure of document.querySelectorAll("figure[data-points]")) {
      const chart = charts.get(figure);
      if (chart) chart.renew();
      else charts.set(figure, new Chart(figure));
    }
    // What is shown moves on; the moment that was chosen stays while it is shown.
    if (!keys) return;
    const { chart, at } = keys;
    const n = chart.data[0].indexOf(at);
    chart.plot.setCursor({ left: n < 0 ? -10 : chart.plot.valToPos(at, "x"), top: 0 }, true, true);
  };
  document.addEventListener("renewed", draw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => charts.forEach((chart) => chart.plot.redraw()));
  draw();
})();
