// Updates a page of the admin without a reload: on each event it fetches the page again and replaces the parts marked
// data-live. The server renders them. All tabs share one stream (live-stream.js), and a hidden tab closes its part of it.
"use strict";

(() => {
    const SETTLE_MS = 150; // One fetch serves the events of this time.
    const PROVISIONING_MS = 15000; // Boot steps are published best effort, so look for missed ones.
    const POLL_MS = 5000; // How often to fetch without a stream.
    const REOPEN_MS = 30000; // How often to try a refused stream again.
    const FETCH_TIMEOUT_MS = 10000;
    const RETRY_MS = 2000; // When to repeat a failed fetch, in case no further event comes.

    const live = document.getElementById("live");
    if (!live) return;
    const text = document.getElementById("live-text");
    const clockOffset = Date.parse(live.dataset.now) - Date.now();
    let position = Number(live.dataset.position) || 0;
    let state = "waiting"; // live, waiting (for the connection) or refused.
    let settling = null; // The timer of a fetch that is due.
    let fetching = false;
    let wanted = false; // An event came during a fetch.
    let refusedAt = 0;
    let ended = false;

    // --- What the server rendered last: ticking clocks change the page itself ------------------------------------

    const rendered = new WeakMap();

    function remember(root) {
        for (const part of [root, ...root.querySelectorAll("[data-live], #result_list td, #result_list th")]) {
            rendered.set(part, part.innerHTML);
        }
    }

    // --- Swapping -------------------------------------------------------------------------------------------------

    // Unfold renders some parts itself. What stands in one marks it.
    function markParents(root) {
        for (const mark of root.querySelectorAll("[data-live-parent]")) {
            mark.parentElement.dataset.live = mark.dataset.liveParent;
        }
    }

    function updateParts(page) {
        markParents(page);
        for (const part of document.querySelectorAll("[data-live]")) {
            const fresh = page.querySelector(`[data-live="${part.dataset.live}"]`);
            if (fresh) update(part, fresh);
        }
    }

    function update(part, fresh) {
        if (rendered.get(part) === fresh.innerHTML) return;
        if (!updateRows(part, fresh)) replace(part, fresh);
        rendered.set(part, fresh.innerHTML);
    }

    function rows(part) {
        return [...part.querySelectorAll("#result_list tr:has([data-row])")];
    }

    function key(row) {
        return row.querySelector("[data-row]").dataset.row;
    }

    // If the rows are the same in the same order, change only cells, so that check boxes and focus stay.
    function updateRows(part, fresh) {
        const old = rows(part), now = rows(fresh);
        if (!old.length || old.length !== now.length || old.some((row, i) => key(row) !== key(now[i]))) return false;
        old.forEach((row, i) => updateCells(row, now[i]));
        return true;
    }

    function updateCells(row, fresh) {
        [...row.children].forEach((cell, i) => {
            const html = fresh.children[i]?.innerHTML;
            if (html === undefined || cell.matches(".action-checkbox") || rendered.get(cell) === html) return;
            if (!cell.contains(document.activeElement)) cell.innerHTML = html;
            else return; // It has the focus. The next fetch updates it.
            rendered.set(cell, html);
        });
    }

    function replace(part, fresh) {
        const checked = new Set([...part.querySelectorAll(".action-select:checked")].map((box) => box.value));
        const focused = part.contains(document.activeElement) ? selectorOf(document.activeElement) : null;
        const scrolled = scrollOf(part);
        part.innerHTML = fresh.innerHTML;
        for (const box of part.querySelectorAll(".action-select")) {
            box.checked = checked.has(box.value);
            box.closest("tr").classList.toggle("selected", box.checked);
        }
        remember(part);
        scrollTo(part, scrolled);
        if (focused) part.querySelector(focused)?.focus({ preventScroll: true });
        if (part.querySelector(".action-select")) connectActions(part, fresh);
    }

    function selectorOf(element) {
        if (element.id) return `#${CSS.escape(element.id)}`;
        if (element.value) return `[value="${CSS.escape(element.value)}"]`;
        return element.getAttribute("href") ? `[href="${CSS.escape(element.getAttribute("href"))}"]` : null;
    }

    function scrollOf(part) {
        return [...part.querySelectorAll("pre, .slipway-scroll")].map((each) => [each.scrollTop, each.scrollLeft]);
    }

    function scrollTo(part, places) {
        [...part.querySelectorAll("pre, .slipway-scroll")].forEach((each, i) => {
            if (places[i]) [each.scrollTop, each.scrollLeft] = places[i];
        });
    }

    // The admin's actions.js remembers the check boxes that it started with and their number, so start it again.
    function connectActions(part, fresh) {
        const parent = part.closest("form");
        const counter = parent?.querySelector(".action-counter");
        if (!counter || !window.Actions) return;
        counter.dataset.actionsIcnt = fresh.querySelectorAll(".action-select").length;
        window.Actions(part.querySelectorAll("tr input.action-select"), { parent });
        part.querySelector(".action-select").dispatchEvent(new Event("change", { bubbles: true }));
    }

    // --- Fetching -------------------------------------------------------------------------------------------------

    function refreshSoon() {
        if (fetching) wanted = true;
        else settling ??= setTimeout(refresh, SETTLE_MS);
    }

    async function refresh() {
        settling = null;
        if (fetching || document.hidden) return;
        fetching = true;
        try {
            updateParts(await fetchPage());
            tick();
            if (state === "live") showState("live", "Live");
        } catch (error) {
            if (!ended) {
                showState("waiting", "Reconnecting…");
                settling ??= setTimeout(refresh, RETRY_MS);
            }
        } finally {
            fetching = false;
            if (wanted) refreshSoon();
            wanted = false;
        }
    }

    async function fetchPage() {
        const answer = await fetch(location.href, { signal: AbortSignal.timeout(FETCH_TIMEOUT_MS), credentials: "same-origin" });
        if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
        const page = new DOMParser().parseFromString(await answer.text(), "text/html");
        const fresh = page.getElementById("live");
        if (!fresh) {
            ended = true;
            closeStream();
            showState("ended", "No longer updating: sign in again, or reload this page.");
            throw new Error("signed out");
        }
        position = Math.max(position, Number(fresh.dataset.position) || 0);
        if (state === "refused") reopenOrPoll();
        return page;
    }

    // --- The stream -----------------------------------------------------------------------------------------------

    // The page fetches itself again on every event. These are the exceptions: they are frequent, and only the workspace's
    // own page shows what they report. tests/browser/test_live.py sends every event to both kinds of page.
    const HANDLERS = {
        WORKSPACE_HEARTBEAT: refreshOwn,
        TASK_UPDATED: refreshOwn,
    };

    function refreshOwn(event) {
        if (location.pathname.includes(event.workspace_id)) refreshSoon();
    }

    const stream = new LiveStream(live.dataset.stream, {
        workerAddress: live.dataset.worker,
        onState: changeState,
        onEvent: (event, at) => {
            position = Math.max(position, at || 0);
            (HANDLERS[event.event] ?? refreshSoon)(event);
        },
        onLate: refreshSoon,
    });

    function changeState(next) {
        if (ended) return;
        // Events from the time of polling may lie before the position at which the stream begins.
        if (state === "refused" && next === "live") refreshSoon();
        state = next;
        if (state === "live") showState("live", "Live");
        else if (state === "waiting") showState("waiting", "Reconnecting…");
        else {
            // The browser doesn't retry a stream that was refused.
            refusedAt = Date.now();
            showState("polling", "Not live: updating every 5 seconds");
            refreshSoon();
        }
    }

    function openStream() {
        if (!ended) stream.open(position);
    }

    function closeStream() {
        stream.close();
    }

    function reopenOrPoll() {
        if (Date.now() - refusedAt > REOPEN_MS) openStream();
        else showState("polling", "Not live: updating every 5 seconds");
    }

    function showState(state, words) {
        live.dataset.state = state;
        // A screen reader would read the same words again.
        if (text.textContent !== words) text.textContent = words;
    }

    // --- Clocks ---------------------------------------------------------------------------------------------------

    function inWords(seconds) {
        let left = Math.max(Math.floor(seconds), 0);
        const parts = [];
        for (const [unit, length] of [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]]) {
            const count = Math.floor(left / length);
            left %= length;
            if (count) parts.push(`${count} ${unit}`);
        }
        return parts.slice(0, 2).join(" ") || "0 s";
    }

    function tick() {
        const now = Date.now() + clockOffset;
        for (const each of document.querySelectorAll("time[data-since]")) {
            each.textContent = inWords((now - Date.parse(each.dateTime)) / 1000);
        }
        for (const each of document.querySelectorAll("time[data-until]")) {
            const left = (Date.parse(each.dateTime) - now) / 1000;
            each.textContent = left > 0 ? `in ${inWords(left)}` : `${inWords(-left)} ago`;
        }
    }

    // --- Start ----------------------------------------------------------------------------------------------------

    markParents(document);
    document.querySelectorAll("[data-live]").forEach(remember);
    tick();
    openStream();
    setInterval(tick, 1000);
    setInterval(() => document.querySelector("[data-provisioning]") && !ended && refreshSoon(), PROVISIONING_MS);
    setInterval(() => state === "refused" && !ended && refreshSoon(), POLL_MS);
    document.addEventListener("visibilitychange", () => {
        if (document.hidden) return closeStream();
        openStream();
        if (!ended) refreshSoon();
    });
    window.addEventListener("pagehide", closeStream);
    // The browser has restored the page from its cache.
    window.addEventListener("pageshow", (event) => {
        if (!event.persisted) return;
        openStream();
        refreshSoon();
    });
})();
