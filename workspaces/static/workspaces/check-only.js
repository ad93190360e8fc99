// “Check only” on the page that creates a workspace: shows what the server's preflight says and leaves the form as it
// is, secrets included. Without this script the page is loaded again, and the secrets have to be entered again.
"use strict";

(() => {
    const form = document.getElementById("workspace_form");
    const button = form?.querySelector("button[name=_check]");
    const place = document.getElementById("check");
    if (!button || !place) return;

    button.addEventListener("click", async (event) => {
        event.preventDefault();
        if (button.disabled) return;
        const data = new FormData(form);
        data.set(button.name, button.value);
        button.disabled = true;
        place.setAttribute("aria-busy", "true");
        try {
            const answer = await fetch(location.href, { method: "POST", body: data, redirect: "error" });
            const page = new DOMParser().parseFromString(await answer.text(), "text/html");
            const found = answer.ok && page.getElementById("check");
            place.textContent = found ? "" : "The check failed. Reload the page, then try again.";
            if (found) place.append(...found.childNodes);
        } catch {
            place.textContent = "The check failed: the server could not be reached, or you are signed out.";
        }
        place.removeAttribute("aria-busy");
        button.disabled = false;
        place.focus();
    });
})();
