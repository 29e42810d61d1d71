{
  const page = document.documentElement;
  const theme = document.getElementById("theme");
  const dark = () => {
    const told = page.dataset.theme;
    return told ? told === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  };
  const name = () => { theme.textContent = dark() ? "Light" : "Dark"; };
  theme.hidden = false;
  theme.addEventListener("click", () => {
    page.dataset.theme = dark() ? "light" : "dark";
    name();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", name);
  name();
}
for (const box of document.querySelectorAll(".choose")) {
  const buttons = [...box.querySelectorAll("button")];
  const choose = (chosen) => {
    for (const button of buttons) {
      button.setAttribute("aria-pressed", String(button === chosen));
      document.getElementById(button.dataset.for).hidden = button !== chosen;
    }
  };
  for (const button of buttons) button.addEventListener("click", () => choose(button));
  choose(buttons[0]);
}
{
  // A chart is a slider along its values: arrows, a mouse or a finger move, a screen reader reads.
  const SVG = "http://www.w3.org/2000/svg";
  const tip = document.getElementById("tip");
  let again = null; // what a keyboard has shown stays beside its chart when the page scrolls
  const put = (to, kind, text) => {
    const made = document.createElement(kind);
    made.textContent = text;
    to.append(made);
    return made;
  };
  const show = (stop, x, y) => {
    tip.replaceChildren();
    put(tip, "b", stop.head);
    for (const [key, value] of stop.rows) {
      const line = put(tip, "div", "");
      put(line, "span", key);
      put(line, "span", value);
    }
    tip.hidden = false;
    const { width, height } = tip.getBoundingClientRect();
    const left = x + 14 + width > innerWidth ? x - 14 - width : x + 14;
    tip.style.left = `${Math.max(4, Math.min(left, innerWidth - width - 4))}px`;
    tip.style.top = `${Math.max(4, y - height - 12 < 4 ? y + 18 : y - height - 12)}px`;
  };
  const along = (plot) => {
    const told = JSON.parse(plot.dataset.stops);
    return told.x.map((x, k) => ({
      x, head: told.head[k], rows: told.rows.map(([key, , texts]) => [key, texts[k]]),
    }));
  };
  const parts = (plot) => [...plot.querySelectorAll(".stop")].map((element) => {
    const title = element.querySelector("title");
    const [head, ...rows] = title.textContent.split("\n");
    title.remove();
    return { element, head, rows: rows.map((row) => {
      const cut = row.lastIndexOf(": ");
      return [row.slice(0, cut), row.slice(cut + 2)];
    }) };
  });
  for (const plot of document.querySelectorAll("svg.plot")) {
    const stops = plot.dataset.stops ? along(plot) : parts(plot);
    if (!stops.length) continue;
    const label = plot.getAttribute("aria-label");
    let now = 0;
    const cross = document.createElementNS(SVG, "line");
    if (plot.dataset.stops) {
      cross.setAttribute("class", "cross");
      cross.setAttribute("y1", plot.dataset.top);
      cross.setAttribute("y2", plot.dataset.bottom);
      cross.setAttribute("visibility", "hidden");
      plot.append(cross);
    }
    const say = () => {
      const { head, rows } = stops[now];
      plot.setAttribute("aria-valuenow", String(now));
      plot.setAttribute("aria-valuetext", [head, ...rows.map((row) => row.join(" "))].join(", "));
    };
    const hide = () => {
      tip.hidden = true;
      again = null;
      cross.setAttribute("visibility", "hidden");
      for (const { element } of stops) element?.classList.remove("on");
    };
    const go = (to, x, y) => {
      stops[now].element?.classList.remove("on");
      now = Math.max(0, Math.min(to, stops.length - 1));
      const stop = stops[now];
      say();
      again = x === undefined ? () => go(now) : null;
      if (stop.element) {
        stop.element.classList.add("on");
        const box = stop.element.getBoundingClientRect();
        if (box.bottom > 0 && box.top < innerHeight) show(stop, x ?? box.left + box.width / 2, y ?? box.top);
      } else {
        cross.setAttribute("x1", stop.x);
        cross.setAttribute("x2", stop.x);
        cross.setAttribute("visibility", "visible");
        const box = cross.getBoundingClientRect();
        if (box.bottom > 0 && box.top < innerHeight) show(stop, box.left, y ?? box.top + 20);
      }
    };
    const point = (event) => {
      let found = now;
      if (plot.dataset.stops) {
        const x = new DOMPoint(event.clientX, event.clientY)
          .matrixTransform(plot.getScreenCTM().inverse()).x;
        found = stops.reduce((best, stop, k) =>
          Math.abs(stop.x - x) < Math.abs(stops[best].x - x) ? k : best, 0);
      } else {
        const part = event.target.closest(".stop");
        found = stops.findIndex(({ element }) => element === part);
        if (found < 0) return hide();
      }
      return go(found, event.clientX, event.clientY);
    };
    plot.setAttribute("role", "slider");
    plot.setAttribute("tabindex", "0");
    plot.setAttribute("aria-label", `${label}; arrow keys read the values`);
    plot.setAttribute("aria-valuemin", "0");
    plot.setAttribute("aria-valuemax", String(stops.length - 1));
    say();
    plot.addEventListener("pointermove", point);
    plot.addEventListener("pointerdown", point);
    plot.addEventListener("pointerleave", (event) => {
      if (event.pointerType === "mouse") hide();
    });
    plot.addEventListener("focus", () => { if (plot.matches(":focus-visible")) go(now); });
    plot.addEventListener("blur", hide);
    plot.addEventListener("keydown", (event) => {
      const far = Math.max(1, Math.round(stops.length / 10));
      const to = {
        ArrowRight: now + 1, ArrowUp: now + 1, ArrowLeft: now - 1, ArrowDown: now - 1,
        PageUp: now + far, PageDown: now - far, Home: 0, End: stops.length - 1,
      }[event.key];
      if (event.key === "Escape") hide();
      if (to === undefined) return;
      event.preventDefault();
      go(to);
    });
  }
  addEventListener("scroll", () => {
    tip.hidden = true;
    if (again) again();
  }, { passive: true });
}
