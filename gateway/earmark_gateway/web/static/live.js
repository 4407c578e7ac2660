// Replaces the page's content when the gateway says that something has changed. Without it, reload.
"use strict";
const changes = new EventSource("/events");
changes.addEventListener("change", async () => {
  // Not while somebody is choosing in a form.
  if (document.activeElement && document.activeElement.closest("form")) return;
  const answer = await fetch("/", { headers: { Accept: "text/html" } });
  if (!answer.ok || answer.redirected) { location.reload(); return; }
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  document.title = page.title;
  document.getElementById("main").replaceWith(page.getElementById("main"));
});
