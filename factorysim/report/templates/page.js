"use strict";
for (const find of document.querySelectorAll(".find")) {
  const table = document.getElementById(find.dataset.table);
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const [text, state, order] = ["text", "state", "order"].map((k) => find.querySelector(`[name=${k}]`));
  const words = rows.map((row) => row.textContent.toLowerCase());
  const count = find.querySelector("[role=status]");
  const choose = () => {
    const wanted = text.value.toLowerCase().split(/\s+/);
    let seen = 0;
    rows.forEach((row, k) => {
      const fits = wanted.every((word) => words[k].includes(word));
      row.hidden = !fits || Boolean(state?.value && state.value !== row.dataset.state);
      seen += row.hidden ? 0 : 1;
    });
    count.textContent = `${seen} of ${rows.length} rows shown`;
  };
  const lay = () => {
    const far = (row) => Number(row.dataset.off);
    body.append(...(order.value === "far" ? [...rows].sort((a, b) => far(b) - far(a)) : rows));
  };
  find.hidden = false;
  text.addEventListener("input", choose);
  state?.addEventListener("change", choose);
  order?.addEventListener("change", lay);
  choose();
}
