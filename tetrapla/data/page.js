// Saves a chart as a file of its own, and opens what is folded for the printer. The page is
// whole without it.
"use strict";
(() => {
  const style = "svg{font:13px system-ui,sans-serif;color:#111;background:#fff}" +
    "text{fill:currentColor}text.on{fill:#111}";
  const said = document.querySelector("header pre");
  const made = document.querySelector("meta[name=generator]").content;
  for (const figure of document.querySelectorAll("figure[data-name]")) {
    const drawing = figure.querySelector("svg");
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Save SVG";
    button.addEventListener("click", () => {
      const copy = drawing.cloneNode(true);
      copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
      const [, , width, height] = drawing.getAttribute("viewBox").split(" ");
      copy.setAttribute("width", width);
      copy.setAttribute("height", height);
      const about = document.createElementNS("http://www.w3.org/2000/svg", "metadata");
      about.textContent = [made, said && said.textContent].filter(Boolean).join("; ");
      const look = document.createElementNS("http://www.w3.org/2000/svg", "style");
      look.textContent = style;
      copy.prepend(about, look);
      const text = new XMLSerializer().serializeToString(copy);
      const link = document.createElement("a");
      link.download = figure.dataset.name + ".svg";
      link.href = URL.createObjectURL(new Blob([text], { type: "image/svg+xml" }));
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    });
    const row = figure.querySelector("figcaption");
    row.append(" ", button);
  }
  let shut = [];
  addEventListener("beforeprint", () => {
    shut = [...document.querySelectorAll("details:not([open])")];
    for (const each of shut) each.open = true;
  });
  addEventListener("afterprint", () => {
    for (const each of shut) each.open = false;
  });
})();
