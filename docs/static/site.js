// What is wider than its place scrolls: the keyboard can reach it there, and has no stop where nothing scrolls.
const SCROLLS = { ".content pre": "Code", ".content .table-wrapper": "Table" };
const LANDMARKS = { "aside.sidebar-drawer": "Site", "aside.toc-drawer": "On this page" };

function reachScrolling() {
  for (const [what, name] of Object.entries(SCROLLS)) {
    for (const place of document.querySelectorAll(what)) {
      const attributes = { tabindex: "0", role: "group", "aria-label": `${name}, scrolls sideways` };
      const scrolls = place.scrollWidth > place.clientWidth;
      for (const [key, value] of Object.entries(attributes)) {
        if (scrolls) place.setAttribute(key, value);
        else place.removeAttribute(key);
      }
    }
  }
}

function nameLandmarks() {
  for (const [what, name] of Object.entries(LANDMARKS)) {
    for (const place of document.querySelectorAll(what)) place.setAttribute("aria-label", name);
  }
}

nameLandmarks();
reachScrolling();
addEventListener("load", reachScrolling);
addEventListener("resize", reachScrolling);
document.addEventListener("toggle", reachScrolling, true); // what is folded has no width
