// Keeps a live region as it is now: takes the server's markup over server-sent events, and changes only what differs, so
// that focus, selection and open details stay. Without this script the page is as it was when it was loaded.
"use strict";
(() => {
  const region = document.querySelector("[data-live]");
  if (!region || !window.EventSource) return;
  const status = document.querySelector("[data-status]");
  const word = status && status.querySelector("[data-word]");
  const tell = (state, text) => {
    if (!status || status.dataset.status === state) return;
    status.dataset.status = state;
    word.textContent = text;
  };

  const same = (a, b) => a.nodeType === b.nodeType && a.nodeName === b.nodeName;
  const morph = (old, now) => {
    // What a script of ours has put there is not the server's to change.
    const before = Array.from(old.childNodes).filter((node) => !node.dataset || node.dataset.own === undefined);
    const after = Array.from(now.childNodes);
    after.forEach((next, at) => {
      const node = before[at];
      if (!node) old.appendChild(next);
      else if (!same(node, next)) node.replaceWith(next);
      else if (node.nodeType !== Node.ELEMENT_NODE) {
        if (node.data !== next.data) node.data = next.data;
      } else if (!/^(INPUT|SELECT|TEXTAREA)$/.test(node.nodeName) || node.type === "hidden") {
        for (const { name } of Array.from(node.attributes)) {
          if (!next.hasAttribute(name) && !(node.nodeName === "DETAILS" && name === "open")) node.removeAttribute(name);
        }
        for (const { name, value } of Array.from(next.attributes)) {
          if (node.getAttribute(name) !== value) node.setAttribute(name, value);
        }
        morph(node, next);
      }
    });
    before.slice(after.length).forEach((node) => node.remove());
  };
  let source = null;
  const open = () => {
    if (source) return;
    source = new EventSource(region.dataset.live);
    source.addEventListener("page", (event) => {
      const template = document.createElement("template");
      template.innerHTML = JSON.parse(event.data);
      // The secret of this viewer's forms is not in what all viewers share.
      template.content.querySelectorAll("input[name=csrf]").forEach((i) => i.setAttribute("value", region.dataset.csrf));
      morph(region, template.content);
      document.dispatchEvent(new Event("renewed"));
      tell("live", "live");
    });
    source.addEventListener("away", () => tell("away", "the database is away"));
    // What has ended is watched no more: the server said so, and the browser gave up.
    source.addEventListener("error", () =>
      source.readyState === EventSource.CLOSED ? tell("still", "as it was") : tell("lost", "connecting again"));
  };
  const close = () => {
    if (source) source.close();
    source = null;
    tell("still", "as it was");
  };
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  window.addEventListener("pagehide", close);
  open();
})();
