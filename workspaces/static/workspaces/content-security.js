// What django-unfold's libraries do that the Content-Security-Policy blocks, done in an allowed way.

// htmx would insert a style sheet for indicators, which the admin has none of.
window.htmx.config.includeIndicatorStyles = false;

// Alpine writes a style that is a text as an attribute, but sets the properties of one that is an object.
document.addEventListener("alpine:init", () => {
    for (const element of document.querySelectorAll("[x-bind\\:style]")) {
        const width = /^'width: ' \+ (\w+) \+ 'px'$/.exec(element.getAttribute("x-bind:style"));
        if (width) element.setAttribute("x-bind:style", `{ width: ${width[1]} + 'px' }`);
    }
});
