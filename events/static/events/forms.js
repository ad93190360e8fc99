// A form is sent once: its buttons are disabled from the first click on. The server refuses a second sending too.
document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.method !== "post" || event.defaultPrevented) return;
    if (form.dataset.sent) {
        event.preventDefault();
        return;
    }
    form.dataset.sent = "yes";
    // Afterwards, since the browser leaves out the name of a disabled button.
    setTimeout(() => setDisabled(form, true));
});

// A page that comes back from the browser's memory can be sent again.
window.addEventListener("pageshow", (event) => {
    if (!event.persisted) return;
    for (const form of document.querySelectorAll("form[data-sent]")) {
        delete form.dataset.sent;
        setDisabled(form, false);
    }
});

document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    const field = document.getElementById(button.dataset.copy);
    field.select();
    try {
        await navigator.clipboard.writeText(field.value);
    } catch {
        // Without HTTPS there is no clipboard API.
        document.execCommand("copy");
    }
    button.textContent = "Copied";
});

function setDisabled(form, value) {
    for (const control of form.elements) {
        if (control.type === "submit") control.disabled = value;
    }
}
